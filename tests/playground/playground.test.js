// The page of the playground in headless Chromium. SCREENSHOTS=FOLDER saves pictures of it.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import {
  bars, command, fileUrl, launch, open, screenshot, serve, verdict,
} from './site.js';

const SPLIT = `clusterName: '{host}'
virtualServices:
- hosts: [a.com]
  http:
  - match:
    - headers:
        end-user: {exact: cheng}
    route:
    - destination: {host: b.com}
  - route:
    - destination: {host: b.com}
      weight: 75
    - destination: {host: c.com}
      weight: 25
`;

let site;
let browser;

before(async () => {
  site = await serve();
  browser = await launch();
});

after(async () => {
  await browser?.close();
  site?.server.close();
});

// The numbers of the lines with a class, counted from 1.
function linesOf(page, name) {
  return page.locator('#marks .line').evaluateAll((lines, own) => lines
    .map((line, index) => (line.classList.contains(own) ? index + 1 : 0))
    .filter(Boolean), name);
}

test('an error is shown at its line until it is mended', async () => {
  const { page, requested, errors } = await open(browser, site.url);
  await page.getByRole('textbox', { name: 'Rules' }).fill(SPLIT.replace('exact', 'exakt'));
  await verdict(page, '1 error, 0 warnings');
  const item = page.locator('#findings li').first();
  assert.match(await item.innerText(), /^line 7: error: .*exakt: unknown field, did you mean/);
  assert.deepEqual(await linesOf(page, 'error'), [7]);
  assert.equal(await page.locator('#marks u').innerText(), 'exakt');
  assert.match(await page.locator('#explanation').innerText(), /^rules\.yaml:7: error: /);
  await screenshot(page, 'error');

  // The finding leads to its text, which is mended by typing.
  await item.getByRole('button').click();
  await page.keyboard.type('exact');
  await verdict(page, '0 errors, 0 warnings');
  assert.equal(await page.getByRole('textbox', { name: 'Rules' }).inputValue(), SPLIT);
  assert.deepEqual(await linesOf(page, 'error'), []);
  assert.match(await page.locator('#explanation').innerText(), /^request {2}GET http:\/\/a\.com\//);

  assert.ok(requested.length > 3, String(requested));
  assert.deepEqual(requested.filter((url) => !url.startsWith(site.url)), []);
  assert.deepEqual(errors, []);
  await page.close();
});

test('a request is explained as by the command, and its rule is marked', async () => {
  const { page, errors } = await open(browser, site.url);
  await page.getByRole('textbox', { name: 'Rules' }).fill(SPLIT);
  await page.getByLabel('User', { exact: true }).fill('cheng');
  await page.getByLabel('Path or URL').fill('/x?y=1');
  await page.getByLabel('Other headers').fill("x-quote: it's");
  await page.locator('#explanation', { hasText: '/x?y=1' }).waitFor();
  assert.deepEqual(await linesOf(page, 'taken'), [5, 6, 7, 8, 9]);

  const words = ['explain', 'rules.yaml', '--request', 'GET /x?y=1', '-H', "x-quote: it's"];
  const expected = await command(SPLIT, [...words, '-H', 'end-user: cheng', '--seed', '1']);
  assert.equal(expected.stderr, '');
  assert.equal(await page.locator('#explanation').textContent(), expected.stdout);
  const shown = await page.getByLabel('The same with the command').inputValue();
  assert.equal(shown, "sluice explain rules.yaml --request 'GET /x?y=1' "
    + "-H 'x-quote: it'\\''s' -H 'end-user: cheng' --seed 1");

  await page.getByLabel('User', { exact: true }).fill('jim');
  await page.locator('#marks .tried').first().waitFor();
  assert.deepEqual(await linesOf(page, 'taken'), [10, 11, 12, 13, 14]);
  assert.deepEqual(await linesOf(page, 'tried'), [6, 7]);
  await screenshot(page, 'light');

  // Another choice has another seed.
  await page.getByRole('button', { name: 'Another random choice' }).click();
  assert.notEqual(await page.getByLabel('Seed').inputValue(), '1');
  assert.deepEqual(errors, []);
  await page.close();
});

test('bars fill with the shares of the rule', async () => {
  const { page, errors } = await open(browser, site.url, { colorScheme: 'dark' });
  await page.getByRole('textbox', { name: 'Rules' }).fill(SPLIT);
  await verdict(page, '0 errors');
  await page.getByLabel('Requests').fill('2000');
  await page.getByRole('button', { name: 'Simulate' }).click();
  await page.locator('#progress', { hasText: '2000 of 2000' }).waitFor();
  const counts = await bars(page);
  assert.deepEqual(Object.keys(counts), ['b.com', 'c.com']);
  assert.equal(counts['b.com'] + counts['c.com'], 2000);
  // 1500 on average, with a standard deviation of 19; five of these are allowed.
  assert.ok(counts['b.com'] > 1400 && counts['b.com'] < 1600, JSON.stringify(counts));
  const widths = await page.locator('#bars .bar').evaluateAll(
    (own) => own.map((bar) => bar.getBoundingClientRect().width),
  );
  const ratio = widths[0] / (widths[0] + widths[1]);
  assert.ok(Math.abs(ratio - counts['b.com'] / 2000) < 0.01, String(widths));
  await screenshot(page, 'dark');

  // One user alone gets the rule for her.
  await page.getByLabel('Each from another user').uncheck();
  await page.getByLabel('User', { exact: true }).fill('cheng');
  await page.getByRole('button', { name: 'Simulate' }).click();
  await page.locator('#bars tbody tr').nth(1).waitFor({ state: 'detached' });
  await page.locator('#progress', { hasText: '2000 of 2000' }).waitFor();
  assert.deepEqual(await bars(page), { 'b.com': 2000 });
  assert.deepEqual(errors, []);
  await page.close();
});

test('examples are correct, except the one with errors', async () => {
  const { page, errors } = await open(browser, site.url);
  const names = await page.locator('#example option').allInnerTexts();
  assert.ok(names.length > 3, String(names));
  for (const name of names) {
    await page.getByLabel('Example', { exact: true }).selectOption(name);
    const hasErrors = name === 'Rules with errors';
    await verdict(page, hasErrors ? '3 errors, 0 warnings' : '0 errors, 0 warnings');
    const text = await page.locator('#explanation').textContent();
    assert.match(text, hasErrors ? /^rules\.yaml:\d+: error: / : /\nrouter {3}forwards|aborts/, name);
  }
  assert.deepEqual(errors, []);
  await page.close();
});

test('all fields can be reached and used with the keyboard', async () => {
  const { page } = await open(browser, site.url);
  const focused = () => page.evaluate(() => document.activeElement.id
    || document.activeElement.textContent);
  const order = [];
  for (let presses = 0; presses < 30 && order.at(-1) !== 'simulate'; presses += 1) {
    await page.keyboard.press('Tab');
    const name = await focused();
    // The findings are between the rules and the request.
    if (!name.startsWith('line ')) order.push(name);
  }
  assert.deepEqual(order, ['example', 'rules', 'method', 'host', 'path', 'user-header', 'user',
    'headers', 'seed', 'draw', 'explanation', 'command', 'count', 'users', 'simulate']);
  await page.keyboard.press('Enter');
  await page.locator('#progress', { hasText: '1000 of 1000' }).waitFor();
  await page.close();
});

test('the page works as a file without a server', async () => {
  const { page, requested, errors } = await open(browser, fileUrl);
  await page.getByRole('textbox', { name: 'Rules' }).fill(SPLIT.replace('weight: 25', 'weight: -25'));
  await verdict(page, '1 error, 0 warnings');
  assert.deepEqual(await linesOf(page, 'error'), [14]);
  assert.deepEqual(requested.filter((url) => !url.startsWith('file://')), []);
  assert.deepEqual(errors, []);
  await page.close();
});

test('many checks and explanations do not use up the memory', async () => {
  const { page, errors } = await open(browser, site.url);
  const grown = await page.evaluate(async (rules) => {
    // The module is loaded already, and is returned.
    const { memory } = await wasm_bindgen();
    const form = JSON.stringify({ request: 'GET /', headers: [], now: 0 });
    const round = (count) => {
      for (let done = 0; done < count; done += 1) {
        wasm_bindgen.check(rules);
        wasm_bindgen.explain(rules, form);
      }
      return memory.buffer.byteLength;
    };
    const first = round(200);
    return round(2000) - first;
  }, SPLIT);
  assert.equal(grown, 0);
  assert.deepEqual(errors, []);
  await page.close();
});
