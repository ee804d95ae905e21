// A prompt against what was measured before: how much it changed, and by which cases.

// For the table of all prompts.
function changes(prompt) {
  const several = prompt.compared.length > 1;
  return prompt.compared.map((found) => el("div", null, pill(found.change || found.words, found.kind), several ? el("span", { class: "soft small" }, ` ${found.model}`) : null));
}

function comparedCard(prompt) {
  if (!prompt.compared.length || (state.prompt && state.prompt !== prompt.name)) return null;
  return el("section", { class: "card" },
    el("header", null, el("h2", null, el("span", { class: "mono" }, prompt.name), " compared with ", el("span", { class: "mono" }, DATA.compared_with))),
    prompt.compared.map((found) => comparison(found, prompt)));
}

function comparison(found, prompt) {
  return el("div", { class: "compared" },
    el("div", { class: "facts" }, el("b", null, found.model), pill(found.words, found.kind), found.same ? pill("the same text", "neutral") : null),
    found.cases ? el("div", { class: "figures" },
      figure("change", found.change, true),
      figure("before", percent(found.before)), figure("now", percent(found.now)),
      figure("cases compared", count(found.cases)),
      figure("fixed", el("span", { class: found.fixed.count ? "up" : null }, count(found.fixed.count))),
      figure("broken", el("span", { class: found.broken.count ? "down" : null }, count(found.broken.count))),
      figure("chance", el("span", { class: "small" }, found.p))) : null,
    found.sentences.map((sentence) => el("p", { class: "small soft" }, sentence)),
    bothAnswers("Broken", found.broken, prompt, "down"), bothAnswers("Fixed", found.fixed, prompt, "up"),
    found.named.map((some) => namedCases(some, prompt)));
}

// The cases that changed, each with what was answered before and now. Of many the first are seen at once.
const AT_ONCE = 5;

function bothAnswers(name, found, prompt, kind) {
  if (!found.count) return null;
  const more = found.count - found.cases.length;
  const shown = (cases) => cases.map((each) => changedCase(each, prompt));
  const rest = found.cases.slice(AT_ONCE);
  return unfolding(kind === "down", [`${name}: `, el("span", { class: kind }, plural(found.count, "case"))], () => [
    shown(found.cases.slice(0, AT_ONCE)),
    rest.length ? unfolding(false, `${count(rest.length)} more`, () => [shown(rest), more > 0 ? el("p", { class: "small soft" }, `and ${count(more)} more`) : null]) : null,
  ]);
}

function changedCase(each, prompt) {
  const answers = each.same ? answerSide("before and now", each.now)
    : el("div", { class: "pair" }, answerSide("before", each.before), answerSide("now", each.now));
  return el("div", { class: "changed" },
    el("div", { class: "head" }, caseLink(each.id, { prompt: prompt.name }), each.kind ? el("span", { class: "soft small" }, each.kind) : null), answers);
}

function answerSide(when, text) {
  return el("div", null, el("div", { class: "soft small" }, when), el("pre", null, text || el("span", { class: "soft" }, "empty")));
}

function namedCases(some, prompt) {
  const more = some.count - some.ids.length;
  return unfolding(false, [`${some.words}: `, plural(some.count, "case")],
    () => el("div", { class: "ids", tabindex: 0 }, some.ids.map((id) => caseLink(id, { prompt: prompt.name })), more > 0 ? el("span", { class: "soft" }, `and ${count(more)} more`) : null));
}
