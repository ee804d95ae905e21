// One case, whole: what went in, what every run answered, and what is wrong with it.

function showDetails(panel, shownList) {
  const id = state.case;
  const number = shownList.chosen >= 0 ? shownList.numbers[shownList.chosen] : BY_ID.get(id);
  const row = ROWS[number];
  const step = (by) => () => open(shownList.chosen + by);
  const buttons = el("div", { class: "buttons" },
    el("button", { type: "button", class: "plain", onclick: step(-1), "aria-label": "previous case", title: "previous (k)" }, "↑"),
    el("button", { type: "button", class: "plain", onclick: step(1), "aria-label": "next case", title: "next (j)" }, "↓"),
    el("button", { type: "button", class: "plain", onclick: () => go({ ...state, case: "" }), "aria-label": "close", title: "close (Esc)" }, "✕"));
  const rest = el("div", null, el("p", { class: "soft" }, "…"));
  replace(panel, el("header", null, el("h2", null, id), buttons),
    el("div", { class: "facts" }, pill(row[AT.status]), row[AT.flaky] ? pill("flaky", "warn") : null,
      row[AT.category] < 0 ? null : el("b", null, DATA.categories[row[AT.category]]),
      el("span", { class: "soft small" }, [row[AT.split], DATA.models[row[AT.model]],
        row[AT.rate] !== null && row[AT.samples] > 1 ? `rate ${percent(row[AT.rate])}` : null,
        row[AT.cost] === null ? null : dollars(row[AT.cost])].filter(Boolean).join(" · "))),
    rest);
  if (typeof DecompressionStream === "undefined") {
    replace(rest, el("p", { class: "note" }, "This browser is too old to open the details; one of 2023 or later can."));
    return;
  }
  detailsOf(row).then(
    (details) => { if (panel.isConnected && state.case === id) replace(rest, wholeCase(row, details)); },
    (error) => replace(rest, el("p", { class: "note bad" }, `The details cannot be read: ${error}`)));
}

function wholeCase(row, details) {
  const same = details.runs.length > 1 && details.runs.every((run) => JSON.stringify(inputs(run)) === JSON.stringify(inputs(details.runs[0])));
  return [
    details.why.map((why) => why.lines.length || why.remark ? [el("h3", { class: "sub" }, details.why.length > 1 ? `Difference (${why.prompt})` : "Difference"), el("pre", null, [...why.lines, why.remark].filter(Boolean).join("\n"))] : null),
    details.fault ? el("p", { class: "small" }, el("b", null, "Stage at fault: "), details.fault) : null,
    same ? given(details.runs[0]) : null,
    details.runs.map((run) => oneRun(run, details.runs.length > 1, same)),
    details.check ? el("details", null, el("summary", null, "The test"), el("pre", null, details.check)) : null,
    el("p", { class: "soft small mono" }, [details.where, details.weight === 1 ? "" : `weight ${details.weight}`].filter(Boolean).join(" · ")),
  ];
}

function inputs(run) {
  const calls = run.calls.filter((call) => Object.keys(call.variables).length);
  return calls.length ? calls[0].variables : run.given || {};
}

function given(run) {
  const named = Object.entries(inputs(run));
  return named.length ? [el("h3", { class: "sub" }, "Input"), named.map(([name, value]) => [named.length > 1 || name !== "input" ? el("div", { class: "soft small" }, name) : null, el("pre", null, value)])] : null;
}

function oneRun(run, several, inputShown) {
  const failure = run.failure || {};
  const expected = failure.constraint || failure.expected || run.expected;
  const answers = run.calls.map((call, number) => answer(call, run.calls.length > 1, number > 0));
  const wanted = expected === undefined ? null : [el("h3", { class: "sub" }, failure.constraint ? "Required" : "Expected"), el("pre", null, expected)];
  const compared = failure.actual !== undefined && !run.calls.some((call) => call.answer === failure.actual)
    ? [el("h3", { class: "sub" }, "Compared with it"), el("pre", null, failure.actual)] : null;
  return el("div", { class: "run" },
    several ? el("div", { class: "facts" }, el("b", null, `Sample ${run.sample + 1}`), pill(run.status), run.score > 0 && run.score < 1 ? el("span", { class: "soft small" }, `score ${run.score}`) : null) : null,
    inputShown ? null : given(run),
    el("div", { class: wanted ? "pair" : null }, el("div", null, answers.length ? answers : el("p", { class: "soft" }, "No model was asked.")), wanted ? el("div", null, wanted, compared) : null),
    run.error ? [el("h3", { class: "sub" }, "Error"), el("pre", null, run.error)] : null,
    (run.verdicts || []).map(verdict),
    failure.message ? el("details", { open: expected === undefined }, el("summary", null, `The failing check, ${failure.where}`), el("pre", null, failure.message)) : null);
}

// What went into a later call: the input of the first one stands above all answers.
function stageInput(call) {
  const named = Object.entries(call.variables);
  return named.length ? el("details", null, el("summary", null, "Its input"), named.map(([name, value]) => [el("div", { class: "soft small" }, name), el("pre", null, value)])) : null;
}

function answer(call, several, asked) {
  const facts = [
    seconds(call.seconds), call.cached ? "from the cache" : null, call.cost === null ? null : dollars(call.cost),
    call.tokens ? `${count(call.tokens[0])} + ${count(call.tokens[1])} tokens` : null, call.stop && !["end", "stop", "end_turn"].includes(call.stop) ? `stopped: ${call.stop}` : null,
  ].filter(Boolean).join(" · ");
  const grade = call.grade ? `Grade of this stage: ${call.grade.score}${call.grade.why ? `, ${call.grade.why}` : ""}` : null;
  return [el("h3", { class: "sub" }, several ? `Answer of ${call.prompt || "another call"}` : "Answer"), asked ? stageInput(call) : null, el("pre", null, call.answer || "(empty)"),
    grade ? el("div", { class: "small" }, grade) : null, el("div", { class: "soft small" }, facts), call.files ? el("div", { class: "soft small" }, `with ${call.files.join(", ")}`) : null];
}

function verdict(found) {
  const listed = (name, items) => items.length ? [el("dt", null, name), el("dd", null, items.map((item) => el("div", null, item)))] : null;
  return [el("h3", { class: "sub" }, `Judge: ${found.score} of 1, ${found.score >= found.threshold ? "enough" : "too low"} (${found.threshold} needed)`),
    el("dl", null, listed("criterion", [found.criterion].filter(Boolean)), listed("issues", found.issues), listed("strengths", found.strengths),
      listed("suggestions", found.suggestions), listed("reasons", [found.reasons].filter(Boolean)), listed("model", [found.model].filter(Boolean)))];
}
