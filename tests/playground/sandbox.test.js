// The page in front of a running sandbox: real requests, and rules that Envoy takes over.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { bars, command, launch, open, root, screenshot, verdict } from './site.js';

// Added to each port of envoy/sandbox.yaml, so that a sandbox of somebody else can run meanwhile.
const OFFSET = 21000;
const PORT = 10000 + OFFSET;

let folder;
let sandbox;
let address;
let browser;

before(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'sluice-sandbox-'));
  const configuration = path.join(folder, 'sandbox.yaml');
  const text = await readFile(path.join(root, 'envoy/sandbox.yaml'), 'utf8');
  const shifted = text.replace(/(?<=port_value: )\d+/g, (port) => String(Number(port) + OFFSET));
  await writeFile(configuration, shifted);
  sandbox = spawn('tools/sandbox.sh', {
    cwd: root,
    env: {
      ...process.env,
      SANDBOX_CONFIG: configuration,
      SANDBOX_PORT: String(PORT),
      SANDBOX_ADMIN_PORT: String(9901 + OFFSET),
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  address = await new Promise((resolve, reject) => {
    let output = '';
    sandbox.stdout.on('data', (part) => {
      output += part;
      const found = output.match(/http:\/\/\S+#[0-9a-f]{32}/);
      if (found) resolve(found[0]);
    });
    sandbox.on('exit', (code) => reject(new Error(`the sandbox has ended with ${code}`)));
  });
  browser = await launch();
}, { timeout: 300000 });

after(async () => {
  await browser?.close();
  if (sandbox?.exitCode === null) {
    const ended = new Promise((resolve) => { sandbox.on('exit', resolve); });
    sandbox.kill('SIGTERM');
    await ended;
  }
  if (folder) await rm(folder, { recursive: true });
});

// Opens the page, and waits until the rules of the sandbox are in the editor.
async function openSandbox() {
  const opened = await open(browser, address);
  await opened.page.locator('#send').waitFor();
  return opened;
}

// Waits for a counter with this name. The page reads them after the last answer.
async function waitForCounter(page, name) {
  await page.locator('#counters th', { hasText: name }).first().waitFor({ state: 'attached' });
}

// Sends or simulates the requests of the form. Returns the bars.
async function run(page, button, count) {
  await page.getByLabel('Requests').fill(String(count));
  await page.getByRole('button', { name: button }).click();
  await page.locator('#progress', { hasText: `${count} of ${count}` }).waitFor();
  return bars(page);
}

// Moves the slider to a share of v2, and waits until Envoy has the rules.
async function setShare(page, share) {
  await page.getByLabel('Share of v2').fill(String(share));
  await page.locator('#applied', { hasText: 'Envoy has accepted the rules' }).waitFor();
}

test('the sandbox answers as the page simulates, before and after an update', async () => {
  const { page, requested, errors } = await openSandbox();
  const rules = page.getByRole('textbox', { name: 'Rules' });
  assert.match(await rules.inputValue(), /canary\.example\.com/);
  assert.equal(await page.locator('#share-value').innerText(), '50 %');

  for (const share of [50, 0, 20, 100]) {
    await setShare(page, share);
    const expected = await run(page, 'Simulate', 100);
    const sent = await run(page, 'Send to the sandbox', 100);
    const versions = ['v1', 'v2'].map((own) => [
      sent[`${own}, 200`] ?? 0, expected[`kim-payment-service-${own}`] ?? 0,
    ]);
    // Each user gets the same version in the page and in Envoy.
    versions.forEach(([real, simulated]) => assert.equal(real, simulated, `${share}: ${versions}`));
    assert.equal(versions[0][0] + versions[1][0], 100, JSON.stringify(sent));
    if (share === 20) await screenshot(page, 'sandbox');
  }
  const own = requested.filter((url) => !url.startsWith(`http://127.0.0.1:${PORT}/`));
  assert.deepEqual(own, []);
  assert.deepEqual(errors, []);
  await page.close();
});

// Applies the rules in the editor, and waits until Envoy has them.
async function apply(page) {
  await page.locator('#applied').evaluate((own) => { own.textContent = ''; });
  await page.getByRole('button', { name: 'Apply' }).click();
  await page.locator('#applied', { hasText: 'Envoy has accepted the rules' }).waitFor();
}

// The texts of the lines with a mark.
async function marked(page, name) {
  const lines = await page.locator(`#marks .${name}`).allTextContents();
  return lines.map((line) => line.trim());
}

test('Envoy explains its answer to the last request', async () => {
  const { page, errors } = await openSandbox();
  await page.getByLabel('Each from another user').uncheck();
  await page.getByLabel('Host').fill('127.0.0.1');
  const shown = page.locator('#explanation');
  const rules = page.getByRole('textbox', { name: 'Rules' });
  const own = await rules.inputValue();
  for (const [user, version, line] of [
    ['jim', 'v1', 'subset: v1'], ['cheng', 'v2', 'subset: v2'],
  ]) {
    await page.getByLabel('User', { exact: true }).fill(user);
    await run(page, 'Send to the sandbox', 3);
    await shown.filter({ hasText: `Envoy, about the last request that was sent: ${version}, 200` })
      .waitFor();
    // The same as the command prints about the headers.
    const headers = { 'end-user': user, 'x-sluice-explain': 'secret-of-the-sandbox' };
    const answer = await fetch(`http://127.0.0.1:${PORT}/payment/balance/query`, { headers });
    const values = answer.headers.get('x-sluice-explain');
    const words = ['explain', 'rules.yaml', '--from-header', values];
    const { stdout } = await command(own, words);
    assert.equal((await shown.textContent()).split('\n\n')[1], stdout);
    assert.ok((await marked(page, 'taken')).includes(line));
    const isTried = (await marked(page, 'tried')).includes('exact: cheng');
    assert.equal(isTried, user === 'jim');
    if (user === 'jim') await screenshot(page, 'explained');
  }

  // Other rules than those in the sandbox are not marked.
  const other = 'virtualServices: [{hosts: [a.com], http: [{directResponse: {status: 203}}]}]';
  await rules.fill(other);
  await run(page, 'Send to the sandbox', 1);
  await shown.filter({ hasText: 'Its rules are not those in the editor.' }).waitFor();
  assert.deepEqual(await marked(page, 'taken'), []);

  // Rules without a secret get that of the sandbox.
  await apply(page);
  await page.getByLabel('Host').fill('a.com');
  await run(page, 'Send to the sandbox', 1);
  await shown.filter({ hasText: 'that was sent: 203' }).waitFor();
  assert.deepEqual(await marked(page, 'taken'), [other]);
  await rules.fill(own);
  await apply(page);
  assert.deepEqual(errors, []);
  await page.close();
});

test('faults, failures and counters are shown', async () => {
  const { page, errors } = await openSandbox();
  await page.getByLabel('Each from another user').uncheck();
  await page.getByLabel('User', { exact: true }).fill('cheng');
  await page.getByLabel('Host').fill('abort.example.com');
  assert.deepEqual(await run(page, 'Send to the sandbox', 10), { '500 fault filter abort': 10 });
  assert.match(await page.locator('#effects').textContent(), /fault: abort/);
  await page.getByLabel('Host').fill('unknown.example.com');
  assert.deepEqual(Object.keys(await run(page, 'Send to the sandbox', 10)).length, 1);
  await waitForCounter(page, /sluice\.fault\.\S*abort/);
  assert.deepEqual(errors, []);
  await page.close();
});

test('requests of an ejected host go to the other version', async () => {
  const { page, errors } = await openSandbox();
  await page.getByLabel('Each from another user').uncheck();
  await page.getByLabel('User', { exact: true }).fill('cheng');
  await page.getByLabel('Host').fill('127.0.0.1');
  await page.getByLabel('Other headers').fill('fail: yes');
  const failing = await run(page, 'Send to the sandbox', 10);
  assert.ok(failing['v2, 503'] >= 3, JSON.stringify(failing));
  // Three failures in a row eject version 2 for ten seconds.
  assert.deepEqual(await run(page, 'Send to the sandbox', 10), { 'v1, 200': 10 });
  await waitForCounter(page, /sluice\.outlier\.\S*eject/);
  assert.deepEqual(errors, []);
  await page.close();
});

test('rules with errors stay in the page', async () => {
  const { page } = await openSandbox();
  const rules = page.getByRole('textbox', { name: 'Rules' });
  const old = await rules.inputValue();
  await rules.fill(old.replace(/weight: \d+/, 'weight: -1'));
  await page.getByRole('button', { name: 'Apply' }).click();
  await page.locator('#applied', { hasText: 'is negative' }).waitFor();
  await page.reload();
  await page.locator('#send').waitFor();
  assert.equal(await rules.inputValue(), old);
  await page.close();
});

test('other paths and hosts get the answers of the sandbox', async () => {
  const get = async (host, target) => {
    const response = await fetch(`http://127.0.0.1:${PORT}${target}`, { headers: { host } });
    return [response.status, await response.text()];
  };
  const local = `127.0.0.1:${PORT}`;
  assert.match((await get(local, '/payment/balance/query'))[1], /Hello v1, anonymous/);
  assert.equal((await get(local, '/playground/api/rules'))[0], 401);
});

test('without the token there is only the page', async () => {
  const { page } = await open(browser, `http://127.0.0.1:${PORT}/`);
  await verdict(page, '0 errors');
  assert.equal(page.url(), `http://127.0.0.1:${PORT}/playground/`);
  assert.equal(await page.locator('#sandbox').isVisible(), false);
  const other = await open(browser, `http://127.0.0.1:${PORT}/#${'0'.repeat(32)}`);
  await other.page.locator('#applied', { hasText: 'open the address' }).waitFor();
  assert.equal(await other.page.locator('#send').isVisible(), false);
  await page.close();
  await other.page.close();
});
