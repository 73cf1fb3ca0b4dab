// The sandbox whose Envoy serves the page: its rules, requests to it, and its counters. A page from
// elsewhere has no token in its address, and calls nothing.

'use strict';

const TOKEN = window.location.hash.match(/^#([0-9a-f]{32})$/)?.[1];

// The number of requests at the same time, at most 50.
const BATCH = 25;

// The rule whose shares the slider sets, in the rules of the sandbox.
const SPLIT_HOST = 'canary.example.com';

// Calls the server beside the sandbox. Returns its answer, or the reason why there is none.
async function call(method, name, body) {
  try {
    const headers = { authorization: `Bearer ${TOKEN}` };
    const response = await fetch(`api/${name}`, { method, headers, body });
    return await response.json();
  } catch (error) {
    return { error: `The sandbox does not answer: ${error}` };
  }
}

// The places of the two weights of the split in a text, or nothing.
function weightsIn(text) {
  const start = text.indexOf(SPLIT_HOST);
  const found = start < 0 ? [] : [...text.slice(start).matchAll(/(?<=weight: )\d+/g)].slice(0, 2);
  return found.length === 2
    ? found.map((own) => ({ at: start + own.index, text: own[0] }))
    : null;
}

// The text with other weights.
function withWeights(text, weights) {
  const places = weightsIn(text);
  const [first, second] = places;
  return text.slice(0, first.at) + weights[0]
    + text.slice(first.at + first.text.length, second.at) + weights[1]
    + text.slice(second.at + second.text.length);
}

// Shows the share of the rules in the slider, which is off if the rules do not have the split.
function showShare() {
  const places = weightsIn(rules.value);
  byId('share').disabled = !places;
  if (places) {
    const [first, second] = places.map((own) => Number(own.text));
    byId('share').value = String(Math.round((100 * second) / Math.max(first + second, 1)));
  }
  byId('share-value').textContent = places ? `${byId('share').value} %` : 'no such rule';
}

async function showCounters() {
  const counters = await call('GET', 'counters');
  if (counters.error) return;
  const rows = Object.keys(counters).sort().map((name) => {
    const row = element('tr');
    const head = element('th', '', name);
    head.scope = 'row';
    row.append(head, element('td', '', String(counters[name])));
    return row;
  });
  byId('counters').tBodies[0].replaceChildren(...rows);
}

// Replaces the rules of the running Envoy by those in the editor.
async function apply() {
  byId('applied').textContent = 'Envoy reads the rules …';
  const answer = await call('PUT', 'rules', rules.value);
  byId('applied').textContent = answer.error ?? 'Envoy has accepted the rules.';
}

// Sends the requests of the form, in batches, as long as `isWanted` returns true. Calls `show` with
// the answers of each batch.
async function sendBatches(total, userHeader, isWanted, show) {
  const { request, headers } = readForm();
  const [method, path] = request.split(' ');
  const host = byId('host').value.trim() || '127.0.0.1';
  const others = headers.filter((header) => !header.startsWith('host: '));
  for (let first = 0; first < total && isWanted(); first += BATCH) {
    const count = Math.min(BATCH, total - first);
    const batch = { method, host, path, headers: others, userHeader, first, count };
    const answer = await call('POST', 'requests', JSON.stringify(batch));
    show(answer, count);
    if (answer.error) return;
  }
  await showCounters();
}

async function startSandbox() {
  if (!TOKEN || !window.location.protocol.startsWith('http')) return;
  const answer = await call('GET', 'rules');
  byId('sandbox').hidden = false;
  if (answer.error) {
    byId('applied').textContent = answer.error;
    return;
  }
  byId('where').textContent = 'Istio traffic rules, checked and explained by the code of the '
    + 'filters. Sends requests and rules to the sandbox only.';
  const own = { rules: answer.rules, path: '/payment/balance/query', host: SPLIT_HOST };
  EXAMPLES.unshift(own);
  byId('example').prepend(new Option('Rules of the sandbox', '', true, true));
  load(own);
  showShare();
  byId('apply').addEventListener('click', apply);
  byId('share').addEventListener('input', () => {
    const share = Number(byId('share').value);
    rules.value = withWeights(rules.value, [100 - share, share]);
    update();
    showShare();
  });
  byId('share').addEventListener('change', apply);
  rules.addEventListener('input', showShare);
  byId('example').addEventListener('change', showShare);
  byId('send').hidden = false;
  await showCounters();
}
