// The list of cases. Only the lines in sight are in the page, so that thousands are as fast as ten.

const HEIGHT = 34;
const COLUMNS = [
  ["status", "status"], ["id", "case"], ["input", "input", "extra"], ["expected", "expected", "value"], ["got", "got", "value got"],
  ["category", "kind of failure", "extra"], ...(SEVERAL_MODELS ? [["model", "model", "extra"]] : []), ["split", "split", "extra"], ["seconds", "time", "extra"],
];

let list = null;  // the list that is shown: its numbers, its element, what is drawn

function cases() {
  const numbers = chosenRows();
  const open = state.case !== undefined && BY_ID.has(state.case);
  const body = el("div", { class: "body", role: "table", tabindex: 0, "aria-label": "cases", "aria-rowcount": numbers.length + 1, onscroll: () => draw() });
  const inner = el("div", { class: "lines", role: "rowgroup" });
  inner.style.height = `${numbers.length * HEIGHT}px`;
  body.append(heads(), inner);
  list = { numbers, body, inner, first: -1, last: -1, chosen: open ? numbers.findIndex((n) => ROWS[n][AT.id] === state.case) : -1 };
  const grid = el("div", { class: "grid" },
    numbers.length ? body : el("p", { class: "nothing" }, "No case is like that. ", el("a", { href: address({ view: "cases" }) }, "Show all")));
  const panel = open ? el("aside", { class: "panel", "aria-label": "case" }) : null;
  if (panel) showDetails(panel, list);
  requestAnimationFrame(() => { reveal(); draw(true); });
  return el("div", { class: open ? "cases open" : "cases" }, el("div", { class: "list" }, tools(numbers.length), grid), panel);
}

// Show what is found now in the list that is there; false where the whole view has to be made anew.
function refreshList() {
  if (state.view !== "cases" || !list || !list.body.isConnected || main.querySelector(".panel")) return false;
  const numbers = chosenRows();
  if (!numbers.length) return false;
  Object.assign(list, { numbers, chosen: -1 });
  list.inner.style.height = `${numbers.length * HEIGHT}px`;
  list.body.setAttribute("aria-rowcount", numbers.length + 1);
  list.body.scrollTop = 0;
  replace(main.querySelector("[role=status]"), foundWords(numbers.length));
  draw(true);
  return true;
}

function foundWords(found) {
  return `${count(found)} of ${plural(ROWS.length, "case")}`;
}

function heads() {
  const sort = state.sort || "status", down = state.turn === "down";
  return el("div", { class: "heads", role: "rowgroup" }, el("div", { class: SEVERAL_MODELS ? "line head models" : "line head", role: "row" },
    COLUMNS.map(([key, name, kind]) => el("div", { role: "columnheader", class: kind, "aria-sort": key !== sort ? null : down ? "descending" : "ascending" },
      el("button", { type: "button", onclick: () => go({ ...state, sort: key, turn: key === sort && !down ? "down" : "" }) }, name)))));
}

function tools(found) {
  const tally = new Map(STATUSES.map((status) => [status, 0]));
  let flaky = 0;
  for (const row of ROWS) {
    if (state.prompt && DATA.prompts[row[AT.prompt]].name !== state.prompt) continue;
    tally.set(row[AT.status], tally.get(row[AT.status]) + 1);
    flaky += row[AT.flaky];
  }
  const chip = (status, name, number) => el("button", {
    type: "button", class: "chip", "aria-pressed": String((state.status || "") === status), onclick: () => go({ ...state, status, case: "" }),
  }, number === null ? name : `${name} ${count(number)}`);
  const search = el("input", { type: "search", id: "search", placeholder: "Search ids, inputs, answers ( / )", "aria-label": "search", value: state.q || "",
    oninput: (event) => { go({ ...state, q: event.target.value, case: "" }, true); } });
  return el("div", { class: "tools" }, search,
    el("div", { class: "chips", role: "group", "aria-label": "status" }, chip("", "all", null),
      STATUSES.filter((status) => tally.get(status)).map((status) => chip(status, status, tally.get(status))), flaky ? chip("flaky", "flaky", flaky) : null),
    choice("prompt", DATA.prompts.map((prompt) => prompt.name)), choice("category", DATA.categories, "kind of failure"),
    choice("split", [...new Set(ROWS.map((row) => row[AT.split]))]), choice("model", DATA.models),
    state.expected !== undefined || state.got !== undefined
      ? el("button", { type: "button", class: "plain", onclick: () => go({ ...state, expected: "", got: "" }) }, `expected ${state.expected}, got ${state.got} ✕`) : null,
    el("span", { class: "soft small", role: "status" }, foundWords(found)));
}

function choice(key, values, name = key) {
  if (values.length < 2) return null;
  return el("select", { "aria-label": name, onchange: (event) => go({ ...state, [key]: event.target.value, case: "" }) },
    el("option", { value: "" }, `every ${name}`),
    values.map((value) => Object.assign(el("option", null, value), { value, selected: state[key] === value })));
}

// Draw the lines that are in sight, and some above and below.
function draw(anew = false) {
  if (!list || !list.body.isConnected) return;
  const { numbers, body, inner } = list;
  const first = Math.max(0, Math.floor(body.scrollTop / HEIGHT) - 8);
  const last = Math.min(numbers.length, Math.ceil((body.scrollTop + body.clientHeight) / HEIGHT) + 8);
  if (!anew && first === list.first && last === list.last) return;
  list.first = first; list.last = last;
  const lines = [];
  for (let place = first; place < last; place++) lines.push(line(place, ROWS[numbers[place]]));
  inner.replaceChildren(...lines);
}

function line(place, row) {
  const cell = (content, kind) => el("div", { class: kind, role: "cell" }, content);
  const short = row[AT.id].split("::").slice(1).join("::") || row[AT.id];
  const samples = row[AT.samples] > 1 ? ` ${row[AT.passed]}/${row[AT.samples]}` : "";
  const node = el("div", {
    class: ["line", SEVERAL_MODELS && "models", place === list.chosen && "chosen"].filter(Boolean).join(" "), role: "row", "aria-rowindex": place + 2,
    onclick: () => open(place),
  },
  cell(pill(row[AT.status] + samples, row[AT.status])),
  el("div", { class: "id mono", role: "cell" }, el("a", { href: address({ ...state, view: "cases", case: row[AT.id] }), tabindex: -1, title: row[AT.id] }, short)),
  cell(row[AT.input], "extra"), cell(row[AT.expected], "value"), cell(row[AT.got], "value got"),
  cell(row[AT.category] < 0 ? "" : DATA.categories[row[AT.category]], "extra"),
  SEVERAL_MODELS ? cell(DATA.models[row[AT.model]] || "–", "extra") : null,
  cell(row[AT.split], "extra"), cell(seconds(row[AT.seconds]), "extra"));
  node.style.top = `${place * HEIGHT}px`;
  return node;
}

function open(place) {
  if (place < 0 || place >= list.numbers.length) return;
  go({ ...state, view: "cases", case: ROWS[list.numbers[place]][AT.id] });
}

// Bring the chosen line into sight.
function reveal() {
  if (!list || list.chosen < 0) return;
  const top = list.chosen * HEIGHT, { body } = list;
  if (top < body.scrollTop || top + 2 * HEIGHT > body.scrollTop + body.clientHeight) body.scrollTop = Math.max(0, top - body.clientHeight / 2);
}
