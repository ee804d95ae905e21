// The first view: each prompt with its rate, its gate and why it fails.

function overview() {
  return [summaryCard(), mutationCards(), DATA.prompts.map((prompt) => [comparedCard(prompt), promptCard(prompt)]), notes()];
}

function summaryCard() {
  if (DATA.prompts.length < 2 && !DATA.calls) return null;
  const rows = DATA.prompts.map((prompt) => [
    el("a", { href: address({ view: "overview", prompt: prompt.name }), class: "mono" }, prompt.name),
    intervalBar(prompt.rate, prompt.ends, prompt.least, prompt.held),
    percent(prompt.rate), ...(DATA.compared_with ? [changes(prompt)] : []),
    `${count(passing(prompt))} of ${count(counted(prompt))}`, gatePills(prompt), prompt.cost || "–",
  ]);
  const columns = [["prompt"], ["0 to 100 %"], ["pass rate", true], ...(DATA.compared_with ? [["change"]] : []), ["passing", true], ["gate"], ["cost", true]];
  return el("section", { class: "card" },
    el("h2", null, "This session"),
    el("div", { class: "facts small soft" }, DATA.settings.map(([name, value]) => el("span", null, `${name}: `, el("b", null, value)))),
    DATA.prompts.length > 1 ? table(columns, rows) : null,
    DATA.calls ? el("p", { class: "small soft" }, DATA.calls) : null);
}

// Which instructions no test notices.
function mutationCards() {
  const found = DATA.mutation;
  if (!found) return null;
  const kinds = { "noticed": "held", "not noticed": "failed", "cannot tell": "warn" };
  return [
    found.stopped ? el("p", { class: "note bad" }, `It ended early: ${found.stopped}`) : null,
    found.prompts.map((prompt) => el("section", { class: "card" }, el("header", null, el("h2", { class: "mono" }, prompt.prompt)), el("p", null, prompt.said),
      prompt.found.length ? table([["verdict"], ["line", true], ["instruction"], ["what the tests say"]], prompt.found.map(([verdict, line, text, said]) => [pill(verdict, kinds[verdict]), count(line), el("span", { class: "mono" }, text), said])) : null,
      prompt.about.map((sentence) => el("p", { class: "small soft" }, sentence)))),
    found.about.map((sentence) => el("p", { class: "small soft" }, sentence)),
  ];
}

function counted(part) {
  return part.cases - part.errored;
}

function passing(part) {
  return counted(part) - part.failing;
}

function gatePills(prompt) {
  const limits = prompt.limits.map((limit) => pill(`limit ${limit.held ? "kept" : "FAILED"}: ${limit.word}`, limit.held ? "held" : "failed"));
  return prompt.held === null && limits.length ? limits : [gatePill(prompt), ...limits];
}

function gatePill(prompt) {
  if (prompt.held === null) return el("span", { class: "soft" }, prompt.least === null ? "no gate" : "gate: nothing to decide on");
  const words = { pass: "gate holds", fail: "gate FAILED", undecided: prompt.held ? "gate undecided, which passes" : "gate UNDECIDED" }[prompt.verdict];
  return pill(`${words}: ${percent(prompt.least)} required`, prompt.verdict === "undecided" ? "warn" : prompt.held ? "held" : "failed");
}

function promptCard(prompt) {
  if (state.prompt && state.prompt !== prompt.name) return null;
  const link = (place, words) => el("a", { href: address({ view: "cases", prompt: prompt.name, ...place }) }, words);
  const few = prompt.ends ? `${percent(prompt.ends[0])} to ${percent(prompt.ends[1])}` : "–";
  return el("section", { class: "card" },
    el("header", null, el("h2", { class: "mono" }, prompt.name), gatePills(prompt),
      SEVERAL_PROMPTS && state.prompt ? el("a", { href: address({ view: "overview" }), class: "no-print" }, "all prompts") : null),
    el("div", { class: "figures" },
      figure("pass rate", percent(prompt.rate), true),
      prompt.ends ? figure("95 % interval", el("div", null, intervalBar(prompt.rate, prompt.ends, prompt.least, prompt.held), el("span", { class: "small" }, few))) : null,
      figure("cases pass", `${count(passing(prompt))} of ${count(counted(prompt))}`),
      figure("fail", prompt.failing ? link({ status: "failed" }, count(prompt.failing)) : "0"),
      figure("errored", prompt.errored ? link({ status: "errored" }, count(prompt.errored)) : "0"),
      figure("model calls", count(prompt.calls)),
      figure("cost", prompt.cost || "–"),
      figure("latency, median", seconds(prompt.seconds))),
    [...prompt.gates, ...prompt.noise].map((sentence) => el("p", { class: "small soft" }, sentence)),
    parts("split", prompt.splits, prompt), parts("model", prompt.models, prompt),
    prompt.categories.length ? [el("h3", null, "Why cases fail"), prompt.categories.map((kind) => category(kind, prompt))] : null);
}

function parts(name, found, prompt) {
  if (!found.length) return null;
  const columns = [[name], ["0 to 100 %"], ["pass rate", true], ["95 % interval", true], ["passing", true], ["errored", true], ["cost", true], ["latency p50", true]];
  return [el("h3", null, `By ${name}`), table(columns, found.map((part) => [
    el("a", { href: address({ view: "cases", prompt: prompt.name, [name]: part.name }) }, part.name),
    intervalBar(part.rate, part.ends, name === "model" ? prompt.least : null, null),
    percent(part.rate), part.ends ? `${percent(part.ends[0])} to ${percent(part.ends[1])}` : "–",
    `${count(passing(part))} of ${count(counted(part))}`, count(part.errored), part.cost || "–", seconds(part.seconds),
  ]))];
}

function category(kind, prompt) {
  const share = svg("svg", { width: 90, height: 8, "aria-hidden": "true" },
    svg("rect", { class: "dot rejected", width: Math.max(2, 90 * kind.count / Math.max(1, prompt.failing)), height: 8, rx: 2 }));
  const lines = [["observed", kind.confusion.length ? "" : kind.observed], ["likely cause", kind.cause], ["suggested fix", kind.fix]];
  return el("div", { class: "kind" },
    el("div", { class: "head" }, el("b", null, kind.name), share,
      el("a", { href: address({ view: "cases", prompt: prompt.name, category: kind.name }) }, plural(kind.count, "case"))),
    el("dl", null, lines.filter(([, text]) => text).map(([label, text]) => [el("dt", null, label), el("dd", null, text)])),
    kind.confusion.length ? confusion(kind, prompt) : null,
    el("p", { class: "small" }, "for example: ", kind.examples.map((id, place) => [place ? ", " : "", caseLink(id, { prompt: prompt.name, category: kind.name })])));
}

// What was expected by what came: a square where it is small enough to be one.
function confusion(kind, prompt) {
  const expected = [...new Set(kind.confusion.map(([label]) => label))];
  const got = [...new Set(kind.confusion.map(([, label]) => label))];
  const link = (e, g, n) => el("a", { href: address({ view: "cases", prompt: prompt.name, category: kind.name, expected: e, got: g }), title: `expected ${e}, got ${g}` }, count(n));
  if (expected.length > 14 || got.length > 14) {
    const rows = kind.confusion.slice(0, 25).map(([e, g, n]) => [el("code", null, e), el("code", null, g), link(e, g, n)]);
    const rest = kind.confusion.length - rows.length;
    return [table([["expected"], ["got"], ["cases", true]], rows, ""), rest > 0 ? el("p", { class: "small soft" }, `and ${plural(rest, "more pair")}`) : null];
  }
  const most = Math.max(...kind.confusion.map(([, , n]) => n));
  const counts = new Map(kind.confusion.map(([e, g, n]) => [JSON.stringify([e, g]), n]));
  const row = (e) => el("tr", null, el("th", { scope: "row", title: e }, e || '""'), got.map((g) => {
    const n = counts.get(JSON.stringify([e, g]));
    const cell = el("td", null, n ? link(e, g, n) : "");
    if (n) cell.style.backgroundColor = `rgb(var(--heat) / ${(0.08 + 0.2 * n / most).toFixed(3)})`;
    return cell;
  }));
  return el("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": "confusion table" },
    el("table", { class: "confusion" },
      el("thead", null, el("tr", null, el("th", { class: "corner", scope: "col" }, "expected ↓ got →"), got.map((g) => el("th", { scope: "col", title: g }, g || '""')))),
      el("tbody", null, expected.map(row))));
}

function notes() {
  if (!DATA.notes.length) return null;
  return el("section", { class: "card" }, el("h2", null, "Notes"), DATA.notes.map((note) => el("p", { class: "note" }, note)));
}
