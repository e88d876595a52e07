// --- data, elements, figures -----------------------------------------------------------------------------------
// Whatever comes from data reaches the page as text (textContent, attributes), never as HTML.

const read = (id) => JSON.parse(document.getElementById(id).textContent);
const board = read("board");
const facts = read("facts");
const explorer = read("questions");

const at = (id) => document.getElementById(id);
const NAMES = board.systems.map((system) => system.name);
const BASELINE = NAMES[0];
const MAIN = board.metrics[0];
const SIGNS = { better: "▲", worse: "▼", "not shown": "○" };
const SAME = 1e-12;
const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/g;

/** Text without controls and without signs that reverse the reading direction. */
const plain = (text) => String(text).replace(HIDDEN, "");

/** Give an element attributes and content; null and false are left out. */
function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === false || value === undefined) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : plain(value));
  }
  for (const child of children) {
    if (child === null || child === false || child === undefined || child === "") continue;
    node.append(child instanceof Node ? child : document.createTextNode(plain(child)));
  }
  return node;
}

const make = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
const draw = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

/** Rounded as Python rounds: what lies exactly between two goes to the even one. */
function fixed(value, digits) {
  const halves = value * 2 ** (digits + 1);
  if (!Number.isInteger(halves) || halves % 2 === 0) return value.toFixed(digits);
  const below = Math.floor(value * 10 ** digits);
  return ((below + Math.abs(below % 2)) / 10 ** digits).toFixed(digits);
}

const number = (value) => (value === null ? "" : fixed(value, 3));
function signed(value) {
  if (value === null) return "";
  const text = fixed(value, 3);
  if (Number(text) === 0) return text.replace("-", "");
  return value > 0 ? `+${text}` : text;
}
const pValue = (p) => (p < 0.0001 ? "< 0.0001" : fixed(p, 4));
const span = (low, high, write) => (low === null || high === null ? "" : `${write(low)} to ${write(high)}`);
const grouped = (value) => value.toLocaleString("en-US");
const many = (n, one, several) => `${grouped(n)} ${n === 1 ? one : several}`;

function millions(value) {
  if (value === null) return "";
  return value === 0 ? "0" : `${(value / 1e6).toLocaleString("en-US", { minimumFractionDigits: 1, maximumFractionDigits: 1 })} M`;
}

/** A verdict as sign and word. */
function badge(word) {
  if (!word) return "";
  return make("span", { class: `verdict ${word.replace(" ", "-")}` }, make("span", { "aria-hidden": "true" }, SIGNS[word]), " ", word);
}

const model = (name) => make("span", { class: "model" }, name);

/** Options of a select; values are texts. */
function options(select, entries, chosen) {
  select.replaceChildren(...entries.map(([value, label]) => make("option", { value, selected: value === chosen }, label)));
}

/** Call a function when typing has paused. */
function calmly(action) {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(action, 120);
  };
}
