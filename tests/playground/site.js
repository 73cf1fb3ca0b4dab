// Serves dist/playground, as any static host does, and opens it in headless Chromium.

import { execFile } from 'node:child_process';
import { createServer } from 'node:http';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { chromium } from 'playwright-core';

// The repository.
export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');

// The folder of the page.
export const folder = path.join(root, 'dist/playground');

// The address of the page as a file.
export const fileUrl = pathToFileURL(path.join(folder, 'index.html')).href;

const TYPES = { '.html': 'text/html', '.css': 'text/css', '.js': 'text/javascript' };

// Serves the folder on a free port of 127.0.0.1. Returns the server and its address.
export async function serve() {
  const server = createServer(async (request, response) => {
    const name = path.basename(new URL(request.url, 'http://host').pathname) || 'index.html';
    try {
      const content = await readFile(path.join(folder, name));
      response.writeHead(200, { 'content-type': TYPES[path.extname(name)] ?? 'text/plain' });
      response.end(content);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  return { server, url: `http://127.0.0.1:${server.address().port}/` };
}

// Starts the browser of Debian, or the one that CHROMIUM names.
export function launch() {
  return chromium.launch({ executablePath: process.env.CHROMIUM || '/usr/bin/chromium' });
}

// Opens the page, and collects what it requests, and what it reports as an error.
export async function open(browser, url, options = {}) {
  const page = await browser.newPage({ viewport: { width: 1400, height: 1000 }, ...options });
  const requested = [];
  const errors = [];
  page.on('request', (request) => requested.push(request.url()));
  page.on('pageerror', (error) => errors.push(String(error)));
  page.on('console', (message) => {
    if (message.type() === 'error') errors.push(message.text());
  });
  await page.goto(url);
  await page.locator('#verdict', { hasText: 'error' }).waitFor();
  return { page, requested, errors };
}

// What the command prints about rules.
export async function command(rules, words) {
  const own = await mkdtemp(path.join(tmpdir(), 'sluice-playground-'));
  try {
    await writeFile(path.join(own, 'rules.yaml'), rules);
    const program = path.join(root, 'target/debug/sluice');
    return await promisify(execFile)(program, words, { cwd: own }).catch((error) => error);
  } finally {
    await rm(own, { recursive: true });
  }
}

// The numbers of the bars by their labels.
export async function bars(page) {
  const rows = await page.locator('#bars tbody tr').all();
  const read = async (row) => {
    const label = await row.locator('th').innerText();
    return [label, Number.parseInt(await row.locator('td').last().innerText(), 10)];
  };
  return Object.fromEntries(await Promise.all(rows.map(read)));
}

// Waits for the counts of findings.
export async function verdict(page, text) {
  await page.locator('#verdict', { hasText: text }).waitFor();
}

// Saves a picture of the page, if there is a folder for it.
export async function screenshot(page, name) {
  const folder = process.env.SCREENSHOTS;
  if (folder) await page.screenshot({ path: path.join(folder, `${name}.png`), fullPage: true });
}
