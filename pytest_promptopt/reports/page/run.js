// What --optimize did: the evidence, the diff side by side, and every text that was tried.

function runView() {
  const run = DATA.run;
  const runs = run.compared.length ? run.compared : [run];
  return [
    PAST ? pastCard() : null,
    run.interrupted ? el("p", { class: "note" }, "Interrupted: what follows is what was known by then.") : null,
    runs.map((each) => [
      runs.length > 1 ? el("h2", null, `Strategy ${each.strategy}`) : null,
      each.prompts.filter((prompt) => !state.prompt || prompt.prompt === state.prompt).map(runCard),
    ]),
    spendCard(run),
  ];
}

function pastCard() {
  const facts = [...DATA.past, ...DATA.settings];
  return el("section", { class: "card" }, el("h2", null, "This run"),
    el("div", { class: "facts small soft" }, facts.map(([name, value]) => el("span", null, `${name}: `, el("b", null, value)))));
}

const OUTCOMES = { improved: "improved", worse: "worse", passing: "passed" };

function runCard(prompt) {
  const candidates = prompt.iterations.flatMap((each) => each.candidates);
  return el("section", { class: "card" },
    el("header", null, el("h2", { class: "mono" }, prompt.prompt), pill(prompt.words, OUTCOMES[prompt.outcome] || "warn"),
      prompt.written ? pill("written", "held") : prompt.unwritten ? pill(`not written: ${prompt.unwritten}`, "warn") : null),
    prompt.evidence.map((sentence) => el("p", { class: /the gain carries over|^Confirmed/.test(sentence) ? "note good" : /[Ww]orse/.test(sentence.split(":")[0]) ? "note bad" : "note" }, sentence)),
    prompt.warnings.map((sentence) => el("p", { class: "note bad" }, sentence)),
    scores(prompt.scores), prompt.models.map(([model, found]) => [el("h4", null, `With ${model || "no model named"}`), scores(found)]),
    changedCases("Fixed", prompt.fixed, "up"), changedCases("Broken", prompt.broken, "down"),
    stagesAtFault(prompt),
    prompt.stop ? el("p", { class: "small soft" }, `Stopped: ${prompt.stop}`) : null, prompt.note ? el("p", { class: "note" }, prompt.note) : null,
    prompt.diff.length ? [el("h3", null, "The prompt, before and after"), sides(prompt.diff, prompt.passages), passages(prompt.passages)] : null,
    prompt.iterations.length ? [
      el("h3", null, "Pass rate by iteration"), rateChart(prompt.iterations, (prompt.scores.find((score) => score.split === "train") || {}).before),
      el("h3", null, `What was tried: ${plural(prompt.iterations.length, "iteration")}, ${plural(candidates.length, "candidate")}`), tree(prompt), matrix(prompt.matrix),
    ] : null);
}

// Which stage of a pipeline lost each case that failed before.
function stagesAtFault(prompt) {
  if (!prompt.faults) return null;
  return el("details", null, el("summary", null, `At fault: ${prompt.faults}`),
    el("div", { class: "ids", tabindex: 0 }, prompt.at_fault.map(([id, told]) => el("div", null, caseLink(id), " ", told))));
}

function scores(found) {
  if (!found.length) return null;
  const rate = (share, ends) => [el("div", null, percent(share)), share === null || !ends ? null : intervalBar(share, ends, null, null, 130)];
  return table([["split"], ["before"], ["after"], ["cases", true], ["fixed", true], ["broken", true]], found.map((score) => [
    score.split === "held-out" ? el("b", null, score.split) : score.split, rate(score.before, score.ends_before), rate(score.after, score.ends),
    [count(score.cases), score.errored ? el("div", { class: "small soft" }, `${score.errored} errored`) : null, score.unverified ? el("div", { class: "small soft" }, `${score.unverified} more not run`) : null],
    el("span", { class: score.fixed ? "up" : null }, count(score.fixed)), el("span", { class: score.broken ? "down" : null }, count(score.broken)),
  ]));
}

function changedCases(name, found, kind) {
  if (!found.count) return null;
  const more = found.count - found.ids.length;
  return el("details", null, el("summary", null, `${name}: `, el("span", { class: kind }, plural(found.count, "case"))),
    el("div", { class: "ids", tabindex: 0 }, found.ids.map((id) => caseLink(id)), more > 0 ? el("span", { class: "soft" }, `and ${count(more)} more`) : null));
}

// What each kind of mark is called, and its sign: a mark must be read without its color.
const PASSAGES = { matters: ["●", "shown to matter"], harms: ["✕", "shown to do harm"], same: ["○", "no difference seen"], chance: ["?", "may be chance"] };

// What the passages that are marked in the two texts were seen to do.
function passages(found) {
  if (!found) return null;
  const sign = (kind) => el("span", { class: `sign ${kind}`, title: PASSAGES[kind][1] }, PASSAGES[kind][0]);
  return el("div", { class: "passages" },
    el("div", { class: "legend" }, Object.keys(PASSAGES).filter((kind) => found.told.some((each) => each.kind === kind)).map((kind) => el("span", null, sign(kind), " ", PASSAGES[kind][1])), found.untried ? el("span", null, found.untried) : null),
    el("p", { class: "small soft" }, "Lines and sentences that only one of two texts had which were tried on the same train and validation cases. The search chose its texts by these cases, so they favour what was kept; that the whole is better, held-out cases tell."),
    el("ol", null, found.told.map((each) => el("li", null, sign(each.kind), " ", each.said, each.new ? null : el("span", { class: "soft" }, " (only in the text before)"),
      el("div", { class: "mono soft" }, each.texts.map((text) => el("div", null, text)), each.more ? el("div", null, `and ${count(each.more)} more`) : null)))));
}

// The parts of a line, with its passages marked. Every second part has changed.
function marked(parts, tag, spans, told) {
  const nodes = [];
  let place = 0;
  parts.forEach((part, number) => {
    const cuts = [0, part.length, ...spans.flatMap(([start, end]) => [start - place, end - place])].filter((cut) => cut >= 0 && cut <= part.length);
    const bounds = [...new Set(cuts)].sort((one, other) => one - other);
    for (let n = 1; n < bounds.length; n++) {
      const span = spans.find(([start, end]) => start - place <= bounds[n - 1] && bounds[n] <= end - place);
      const text = part.slice(bounds[n - 1], bounds[n]);
      const inner = number % 2 ? el(tag, null, text) : text;
      const last = span && place + bounds[n] === span[1];
      nodes.push(span ? el("span", { class: `passage ${told[span[2]].kind}${told[span[2]].texts.length > 1 ? " set" : ""}`, title: visible(told[span[2]].said) }, inner, last ? el("sup", null, `${PASSAGES[told[span[2]].kind][0]}${span[2] + 1}`) : null) : inner);
    }
    place += part.length;
  });
  return nodes;
}

// Two columns; long stretches without a change are folded.
function sides(rows, found) {
  const told = found ? found.told : [];
  const spans = (side, line) => (found && line !== null && found[side][line]) || [];
  const sideRow = (row) => sideOf(row, told, spans);
  const near = 3;
  const shows = rows.map(() => false);
  rows.forEach((row, place) => { if (row[0] !== "=" || spans("old", row[1]).length || spans("new", row[3]).length) for (let n = place - near; n <= place + near; n++) if (n in rows) shows[n] = true; });
  const body = el("tbody");
  for (let place = 0; place < rows.length;) {
    if (shows[place]) { body.append(sideRow(rows[place++])); continue; }
    let end = place;
    while (end < rows.length && !shows[end]) end++;
    const hiddenRows = rows.slice(place, end);
    const fold = el("tr", { class: "fold" }, el("td", { colspan: 4 }, el("button", { type: "button", onclick: () => fold.replaceWith(...hiddenRows.map(sideRow)) }, `show ${plural(hiddenRows.length, "equal line")}`)));
    body.append(fold);
    place = end;
  }
  return el("table", { class: "sides" }, el("colgroup", null, el("col", { class: "place" }), el("col"), el("col", { class: "place" }), el("col")), el("thead", { class: "soft" }, el("tr", null, el("th", { colspan: 2, scope: "col" }, "before"), el("th", { colspan: 2, scope: "col" }, "after"))), body);
}

function sideOf([kind, oldPlace, oldParts, newPlace, newParts], told, spans) {
  const side = (parts, name, tag, place) => parts === null ? el("td", { class: "none" })
    : el("td", { class: kind === "=" ? null : name }, marked(parts, tag, spans(name, place), told));
  return el("tr", null, el("td", { class: "place" }, oldPlace), side(oldParts, "old", "del", oldPlace), el("td", { class: "place" }, newPlace), side(newParts, "new", "ins", newPlace));
}

// Each text under the one that it was made from.
function tree(prompt) {
  const children = new Map();
  for (const each of prompt.iterations) {
    if (!children.has(each.parent)) children.set(each.parent, []);
    children.get(each.parent).push(...each.candidates.map((candidate) => [candidate, each]));
  }
  const known = new Set(prompt.iterations.flatMap((each) => each.candidates.map((candidate) => candidate.id)));
  const branch = (id, depth) => {
    const found = children.get(id);
    if (!found || depth > 100) return null;
    children.delete(id);
    return el("ul", { class: depth ? null : "tree" }, found.map(([candidate, iteration]) => el("li", null, node(candidate, iteration), branch(candidate.id, depth + 1))));
  };
  const roots = ["0", ...[...children.keys()].filter((id) => id !== "0" && !known.has(id))];
  return [el("p", { class: "small soft" }, "From the prompt as it was; each text stands under the one that it changes."), roots.map((id) => branch(id, 0))];
}

function node(candidate, iteration) {
  const verdictKind = { accepted: "accepted", rejected: "failed", refused: "warn" }[candidate.verdict] || "";
  const whole = [
    ["told", candidate.direction], ["its reason", candidate.reason], ["verdict", candidate.why],
    ["measured", candidate.rate === null ? "not run" : `${percent(candidate.rate)} on ${candidate.split}, run on ${plural(candidate.run, "case")}`],
    ["iteration", `${iteration.number} (${iteration.phase}): ${plural(iteration.calls, "call")}, ${iteration.cost}, ${iteration.elapsed}${iteration.critiques ? `, ${plural(iteration.critiques, "critique")}` : ""}`],
  ];
  const inside = () => el("div", { class: "inside" },
    el("dl", null, whole.filter(([, text]) => text).map(([name, text]) => [el("dt", null, name), el("dd", null, text)])),
    changedCases("Fixed", candidate.fixed, "up"), changedCases("Broken", candidate.broken, "down"),
    candidate.diff.length ? el("pre", { class: "unified" }, candidate.diff.map((text) => el("span", { class: { "+": "added", "-": "removed", "@": "soft" }[text[0]] }, text || " "))) : null);
  const summary = [el("span", { class: "name" }, candidate.id), pill(candidate.verdict, verdictKind),
    el("span", { class: "number" }, candidate.rate === null ? "" : percent(candidate.rate)),
    candidate.fixed.count ? el("span", { class: "up" }, `+${candidate.fixed.count}`) : null,
    candidate.broken.count ? el("span", { class: "down" }, `−${candidate.broken.count}`) : null,
    el("span", { class: "told" }, candidate.direction || candidate.reason)];
  return el("div", { class: "node", id: `candidate-${candidate.id}` }, unfolding(state.candidate === candidate.id, summary, inside));
}

function spendCard(run) {
  return el("section", { class: "card" }, el("h2", null, "Spend"),
    run.spend.length
      ? table([["for"], ["calls", true], ["input tokens", true], ["output tokens", true], ["cost", true]], run.spend.map(([role, calls, input, output, paid]) => [role, count(calls), count(input), count(output), paid]))
      : el("p", { class: "soft" }, "No model call was paid for."),
    el("p", { class: "small soft" }, [`total ${run.total}`, `elapsed ${run.elapsed}`, run.journal ? `journal ${run.journal}` : ""].filter(Boolean).join(" · ")),
    run.errors.map((error) => el("p", { class: "note bad" }, error)), run.notes.map((note) => el("p", { class: "note" }, note)));
}
