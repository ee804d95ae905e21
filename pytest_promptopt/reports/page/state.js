// What the page knows and where the reader is. The place is in the address, so that it can be sent to somebody.

const DATA = JSON.parse(document.getElementById("data").textContent);
const AT = Object.fromEntries(DATA.columns.map((name, place) => [name, place]));
const ROWS = DATA.rows;
// The page of an earlier run: its journal has no session, so there is one view.
const PAST = DATA.past.length > 0;
const SEVERAL_MODELS = DATA.models.length > 1;
const SEVERAL_PROMPTS = DATA.prompts.length > 1;

const state = {};

function readAddress() {
  for (const key of Object.keys(state)) delete state[key];
  for (const [key, value] of new URLSearchParams(location.hash.slice(1))) state[key] = value;
  if (PAST) state.view = "run";
  else if (!["overview", "cases", "run"].includes(state.view) || (state.view === "run" && !DATA.run)) state.view = "overview";
}

// The address of a place; what is empty is left out.
function address(place) {
  const kept = Object.entries(place).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  return "#" + new URLSearchParams(kept).toString();
}

// Go there. `quiet` is for what changes with each letter that is typed: it leaves no step to go back to.
function go(place, quiet = false) {
  const target = address(place);
  if (target === location.hash) return;
  if (!quiet) { location.hash = target; return; }
  try { history.replaceState(null, "", target); } catch { location.hash = target; return; }
  readAddress();
  if (!refreshList()) render();
}

// --- details: compressed in the page, read after it is shown

const CHUNKS = JSON.parse(document.getElementById("details").textContent);
const CHUNK = 100;
const unpacked = new Map();

function unpack(number) {
  if (!unpacked.has(number)) unpacked.set(number, decompress(CHUNKS[number]));
  return unpacked.get(number);
}

async function decompress(chunk) {
  const bytes = Uint8Array.from(atob(chunk), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

async function detailsOf(row) {
  const place = row[AT.details];
  return (await unpack(Math.floor(place / CHUNK)))[place % CHUNK];
}

// --- searching

const HAY = ROWS.map((row) => [row[AT.id], row[AT.input], row[AT.expected], row[AT.got]].join("\n").toLowerCase());

// Whole texts join the search a chunk at a time, when the browser has nothing else to do.
async function indexTexts() {
  if (typeof DecompressionStream === "undefined") return;
  const rowsOf = new Map();
  ROWS.forEach((row, number) => {
    const place = row[AT.details];
    if (!rowsOf.has(place)) rowsOf.set(place, []);
    rowsOf.get(place).push(number);
  });
  for (let number = 0; number < CHUNKS.length; number++) {
    await new Promise((done) => (window.requestIdleCallback || ((then) => setTimeout(then, 20)))(done));
    const cases = await unpack(number);
    cases.forEach((details, within) => {
      const texts = details.runs.flatMap((run) => [
        run.error, run.failure && run.failure.message,
        ...run.calls.flatMap((call) => [call.answer, ...Object.values(call.variables)]),
      ]);
      const more = "\n" + texts.filter(Boolean).join("\n").toLowerCase();
      for (const row of rowsOf.get(number * CHUNK + within) || []) {
        HAY[row] += more;
        HAY[row].includes("\u0000");  // joins the two parts now, not while somebody types
      }
    });
  }
}

function modelOf(row) {
  return DATA.models[row[AT.model]] || DATA.no_model;
}

const STATUSES = ["failed", "errored", "passed", "skipped"];

// The numbers of the rows that the reader has asked for, in the order asked for.
function chosenRows() {
  const words = (state.q || "").toLowerCase().split(/\s+/).filter(Boolean);
  const wanted = [];
  for (let number = 0; number < ROWS.length; number++) {
    const row = ROWS[number];
    if (matches(row, state.status) && words.every((word) => HAY[number].includes(word))) wanted.push(number);
  }
  return sorted(wanted);
}

function matches(row, status) {
  return (!status || row[AT.status] === status || (status === "flaky" && row[AT.flaky])) &&
    (!state.prompt || DATA.prompts[row[AT.prompt]].name === state.prompt) &&
    (!state.split || row[AT.split] === state.split) &&
    (!state.model || modelOf(row) === state.model) &&
    (!state.category || DATA.categories[row[AT.category]] === state.category) &&
    (!state.expected || row[AT.expected] === state.expected) &&
    (!state.got || row[AT.got] === state.got);
}

function sorted(numbers) {
  const key = state.sort || "status";
  const place = AT[key];
  if (place === undefined) return numbers;
  const turn = state.turn === "down" ? -1 : 1;
  const value = (number) => {
    const found = ROWS[number][place];
    if (key === "status") return STATUSES.indexOf(found);
    if (key === "category") return found < 0 ? "\uffff" : DATA.categories[found];
    if (key === "model") return DATA.models[found] || "";
    return found;
  };
  const keys = new Map(numbers.map((number) => [number, value(number)]));
  return numbers.sort((a, b) => {
    const one = keys.get(a), other = keys.get(b);
    if (one === other) return a - b;
    if (one === null) return 1;  // what is not known comes last, whichever way
    if (other === null) return -1;
    return turn * (one < other ? -1 : 1);
  });
}

const BY_ID = new Map(ROWS.map((row, number) => [row[AT.id], number]).reverse());

function caseLink(id, place = {}) {
  return BY_ID.has(id)
    ? el("a", { href: address({ view: "cases", ...place, case: id }), class: "mono" }, id)
    : el("span", { class: "mono" }, id);
}
