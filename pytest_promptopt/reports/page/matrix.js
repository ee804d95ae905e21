// Which text passed which case: a row for each case, a column for each text. Drawn when it is opened.

const CELLS = { p: "passed", f: "failed", h: "partly passed", e: "no answer", ".": "not run" };
const SIGNS = { p: "", f: "×", h: "÷", e: "!", ".": "" };

function matrix(found) {
  if (!found || !found.rows.length) return null;
  const { columns, rows, passed, more: [moreRows, moreColumns] } = found;
  const summary = `Cases and texts: ${plural(rows.length + moreRows, "case")} that not every text passes, ${plural(columns.length + moreColumns, "text")}`;
  const legend = () => el("p", { class: "small soft" },
    Object.entries(CELLS).map(([kind, word]) => [el("span", { class: `cell ${kind === "." ? "none" : kind}` }, SIGNS[kind]), ` ${word} `]),
    passed ? ` · ${plural(passed, "more case")} passed with every text that was run on them` : "",
    moreRows ? ` · ${plural(moreRows, "more row")}` : "", moreColumns ? ` · ${plural(moreColumns, "more column")}` : "");
  return el("div", { class: "matrix" }, unfolding(false, summary, () => [grid(columns, rows), legend()]));
}

function grid(columns, rows) {
  const head = columns.map((id) => el("th", { scope: "col" }, id === "0" ? "as it was" : el("a", { href: address({ view: "run", candidate: id }) }, id)));
  const body = rows.map(([id, cells]) => el("tr", null, el("th", { scope: "row" }, caseLink(id)), [...cells].map((kind, place) => {
    const words = `${CELLS[kind]} with ${columns[place] === "0" ? "the text as it was" : columns[place]}`;
    return el("td", { class: `cell ${kind === "." ? "none" : kind}`, title: words, "aria-label": words }, SIGNS[kind]);
  })));
  return el("div", { class: "wide" }, el("table", { class: "texts" }, el("thead", null, el("tr", null, el("td"), head)), el("tbody", null, body)));
}
