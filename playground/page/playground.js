// The page: checks the rules and explains the request whenever one of them changes, and counts
// where many requests go. The module sluice.js does the work.

'use strict';

const byId = (id) => document.getElementById(id);
const rules = byId('rules');

// The time without a change after which the rules are checked, in milliseconds.
const PAUSE = 150;

// The number of steps in which the bars fill.
const STEPS = 50;

// The findings about the rules, and the JSON of the explanation or null.
let findings = [];
let explanation = null;

// The check of the last change, which waits for a pause.
let timer = 0;

function plural(number, noun) {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}

// The request of the form, as the module reads it.
function readForm() {
  const value = (id) => byId(id).value.trim();
  const headers = value('headers').split('\n').map((line) => line.trim()).filter(Boolean);
  if (value('host')) headers.unshift(`host: ${value('host')}`);
  if (value('user-header') && value('user')) {
    headers.push(`${value('user-header')}: ${value('user')}`);
  }
  const request = `${byId('method').value} ${value('path') || '/'}`;
  return { request, headers, seed: Number(value('seed')) || 0, now: Date.now() };
}

// A word for a POSIX shell.
function quote(word) {
  return /^[\w./:=-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

// The command that prints the same explanation.
function commandOf(form) {
  const words = ['sluice', 'explain', 'rules.yaml', '--request', form.request];
  form.headers.forEach((header) => words.push('-H', header));
  return [...words, '--seed', String(form.seed)].map(quote).join(' ');
}

// Calls a function of the module. A module that has trapped answers with an error from then on.
function ask(name, ...values) {
  try {
    return JSON.parse(wasm_bindgen[name](rules.value, ...values));
  } catch (error) {
    return { error: `The module has failed, reload the page: ${error}` };
  }
}

// The offset in the text of a line and a column, both counted from 1.
function offsetOf(line, column) {
  const lines = rules.value.split('\n');
  const before = lines.slice(0, line - 1).reduce((sum, own) => sum + own.length + 1, 0);
  const own = Array.from(lines[line - 1] ?? '').slice(0, column - 1);
  return before + own.join('').length;
}

// Scrolls the editor to a line, unless it is in view.
function reveal(line) {
  const mark = byId('marks').children[line - 1];
  if (!mark) return;
  const isAbove = mark.offsetTop < rules.scrollTop;
  const isBelow = mark.offsetTop + mark.offsetHeight > rules.scrollTop + rules.clientHeight;
  if (isAbove || isBelow) rules.scrollTop = mark.offsetTop - rules.clientHeight / 3;
}

// Moves the cursor to the value of a finding.
function show(finding) {
  const start = offsetOf(finding.line, finding.column ?? 1);
  const end = finding.endColumn ? offsetOf(finding.line, finding.endColumn) : start;
  rules.focus();
  rules.setSelectionRange(start, end);
  reveal(finding.line);
}

// A finding as a button that leads to its line.
function findingItem(finding) {
  const item = element('li', finding.severity);
  const button = element('button');
  button.type = 'button';
  const place = finding.line ? `line ${finding.line}: ` : '';
  const parts = [finding.object, finding.path, finding.reason].filter(Boolean).join(': ');
  const other = finding.other?.line ? ` (line ${finding.other.line})` : '';
  button.append(place, element('b', '', finding.severity), `: ${parts}${other}`);
  if (finding.line) button.addEventListener('click', () => show(finding));
  item.append(button);
  return item;
}

function check() {
  const checked = ask('check');
  if (checked.error) {
    byId('verdict').textContent = checked.error;
    return;
  }
  findings = checked.findings;
  const counts = [plural(checked.errors, 'error'), plural(checked.warnings, 'warning')];
  byId('verdict').textContent = counts.join(', ');
  byId('findings').replaceChildren(...findings.map(findingItem));
}

function explain() {
  const form = readForm();
  const answer = ask('explain', JSON.stringify(form));
  const output = byId('explanation');
  output.classList.toggle('failed', 'error' in answer);
  output.textContent = answer.error ?? answer.notices + answer.text;
  explanation = answer.explanation ?? null;
  byId('command').value = commandOf(form);
}

function update() {
  check();
  explain();
  redraw();
}

// Draws the marks of the findings and of the explanation.
function redraw() {
  drawMarks(byId('gutter'), byId('marks'), rules.value, findings, explanation);
  // Whoever types in the editor looks at another line.
  const route = explanation?.router?.route;
  if (route && document.activeElement !== rules) reveal(route.line);
  scrollMarks();
}

// The marks have no scroll bars of their own.
function scrollMarks() {
  byId('marks').scrollTop = rules.scrollTop;
  byId('marks').scrollLeft = rules.scrollLeft;
  byId('gutter').scrollTop = rules.scrollTop;
}

// Draws one bar for each number of `counts`, as a share of `total`.
function drawBars(table, counts, total) {
  const rows = Object.keys(counts).sort().map((label) => {
    const row = element('tr');
    const name = element('th', '', label);
    name.scope = 'row';
    const share = (100 * counts[label]) / total;
    const bar = element('div', 'bar');
    bar.style.width = `${share}%`;
    const cell = element('td');
    cell.append(bar);
    row.append(name, cell, element('td', '', `${counts[label]} (${share.toFixed(1)} %)`));
    return row;
  });
  table.tBodies[0].replaceChildren(...rows);
}

// Adds the numbers of `more` to those of `sums`.
function add(sums, more) {
  for (const [label, count] of Object.entries(more)) sums[label] = (sums[label] ?? 0) + count;
}

// The run of many requests that is under way. A newer one ends it.
let run = 0;

// Starts a run: empties the bars, and returns its number of requests, the header with the user, a
// function that tells whether the run goes on, and one that adds the answer to `count` requests.
function startRun() {
  run += 1;
  const own = run;
  const total = Math.min(Math.max(Math.trunc(Number(byId('count').value)) || 1, 1), 100000);
  const userHeader = byId('users').checked ? byId('user-header').value.trim() : '';
  const sums = { destinations: {}, effects: {} };
  let done = 0;
  const isWanted = () => own === run;
  const draw = (answer, count) => {
    if (!isWanted()) return;
    if (answer.error) {
      byId('progress').textContent = answer.error;
      return;
    }
    done += count;
    add(sums.destinations, answer.destinations);
    add(sums.effects, answer.effects);
    drawBars(byId('bars'), sums.destinations, total);
    drawBars(byId('effects'), sums.effects, total);
    byId('progress').textContent = `${done} of ${total}`;
  };
  byId('progress').textContent = '';
  drawBars(byId('bars'), {}, total);
  drawBars(byId('effects'), {}, total);
  return { total, userHeader, isWanted, draw };
}

async function simulate() {
  const { total, userHeader, isWanted, draw } = startRun();
  const form = JSON.stringify({ ...readForm(), userHeader });
  const step = Math.ceil(total / STEPS);
  for (let first = 0; first < total && isWanted(); first += step) {
    const count = Math.min(step, total - first);
    const answer = ask('simulate', form, first, count);
    draw(answer, count);
    if (answer.error) return;
    await new Promise((resolve) => { requestAnimationFrame(resolve); });
  }
}

async function send() {
  // A change must not replace the explanation of the answer.
  clearTimeout(timer);
  update();
  const { total, userHeader, isWanted, draw } = startRun();
  let last;
  await sendBatches(total, userHeader, isWanted, (answer, count) => {
    draw(answer, count);
    last = answer.last;
  });
  if (last && isWanted()) showLast(last);
}

// Shows how Envoy itself explains its answer to the last request. The rules are marked if they are
// those in the editor.
function showLast(last) {
  const isCurrent = last.rules === rules.value;
  const output = byId('explanation');
  output.classList.remove('failed');
  output.textContent = `Envoy, about the last request that was sent: ${last.label}\n`
    + (isCurrent ? '' : 'Its rules are not those in the editor.\n')
    + `\n${last.text}`;
  explanation = isCurrent ? last.explanation : null;
  redraw();
}

// Puts an example into the editor and the form.
function load(example) {
  rules.value = example.rules;
  rules.scrollTop = 0;
  rules.scrollLeft = 0;
  byId('method').value = 'GET';
  byId('host').value = example.host ?? '';
  byId('headers').value = '';
  byId('user-header').value = 'end-user';
  byId('path').value = example.path ?? '/';
  byId('user').value = example.user ?? '';
  update();
}

async function start() {
  const bytes = Uint8Array.from(atob(SLUICE_WASM), (character) => character.charCodeAt(0));
  await wasm_bindgen({ module_or_path: bytes });
  const list = byId('example');
  list.append(...EXAMPLES.map((example) => new Option(example.name)));
  list.addEventListener('change', () => load(EXAMPLES[list.selectedIndex]));
  const later = () => {
    clearTimeout(timer);
    timer = setTimeout(update, PAUSE);
  };
  rules.addEventListener('input', later);
  rules.addEventListener('scroll', scrollMarks);
  byId('request').addEventListener('input', later);
  byId('request').addEventListener('submit', (event) => {
    event.preventDefault();
    update();
  });
  byId('draw').addEventListener('click', () => {
    byId('seed').value = String(crypto.getRandomValues(new Uint32Array(1))[0]);
    update();
  });
  byId('many').addEventListener('submit', (event) => {
    event.preventDefault();
    simulate();
  });
  byId('send').addEventListener('click', send);
  byId('command').addEventListener('focus', () => byId('command').select());
  load(EXAMPLES[0]);
  await startSandbox();
}

start().catch((error) => {
  byId('verdict').textContent = `The module cannot be loaded: ${error}`;
});
