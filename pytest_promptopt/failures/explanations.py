"""What the cases of a category have in common: figures, likely cause, suggested fix, all from the cases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median

from pytest_promptopt.failures import categories
from pytest_promptopt.failures.failure_context import FailureContext, first_line
from pytest_promptopt.failures.failure_groups import MAX_NAMED, MAX_SAMPLED, FailureGroup, Member
from pytest_promptopt.failures.label_vocabulary import fold_label, split_words
from pytest_promptopt.failures.symptoms import JSON_FAULTS, LOOKALIKES, Symptom, SymptomKind
from pytest_promptopt.records import StopReason
from pytest_promptopt.text import join_words, plural, quote, value_text

_LENGTH_TERMS = (
    "words", "sentence", "sentences", "short", "brief", "concise", "characters", "length", "detailed",
)  # fmt: skip
_LIMIT_TERMS = ("only", "never", "do not", "don't")
_REFUSAL_TERMS = ("refuse", "decline", "do not answer", "never", "unsafe", "harmful", "policy")


@dataclass(frozen=True)
class Explanation:
    observed: str
    cause: str
    fix: str


def explain_group(group: FailureGroup) -> Explanation:
    """`group` in words. A category of a custom hook is explained by what its differences share;
    cases that a hook put into a built-in category count there, and the others speak for it.
    """
    own = tuple(member for member in group.members if member.finding.category == group.name)
    if not own:
        return _explain_other(group)
    return _EXPLAINERS.get(group.name, _explain_other)(replace(group, members=own))


def _explain_format(group: FailureGroup) -> Explanation:
    symptom, count = group.symptoms[0]
    member = group.with_symptom(symptom)[0]
    answer = value_text(member.subject.actual) if member.subject.operator else member.subject.answer
    observed = f"{group.share}: {group.tally(6)}, e.g. {quote(answer)}"
    if group.confusion:
        wrong = sum(row[2] for row in group.confusion)
        observed += f"; in {wrong} of them the value inside is another label too: {_pairs(group)}"
    if symptom.looks_the_same:
        return _explain_lookalikes(group, observed)
    terms = symptom.kind.ruled_out_by
    cause = group.by_prose(
        terms,
        stated=f"touches on this but is not definite enough: {plural(count, 'answer')} with {symptom}",
        absent=f"says nothing against {symptom} ({plural(count, 'answer')})"
        + (f"; looked for: {join_words([quote(term) for term in terms], 6)}" if terms else ""),
        unknown=f"the form of the answer is left open: {plural(count, 'answer')} with {symptom}",
    )
    return Explanation(observed, cause, f"state the exact form: {_shape(member)}; never like {quote(answer)}")


def _explain_lookalikes(group: FailureGroup, observed: str) -> Explanation:
    forms = sum(count for symptom, count in group.symptoms if symptom.kind is SymptomKind.UNICODE_FORM)
    kinds = {symptom.kind for symptom, _ in group.symptoms}
    fixes = []
    if kinds & (LOOKALIKES - {SymptomKind.UNICODE_FORM}):
        fixes.append(
            "ask for plain letters, spaces and marks, or compare without these differences in the test"
        )
    if forms:
        fixes.append(
            f"no prompt decides the Unicode form ({plural(forms, 'answer')}): "
            "compare unicodedata.normalize('NFC', ...) of both in the test"
        )
    return Explanation(
        observed, "answer and expected text look the same and differ in how they are coded", "; ".join(fixes)
    )


def _shape(member: Member) -> str:
    """The form that the tests accept, from what they expect."""
    subject = member.subject
    if isinstance(subject.expected, dict):
        keys = join_words([quote(key) for key in subject.expected], 12)
        return f"one JSON object with the keys {keys}, and nothing before or after it"
    if isinstance(subject.expected, list):
        return f"one JSON array, {quote(subject.expected)} for this input, with nothing before or after it"
    if subject.operator == "==" and subject.vocabulary and subject.vocabulary.complete:
        return f"exactly one of {subject.vocabulary.listed()}, spelled like that, and nothing else"
    if subject.operator == "==":
        return f"the bare value, as in {quote(subject.expected)}, and nothing else"
    check = subject.failure.constraint or first_line(subject.failure.message)
    if member.finding.symptoms == (Symptom(SymptomKind.NO_FIELDS),):
        return "every output field, laid out as DSPy's own part of the request says"
    if not subject.asserted and any(symptom.kind in JSON_FAULTS for symptom in member.finding.symptoms):
        return "one bare JSON value from the first character to the last"
    return f"nothing but what the test reads ({quote(check)})"


def _explain_confusion(group: FailureGroup) -> Explanation:
    expected, actual, count = group.confusion[0]
    back = next((row[2] for row in group.confusion if row[:2] == (actual, expected)), 0)
    involved = {label for row in group.confusion for label in row[:2]}
    spread = f" ({len(group.confusion)} confusions among {len(involved)} labels)" * (len(group.confusion) > 1)
    observed = f"{group.share}: {_pairs(group)}{spread}"
    members = [member for member in group.members if member.finding.pair == (expected, actual)]
    shared = group.telling(members)
    inputs = f"words of these {count} inputs: {shared}" if shared else f"e.g. {quote(members[0].input_text)}"
    both_ways = f", in both directions ({count} and {back})" if back else ""
    prose = group.background.prose
    lines = prose.line_with(expected), prose.line_with(actual)
    unnamed = [quote(label) for label, line in zip((expected, actual), lines, strict=True) if not line]
    if prose.whole and unnamed:
        cause = f"the prompt does not name {join_words(unnamed)}"
    elif prose and not unnamed:
        if lines[0] == lines[1]:
            cause = f"{lines[0]} names both and does not say when to answer which"
        else:
            cause = f"{lines[0]} and {lines[1]} do not exclude each other"
    else:
        cause = f"{quote(expected)} and {quote(actual)} are not told apart"
    fix = f"say what makes an input {quote(expected)} and not {quote(actual)}; {inputs}"
    if len(group.confusion) > 1:
        fix += f"; then {quote(group.confusion[1][0])} and not {quote(group.confusion[1][1])}"
    return Explanation(observed, f"{cause}{both_ways}", fix)


def _pairs(group: FailureGroup) -> str:
    rows = [f"{quote(actual)} for {quote(expected)} ({count})" for expected, actual, count in group.confusion]
    return "answered " + join_words(rows, MAX_NAMED)


def _explain_length(group: FailureGroup) -> Explanation:
    sizes = [member.finding.size for member in group.members if member.finding.size]
    unit = Counter(size[2] for size in sizes).most_common(1)[0][0]
    wanted = [size[0] for size in sizes if size[2] == unit]
    given = median(size[1] for size in sizes if size[2] == unit)
    low, middle, high = min(wanted), median(wanted), max(wanted)
    span = f"{low:g}" if low == high else f"{low:g} to {high:g} (median {middle:g})"
    source = "expected" if group.members[0].subject.operator == "==" else "the limit"
    observed = f"{group.share}: median {given:g} {unit} where {source} is {span}"
    ratio = f"{given / middle:.1f} times" if middle > 0 else f"{given - middle:g} {unit} past"
    cause = group.by_prose(
        _LENGTH_TERMS,
        stated=f"speaks of length, yet the answers have {ratio} the length wanted",
        absent=f"sets no length; the answers have {ratio} the length wanted",
        unknown=f"the answers have {ratio} the length wanted",
    )
    if group.name == categories.VERBOSE:
        return Explanation(observed, cause, f"ask for at most {high:g} {unit}, and say what to leave out")
    return Explanation(observed, cause, f"ask for at least {low:g} {unit}, and say what has to be covered")


def _explain_missing(group: FailureGroup) -> Explanation:
    symptom, count = group.symptoms[0]
    names = symptom.names
    texts = [fold_label(member.input_text[:5_000]) for member in group.with_symptom(symptom)]
    held = sum(any(fold_label(name) in text for name in names) for text in texts) if names else count
    cause = group.by_prose(
        names,
        stated=f"names {symptom}, yet it is left out of {plural(count, 'answer')}",
        absent=f"never asks for {symptom}; inputs that hold it: {held} of {count}",
        unknown=f"{symptom} is left out of {plural(count, 'answer')}; inputs that hold it: {held}",
    )
    expected = group.expected_text()
    shown = f", as in {quote(expected)}" if expected else ""
    observed = f"{group.share}: missing most often {group.tally()}"
    return Explanation(observed, cause, f"require in every such answer: {group.named()}{shown}")


def _explain_forbidden(group: FailureGroup) -> Explanation:
    symptom, count = group.symptoms[0]
    cause = group.by_prose(
        symptom.names,
        stated=f"brings up {symptom} itself; it is in {plural(count, 'answer')}",
        absent=f"does not rule out {symptom}, which is in {plural(count, 'answer')}",
        unknown=f"{symptom} is in {plural(count, 'answer')}",
    )
    observed = f"{group.share}: the tests forbid {group.tally()}"
    return Explanation(observed, cause, f"rule out by name: {group.named()}")


def _explain_invented(group: FailureGroup) -> Explanation:
    symptom, count = group.symptoms[0]
    vocabulary = group.with_symptom(symptom)[0].subject.vocabulary
    if group.confusion and vocabulary:
        prose = group.background.prose
        named = sum(bool(prose.line_with(label)) for label in vocabulary.labels.values())
        cause = group.by_prose(
            symptom.names,
            stated=f"brings up {symptom}, which no test expects ({plural(count, 'answer')})",
            absent=f"names {named} of the {len(vocabulary)} known labels; {symptom} ({count}) is another",
            unknown=f"{len(vocabulary)} labels are known; {symptom} ({count}) is another",
        )
        observed = f"{group.share}: labels outside the known {len(vocabulary)}: {group.tally()}"
        return Explanation(
            observed, cause, f"list the only answers allowed: {vocabulary.listed()}; never {symptom}"
        )
    cause = group.by_prose(
        _LIMIT_TERMS,
        stated=f"sets a limit, but {symptom} is added in {plural(count, 'answer')}",
        absent=f"sets no limit to what may be said: {symptom} is added in {plural(count, 'answer')}",
        unknown=f"{symptom} is added in {plural(count, 'answer')}",
    )
    observed = f"{group.share}: neither expected nor in the input: {group.tally()}"
    return Explanation(observed, cause, f"allow only what the input says; nothing like {group.named()}")


def _explain_wrong(group: FailureGroup) -> Explanation:
    symptom, count = group.symptoms[0]
    fields = _changed_fields(group)
    changed = symptom.values[0] if symptom.kind is SymptomKind.FIELD else ""
    shown = fields.get(changed) or [_gist(group.with_symptom(symptom)[0].subject)]
    sizes = [member.finding.size for member in group.members if member.finding.size]
    observed = f"{group.share}: {'at ' if fields else ''}{group.tally()}"
    if sizes:
        observed += f"; measured {median(size[1] for size in sizes):g} (median of {len(sizes)})"
    shared = group.telling()
    inputs = f"; their inputs share {shared}" if shared else ""
    if changed in fields:
        seen = f"in {plural(count, 'answer')}{inputs}"
        cause = group.by_prose(
            symptom.names,
            stated=f"does not settle how {symptom} is filled: another value {seen}",
            absent=f"does not say how {symptom} is filled: another value {seen}",
            unknown=f"another value at {symptom} {seen}",
        )
    else:
        cause = f"{_overlap(group)}, {symptom} ({count}){inputs}"
    fix = f"give the rule that leads to what is expected: {'; '.join(shown[:3])}"
    return Explanation(f"{observed}; e.g. {shown[0]}", cause, fix)


def _overlap(group: FailureGroup) -> str:
    """How much of the expected texts the answers hold."""
    texts = [member.subject.texts for member in group.members[:MAX_SAMPLED] if member.subject.texts]
    shares = [
        len(set(split_words(one)) & set(split_words(two))) / max(len(set(split_words(one))), 1)
        for one, two in texts
    ]
    if not shares:
        return "another value"
    return f"another text: the answers hold {median(shares):.0%} of the expected words (median)"


def _changed_fields(group: FailureGroup) -> dict[str, list[str]]:
    """Field -> the first few lines of what was expected and given there."""
    fields: dict[str, list[str]] = {}
    for member in group.members[:MAX_SAMPLED]:
        for change in member.subject.changes or ():
            lines = fields.setdefault(change.field, [])
            if len(lines) < MAX_NAMED and str(change) not in lines:
                lines.append(str(change))
    return fields


def _explain_refusal(group: FailureGroup) -> Explanation:
    shared = group.telling()
    inputs = f"their inputs share {shared}" if shared else f"e.g. on {quote(group.members[0].input_text)}"
    cause = group.by_prose(
        _REFUSAL_TERMS,
        stated=f"can be read as a reason to refuse; {inputs}",
        absent=f"gives no reason to refuse and does not say that these inputs are in order; {inputs}",
        unknown=f"refused: {plural(group.count, 'answer')}; {inputs}",
    )
    expected = group.expected_text()
    wanted = f", for instance with {quote(expected)}" if expected else ""
    return Explanation(
        f"{group.share}: {group.tally()}",
        cause,
        f"say what the task is for and that such inputs are answered{wanted}",
    )


def _explain_truncated(group: FailureGroup) -> Explanation:
    cut = [
        call for m in group.members for call in m.subject.calls if call.stop_reason == StopReason.MAX_TOKENS
    ]
    tokens = [call.usage.output_tokens for call in cut if call.usage]
    length = median(len(call.text.split()) for call in cut) if cut else 0
    size = f"{median(tokens):g} output tokens" if tokens else f"{length:g} words"
    end = quote(group.members[0].subject.answer[-60:])
    wanted = [len(member.subject.texts[0].split()) for member in group.members if member.subject.texts]
    room = f"; the expected answers have {median(wanted):g} words (median)" if wanted else ""
    cause = group.by_prose(
        (*_LENGTH_TERMS, "step by step", "explain", "reasoning"),
        stated=f"bears on length{room}",
        absent=f"sets no length{room}",
        unknown=f"the answers run past their limit of about {size}{room}",
    )
    fix = f"have the result first and the whole answer well under {length:g} words, or raise max_tokens"
    if cut and not any(call.text for call in cut):
        thinking = f"{group.share}: cut at max_tokens after {size} (median), before any answer"
        return Explanation(
            thinking, "the model was still thinking when its tokens ran out", "raise max_tokens"
        )
    return Explanation(
        f"{group.share}: cut at max_tokens after {size} (median); e.g. one ends {end}", cause, fix
    )


def _explain_unmet(group: FailureGroup) -> Explanation:
    """By what the judge has said of these answers, most frequent first; suggestions by impact."""
    verdicts = [verdict for member in group.members for verdict in member.subject.verdicts]
    issues = Counter(issue for verdict in verdicts for issue in verdict.issues)
    said = [f"{quote(issue)} ({count})" for issue, count in issues.most_common()]
    suggested = Counter(each for verdict in verdicts for each in verdict.suggestions)
    first = sorted(suggested, key=lambda each: (each.rank[0], -suggested[each], each.text))
    scores = [verdict.score for verdict in verdicts]
    return Explanation(
        f"{group.share}: judged too low for {group.tally()}; median score {median(scores):.2f}",
        f"the judge found {join_words(said, MAX_NAMED)}" if said else "the judge named no issue",
        "; ".join(dict.fromkeys(each.text for each in first[:3])) or f"meet {group.named()}",
    )


def _explain_tool_call(group: FailureGroup) -> Explanation:
    kind, count = _tool_kinds(group)[0]
    symptom, own = next((each, n) for each, n in group.symptoms if each.kind is kind)
    spread = own < count / 2 and kind in _IN_GENERAL
    members = [m for m in group.members if any(s.kind is kind for s in m.finding.symptoms)]
    members = members if spread else group.with_symptom(symptom)
    shared = "" if spread else group.telling(members)
    inputs = f"; their inputs share {shared}" if shared else ""
    words, rule = _IN_GENERAL[kind] if spread else (str(symptom), _TOOL_RULES[kind].format(*symptom.values))
    terms = ("argument", "arguments") if spread else symptom.names or kind.ruled_out_by
    seen = f"{words} in {plural(len(members), 'answer')}"
    looked_for = f"says nothing about {join_words([quote(term) for term in terms], 3)}"
    cause = group.by_prose(
        terms,
        stated=f"touches on this but is not definite enough: {seen}{inputs}",
        absent=f"{looked_for if terms else 'leaves this open'}: {seen}{inputs}",
        unknown=f"{seen}{inputs}",
    )
    kinds = [f"{_IN_GENERAL[each][0]} ({n})" for each, n in _tool_kinds(group) if each in _IN_GENERAL]
    most = f"{join_words(kinds, MAX_NAMED)}: {group.tally()}" if spread else group.tally()
    example = next(iter(members[0].finding.told), "")
    return Explanation(f"{group.share}: {most}" + f"; e.g. {example}" * bool(example), cause, rule)


def _tool_kinds(group: FailureGroup) -> list[tuple[SymptomKind, int]]:
    """How many cases have a symptom of each kind, most frequent first."""
    found = Counter(
        kind for member in group.members for kind in {each.kind for each in member.finding.symptoms}
    )
    return sorted(found.items(), key=lambda each: (-each[1], each[0].name))


#: What cases of many tools have in common: in words, and what a prompt has to say.
_IN_GENERAL = {
    SymptomKind.WRONG_TOOL: ("another tool", "say when each of the tools is called"),
    SymptomKind.MISSING_CALL: ("a call missing", "say that every call that is needed is made"),
    SymptomKind.EXTRA_CALL: ("a call too many", "say when no further call is made"),
    SymptomKind.OUT_OF_ORDER: ("calls in another order", "say in which order the tools are called"),
    SymptomKind.MISSING_ARGUMENT: (
        "an argument missing",
        "say that every argument is given that is required or that the input states",
    ),
    SymptomKind.EXTRA_ARGUMENT: ("an argument too many", "say when an optional argument is left out"),
    SymptomKind.WRONG_ARGUMENT: (
        "another value for an argument",
        "give the rules by which arguments are filled: type, form and source",
    ),
}

#: What a prompt has to say, by what is wrong; the values of the symptom in their order.
_TOOL_RULES = {
    SymptomKind.WRONG_TOOL: "say when {1} is called, and when {0}",
    SymptomKind.MISSING_CALL: "say that, and when, {0} is called",
    SymptomKind.EXTRA_CALL: "say when {0} is not called",
    SymptomKind.TOO_MANY_CALLS: "say how many calls are made for one input",
    SymptomKind.TOO_FEW_CALLS: "say that every call that is needed is made, in one answer",
    SymptomKind.OUT_OF_ORDER: "say that {1} is called before {0}",
    SymptomKind.NO_CALL: "say that such inputs are answered by calling a tool, and which",
    SymptomKind.CALLED_INSTEAD: "say which inputs are answered without calling {0}",
    SymptomKind.MISSING_ARGUMENT: "say that the argument {0} of {1} is always given, and from what",
    SymptomKind.EXTRA_ARGUMENT: "say when the argument {0} of {1} is left out",
    SymptomKind.WRONG_ARGUMENT: "give the rule by which the argument {0} of {1} is filled: form and source",
    SymptomKind.UNREADABLE_ARGUMENTS: "ask for calls of {0} with arguments as one JSON object",
}


def _explain_other(group: FailureGroup) -> Explanation:
    lines = Counter(_gist(member.subject) for member in group.members)
    most = [f"{line} ({count})" for line, count in lines.most_common()]
    places = Counter(member.subject.failure.where for member in group.members if member.subject.failure.where)
    where = (
        f" at {join_words([f'{place} ({count})' for place, count in places.most_common()], 3)}"
        if places
        else ""
    )
    shared = group.telling()
    inputs = f"; their inputs share {shared}" if shared else ""
    answer = group.members[0].subject.answer
    seen = f"; one answer was {quote(answer)}" if answer else ""
    messages = "the same message" if len(lines) == 1 else f"{len(lines)} different messages"
    return Explanation(
        f"{group.share}: {join_words(most, 3)}",
        f"{messages}{where}{inputs}",
        _remedy(group.members[0].subject) + seen,
    )


def _remedy(subject: FailureContext) -> str:
    """What to aim at, by the check that did not hold or the error that came."""
    if subject.requirement:
        return f"have answers for which this holds: {subject.requirement}"
    return f"have answers that do not lead to: {_gist(subject)}"


def _gist(subject: FailureContext) -> str:
    return (subject.difference() or (first_line(subject.message),))[0]


_EXPLAINERS: dict[str, Callable[[FailureGroup], Explanation]] = {
    categories.FORMAT: _explain_format,
    categories.CONFUSION: _explain_confusion,
    categories.VERBOSE: _explain_length,
    categories.TERSE: _explain_length,
    categories.MISSING: _explain_missing,
    categories.INVENTED: _explain_invented,
    categories.FORBIDDEN: _explain_forbidden,
    categories.WRONG: _explain_wrong,
    categories.REFUSAL: _explain_refusal,
    categories.TRUNCATED: _explain_truncated,
    categories.UNMET: _explain_unmet,
    categories.TOOL_CALL: _explain_tool_call,
}
