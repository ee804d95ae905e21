// The page around the views, the keys, and what is printed.

const VIEWS = { overview: ["Overview", overview], cases: ["Cases", cases], run: ["Optimization", runView] };

const page = document.getElementById("page");
const main = el("main", { id: "main", tabindex: -1 });
const printed = el("div", { class: "only-print" });
let shownView = null;

function frame() {
  const gates = DATA.prompts.filter((prompt) => prompt.held !== null || prompt.limits.length);
  const verdict = gates.length ? pill(DATA.passed ? "every gate holds" : "a gate does not hold", DATA.passed ? "held" : "failed") : null;
  const worse = DATA.prompts.some((prompt) => prompt.compared.some((found) => found.failed));
  const links = Object.entries(VIEWS).filter(([name]) => name === "run" ? DATA.run : !PAST)
    .map(([name, [words]]) => el("a", { href: address({ view: name }), "data-view": name }, words));
  replace(page,
    el("header", { class: "top" }, el("h1", null, "Prompt report"), verdict, worse ? pill("a comparison fails", "failed") : null,
      el("nav", { "aria-label": "views" }, links, el("button", { type: "button", class: "plain", onclick: () => help.showModal(), "aria-label": "keys" }, "?"))),
    main, printed, el("footer", null, `pytest-promptopt ${DATA.version} · texts longer than ${count(DATA.limit)} characters are cut`), help);
}

const KEYS = [
  ["1 2 3", "overview, cases, optimization"], ["/", "search"], ["j k", "next and previous case"], ["Enter", "open the first case"],
  ["f", "failed cases only, or all"], ["Esc", "close"], ["?", "this help"],
];
const help = el("dialog", { "aria-label": "keys" }, el("h2", null, "Keys"),
  el("dl", { class: "keys" }, KEYS.map(([key, words]) => [el("dt", null, key.split(" ").map((each) => [el("kbd", null, each), " "])), el("dd", null, words)])),
  el("button", { type: "button", class: "plain", onclick: () => help.close() }, "Close"));

function render() {
  const typing = document.activeElement && document.activeElement.id === "search" ? document.activeElement.selectionStart : null;
  const scrolled = list && list.body.isConnected ? list.body.scrollTop : 0;
  for (const link of page.querySelectorAll("nav a")) {
    if (link.dataset.view === state.view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  replace(main, VIEWS[state.view][1]());
  if (state.view === "cases" && shownView === "cases" && list.body.isConnected) list.body.scrollTop = scrolled;
  if (typing !== null && state.view === "cases") {
    const search = document.getElementById("search");
    search.focus();
    search.setSelectionRange(typing, typing);
  }
  if (shownView !== null && shownView !== state.view) { window.scrollTo(0, 0); main.focus({ preventScroll: true }); }
  if (state.candidate) document.getElementById(`candidate-${state.candidate}`)?.scrollIntoView({ block: "center" });
  shownView = state.view;
}

function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
  if (/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) {
    if (event.key === "Escape" || (event.key === "Enter" && event.target.id === "search")) event.target.blur();
    return;
  }
  const step = (by) => { if (state.view === "cases" && list && list.numbers.length) open(Math.min(Math.max(list.chosen + by, 0), list.numbers.length - 1)); };
  const keys = {
    1: () => go({ view: "overview" }), 2: () => go({ view: "cases" }), 3: () => DATA.run && go({ view: "run" }),
    "/": () => { if (state.view !== "cases") { go({ view: "cases" }); setTimeout(() => document.getElementById("search")?.focus(), 30); } else document.getElementById("search").focus(); },
    j: () => step(1), k: () => step(-1), ArrowDown: () => step(1), ArrowUp: () => step(-1),
    Enter: () => { if (state.view === "cases" && !state.case && event.target.tagName !== "A" && event.target.tagName !== "BUTTON" && event.target.tagName !== "SUMMARY") step(1); },
    f: () => go({ ...state, view: "cases", status: state.status === "failed" ? "" : "failed", case: "" }),
    Escape: () => { if (state.case) go({ ...state, case: "" }); }, "?": () => help.showModal(),
  };
  const arrows = event.key.startsWith("Arrow");
  if (!Object.hasOwn(keys, event.key) || (arrows && (state.view !== "cases" || !state.case && event.target.className !== "body"))) return;
  keys[event.key]();
  if (event.key !== "Enter") event.preventDefault();
}

// On paper there are the overview, the optimization and the failing cases, whatever is on the screen.
function printAll() {
  const most = 300;
  const failing = ROWS.filter((row) => row[AT.status] === "failed" || row[AT.status] === "errored");
  const rows = failing.slice(0, most).map((row) => [row[AT.status], el("span", { class: "mono" }, row[AT.id]), row[AT.input], row[AT.expected], row[AT.got]]);
  const more = failing.length - rows.length;
  const kept = { ...state };
  for (const key of ["prompt", "candidate"]) delete state[key];
  replace(printed, state.view === "overview" || PAST ? null : overview(), DATA.run && state.view !== "run" ? runView() : null,
    rows.length ? el("section", { class: "card" }, el("h2", null, "Cases that failed"), table([["status"], ["case"], ["input"], ["expected"], ["got"]], rows),
      more > 0 ? el("p", null, `and ${count(more)} more`) : null) : null);
  Object.assign(state, kept);
}

readAddress();
frame();
render();
window.addEventListener("hashchange", () => { readAddress(); render(); });
window.addEventListener("resize", () => draw());
window.addEventListener("keydown", pressed);
window.addEventListener("beforeprint", printAll);
window.addEventListener("afterprint", () => printed.replaceChildren());
setTimeout(() => indexTexts().catch(() => {}), 300);
