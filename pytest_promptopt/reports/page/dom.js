// How anything comes into the page: as elements made here and as text. Nothing that was measured is ever HTML.

// What nobody sees, or what turns the direction of writing round, is shown by its number.
const HIDDEN = /[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0e\uffa0\u{e0100}-\u{e01ef}]|(?![\n\t])[\p{Cc}\p{Co}\p{Cs}\p{Zl}\p{Zp}]|(?![\u200d])\p{Cf}|(?<![\p{Extended_Pictographic}\ufe0f\u{1f3fb}-\u{1f3ff}])\u200d/gu;

function code(character) {
  return "U+" + character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
}

// The nodes that show a text.
function shown(text) {
  const nodes = [];
  let end = 0;
  for (const found of text.matchAll(HIDDEN)) {
    if (found.index > end) nodes.push(document.createTextNode(text.slice(end, found.index)));
    const mark = document.createElement("span");
    mark.className = "hidden-character";
    mark.textContent = code(found[0]);
    nodes.push(mark);
    end = found.index + found[0].length;
  }
  if (end < text.length) nodes.push(document.createTextNode(text.slice(end)));
  return nodes;
}

// A text for an attribute, where no element can stand.
function visible(text) {
  return text.replace(HIDDEN, code);
}

function fill(node, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    if (child instanceof Node) node.append(child);
    else node.append(...shown(String(child)));
  }
  return node;
}

const SVG = "http://www.w3.org/2000/svg";

// An element. Of `given`, what begins with "on" is a listener; `class` and all else are attributes.
function el(name, given, ...children) {
  const node = document.createElement(name);
  if (name === "pre") node.tabIndex = 0; // what is long scrolls, also by keys
  return fill(assign(node, given), children);
}

// A heading that opens what is inside, which is made when it is opened for the first time.
function unfolding(open, summary, inside) {
  const node = el("details", { open, ontoggle: () => { if (node.open && node.children.length === 1) fill(node, [inside()]); } }, el("summary", null, summary));
  if (open) fill(node, [inside()]);
  return node;
}

function svg(name, given, ...children) {
  return fill(assign(document.createElementNS(SVG, name), given), children);
}

function assign(node, given) {
  for (const [key, value] of Object.entries(given || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value === true ? "" : visible(String(value)));
  }
  return node;
}

function replace(node, ...children) {
  node.replaceChildren();
  return fill(node, children);
}

// --- figures in words

function percent(rate) {
  if (rate === null || rate === undefined) return "–";
  const inside = rate > 0 && rate < 1 ? Math.min(Math.max(rate, 0.001), 0.999) : rate;
  return (100 * inside).toFixed(1) + "%";
}

function count(number) {
  return number.toLocaleString("en-US");
}

function plural(number, noun) {
  return `${count(number)} ${noun}${number === 1 ? "" : "s"}`;
}

function seconds(time) {
  if (time === null || time === undefined) return "–";
  return time < 9.95 ? `${time.toFixed(time < 0.1 && time > 0 ? 3 : 1)}s` : `${Math.round(time)}s`;
}

function dollars(amount) {
  if (amount === null || amount === undefined) return "price unknown";
  if (amount > 0 && amount < 0.0001) return "< $0.0001";
  return "$" + amount.toFixed(amount > 0 && amount < 1 ? 4 : 2);
}

// A table; `columns` are pairs of a head and whether it is of numbers.
function table(columns, rows, kind = "wide") {
  const cell = (name, content, place) => el(name, { class: columns[place][1] ? "number" : null }, content);
  return el(
    "div", { class: "scroll", tabindex: 0, role: "group", "aria-label": columns[0][0] },
    el("table", { class: kind },
      el("thead", null, el("tr", null, columns.map(([head], place) => assign(cell("th", head, place), { scope: "col" })))),
      el("tbody", null, rows.map((row) => el("tr", null, row.map((content, place) => cell("td", content, place))))))
  );
}

function figure(label, value, large = false) {
  return el("div", { class: "figure" }, el("div", { class: large ? "value large" : "value" }, value), el("div", { class: "label" }, label));
}

function pill(word, kind) {
  return el("span", { class: "pill " + (kind || word) }, word);
}
