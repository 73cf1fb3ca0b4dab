// The marks behind the text of the editor: the lines of findings and of rules.

'use strict';

// The severities that are marked, the most severe first. Notes are only in the list.
const MARKED = ['error', 'warning'];

// The lines of a value in YAML that starts on `line`, both counted from 1: all that follow with
// more indentation. Returns the first line and the last one.
function blockAt(lines, line) {
  const indentOf = (text) => text.search(/\S/);
  const indent = indentOf(lines[line - 1] ?? '');
  let last = line;
  for (let next = line + 1; next <= lines.length; next += 1) {
    const own = indentOf(lines[next - 1]);
    if (own >= 0 && own <= indent) break;
    if (own >= 0) last = next;
  }
  return [line, last];
}

// The classes of each line by the places of an explanation: the rule that decides, and those that
// were tried before it.
function ruleClasses(lines, explanation) {
  const classes = new Map();
  const mark = (place, name) => {
    if (!place?.line) return;
    const [first, last] = blockAt(lines, place.line);
    for (let line = first; line <= last; line += 1) classes.set(line, name);
  };
  const tried = explanation?.rules ?? [];
  tried.filter((rule) => !rule.fits).forEach((rule) => mark(rule.place, 'tried'));
  mark(tried.find((rule) => rule.fits)?.place, 'taken');
  mark(explanation?.router?.route, 'taken');
  return classes;
}

// The most severe finding of each line.
function findingsByLine(findings) {
  const byLine = new Map();
  for (const severity of MARKED) {
    for (const finding of findings.filter((own) => own.severity === severity)) {
      if (!byLine.has(finding.line)) byLine.set(finding.line, finding);
    }
  }
  return byLine;
}

// An element with a class and text.
function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

// Appends the text of a line, with the columns of a finding underlined. Columns count characters
// and not the UTF-16 units of strings.
function appendText(line, text, finding) {
  const characters = Array.from(text);
  const start = (finding?.column ?? 1) - 1;
  const end = (finding?.endColumn ?? characters.length + 1) - 1;
  const part = (from, to) => characters.slice(from, to).join('');
  if (finding) {
    line.append(part(0, start), element('u', '', part(start, end)), part(end));
  } else {
    line.append(text);
  }
}

// Draws the marks and the numbers of all lines.
function drawMarks(gutter, marks, text, findings, explanation) {
  const lines = text.split('\n');
  const byLine = findingsByLine(findings);
  const ofRules = ruleClasses(lines, explanation);
  const drawn = lines.map((own, index) => {
    const finding = byLine.get(index + 1);
    const line = element('span', `line ${finding?.severity ?? ofRules.get(index + 1) ?? ''}`);
    appendText(line, own, finding);
    return line;
  });
  const numbers = lines.map((_, index) => {
    return element('span', byLine.get(index + 1)?.severity, String(index + 1));
  });
  marks.replaceChildren(...drawn);
  gutter.replaceChildren(...numbers);
}
