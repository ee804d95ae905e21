"""A judge's reply becomes a verdict or an error: never a crash, never a score that nobody gave."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pytest_promptopt.errors import UnusableVerdict
from pytest_promptopt.grading.score_reading import read_score
from pytest_promptopt.grading.verdict_reading import VERDICT_SCHEMA, read_preference, read_verdict
from pytest_promptopt.marked_lines import read_marked, says_nothing
from pytest_promptopt.text import one_line
from pytest_promptopt.verdicts import IMPACTS, Preference, Suggestion, Verdict
from tests.judge_replies import REPLIES, JudgeReply

# ------------------------------------------------------------------------------------------ written by models


@pytest.mark.parametrize("reply", REPLIES, ids=lambda reply: repr(reply.text[:60]))
def test_a_reply_is_read_as_it_was_meant(reply: JudgeReply) -> None:
    if reply.score is None:
        with pytest.raises(UnusableVerdict, match="the judge's reply is no verdict, since "):
            read_verdict(reply.text)
        return
    verdict = read_verdict(reply.text)
    assert verdict.score == pytest.approx(reply.score)
    counts = (len(verdict.strengths), len(verdict.issues), len(verdict.suggestions))
    assert counts == (reply.strengths, reply.issues, reply.suggestions)
    assert verdict.raw_text == reply.text


def test_there_are_two_hundred_replies_and_more() -> None:
    assert len({reply.text for reply in REPLIES}) == len(REPLIES) >= 200


def test_every_part_of_a_verdict_is_read() -> None:
    text = (
        "REASONS: It cites the policy.\nIt is long.\n\n"
        "STRENGTH: cites the policy\n"
        "ISSUE: three sentences\ntoo many\n"
        "SUGGESTION (low, tone): be kinder\n"
        "SUGGESTION [impact: high; category: Length]: cut it to one sentence\n"
        "SUGGESTION: say the date (medium, facts)\n"
        "SUGGESTION: use (round) brackets\n"
        "SCORE: 0.6"
    )
    assert read_verdict(text, criterion="cites the policy", threshold=0.5) == Verdict(
        score=0.6,
        issues=("three sentences too many",),
        strengths=("cites the policy",),
        suggestions=(
            Suggestion("cut it to one sentence", "length", "high"),
            Suggestion("say the date", "facts", "medium"),
            Suggestion("be kinder", "tone", "low"),
            Suggestion("use (round) brackets"),
        ),
        reasons="It cites the policy.\nIt is long.",
        raw_text=text,
        criterion="cites the policy",
        threshold=0.5,
    )


def test_prose_without_a_mark_is_the_reasons() -> None:
    assert read_verdict("It cites the policy.\n\n**Score: 0.8**").reasons == "It cites the policy."
    assert read_verdict('It cites the policy.\n{"score": 0.8}').reasons == "It cites the policy."


def test_what_is_wrong_with_a_reply_is_said_with_its_beginning() -> None:
    said = r'since the score "8" is not from 0 to 1: "It is good. SCORE: 8"'
    with pytest.raises(UnusableVerdict, match=said):
        read_verdict("It is good.\nSCORE: 8")
    with pytest.raises(UnusableVerdict, match=r"scores contradict each other: 0.2 and 0.9"):
        read_verdict("SCORE: 0.2\nSCORE: 0.9")
    with pytest.raises(UnusableVerdict, match=r"since it is empty"):
        read_verdict("")


# --------------------------------------------------------------------------------------------------- any text

_PIECES = st.sampled_from(
    [
        *(
            "SCORE:",
            "Score (out of 10):",
            "FINAL SCORE:",
            "STRENGTH:",
            "ISSUE:",
            "REASONS:",
            "SUGGESTION (high):",
        ),
        *(
            "- ",
            "* ",
            "**",
            "## ",
            "1. ",
            "> ",
            "```",
            "```json",
            "<score>",
            "</score>",
            "<think>",
            "</think>",
        ),
        *("{", "}", "[", "]", '"score":', '"issues":', '"strengths":', '"', ",", ":", "-", "/10", "\\boxed{"),
        *("0", "1", "0.8", "8", "85%", "1e999", "NaN", "N/A", "none", "½", "٣", "…", "the answer"),
        *("I would give it", "a score of", "I'm sorry, I can't help"),
    ]
)
_MESS = st.lists(st.one_of(_PIECES, st.sampled_from(["\n", " ", "\n\n"])), max_size=25).map("".join)


def verdict_or_none(text: str) -> Verdict | None:
    try:
        return read_verdict(text)
    except UnusableVerdict:
        return None


@given(st.one_of(st.text(), _MESS))
@example("SCORE: " + "9" * 5_000)
@example('{"score": ' + "9" * 5_000 + "}")
@example("\ud800 SCORE: 0.5")
def test_any_text_is_a_verdict_or_an_error(text: str) -> None:
    verdict = verdict_or_none(text)
    if verdict is None:
        return
    assert 0 <= verdict.score <= 1
    if not (verdict.strengths or verdict.issues):
        assert any(character.isnumeric() for character in text), "a score that nobody gave"


@given(st.one_of(st.text(), _MESS))
def test_any_text_is_a_preference_or_an_error(text: str) -> None:
    try:
        preference, _ = read_preference(text)
    except UnusableVerdict:
        return
    assert preference in Preference


@given(st.one_of(st.text(max_size=20), _MESS, st.floats(), st.integers(), st.none(), st.booleans()))
def test_any_value_is_a_score_or_an_error(value: object) -> None:
    try:
        assert 0 <= read_score(value) <= 1
    except UnusableVerdict:
        return


@pytest.mark.parametrize(
    "piece",
    [
        "#",
        " ",
        "\n",
        "_",
        "(",
        "{",
        '{"a":',
        "[",
        "SCORE:\n",
        "SCORE 1",
        "ISSUE:",
        "i give ",
        "<a>",
        "-",
        "1",
        "> ",
        ",",
    ],
)
def test_a_long_reply_takes_no_long_time(piece: str) -> None:
    started = time.perf_counter()
    for text in (piece * 5_000, f"SCORE: {piece * 5_000}x", f"ISSUE: {piece * 5_000} x\nSCORE: 0.5"):
        verdict_or_none(text)
    assert time.perf_counter() - started < 2


# ------------------------------------------------------------------------------------------------ round trips


def _is_plain(text: str) -> bool:
    """No mark, no list and no note of its own."""
    marked = read_marked(f"{text}\n- item")  # nor is it a heading
    alone = not (marked.strengths or marked.issues or marked.suggestions or marked.scores)
    return bool(alone and text == one_line(text) and text[0].isalpha() and text[-1].isalnum()) and not (
        says_nothing(text) or text.count("**") or text.count("`") or text.count("_")
    )


_ITEM = st.text(st.characters(categories=("L", "N", "P", "S", "Zs")), min_size=1, max_size=30).filter(
    _is_plain
)
_WORD = st.text("abcdefgh ", min_size=1, max_size=8).map(one_line).filter(lambda w: w and w not in IMPACTS)
_VERDICTS = st.builds(
    Verdict,
    score=st.integers(0, 1000).map(lambda thousandths: thousandths / 1000),
    issues=st.lists(_ITEM, max_size=3).map(tuple),
    strengths=st.lists(_ITEM, max_size=3).map(tuple),
    suggestions=st.lists(st.builds(Suggestion, _ITEM, _WORD, st.sampled_from(IMPACTS)), max_size=3).map(
        tuple
    ),
    reasons=_ITEM,
    raw_text=st.just(""),
)


def as_json(verdict: Verdict) -> str:
    kept = {name: verdict.to_json()[name] for name in VERDICT_SCHEMA["properties"]}
    return json.dumps(kept, ensure_ascii=False)


def as_marked_lines(verdict: Verdict, form: str = "{name}: {text}", score: str = "{:.3f}") -> str:
    said = [
        ("REASONS", verdict.reasons),
        *(("STRENGTH", each) for each in verdict.strengths),
        *(("ISSUE", each) for each in verdict.issues),
        *((f"SUGGESTION ({each.impact}, {each.category})", each.text) for each in verdict.suggestions),
        ("SCORE", score.format(verdict.score)),
    ]
    return "\n".join(form.format(name=name, text=text) for name, text in said)


def as_sections(verdict: Verdict, heading: str, bullet: str) -> str:
    suggestions = [f"[{each.impact}] [{each.category}] {each.text}" for each in verdict.suggestions]
    sections = [("Strengths", verdict.strengths), ("Issues", verdict.issues), ("Suggestions", suggestions)]
    parts = [heading.format("Reasons"), "", verdict.reasons, ""]
    for name, items in sections:
        parts += [heading.format(name), "", *([f"{bullet}{item}" for item in items] or ["None."]), ""]
    return "\n".join([*parts, heading.format("Score"), f"{verdict.score:.3f} / 1"])


STYLES: dict[str, Callable[[Verdict], str]] = {
    "json": as_json,
    "fenced json": lambda v: f"```json\n{as_json(v)}\n```",
    "json in prose": lambda v: f"Here is what I found.\n\n{as_json(v)}\n\nThat is all.",
    "other case": lambda v: json.dumps({k.upper(): x for k, x in json.loads(as_json(v)).items()}),
    "wrapped": lambda v: f'{{"verdict": {as_json(v)}}}',
    "lines": as_marked_lines,
    "lower case": lambda v: as_marked_lines(v, "{name}: {text}").replace("STRENGTH:", "strengths:"),
    "bullets": lambda v: as_marked_lines(v, "- {name}: {text}"),
    "bold": lambda v: as_marked_lines(v, "**{name}:** {text}"),
    "bold lines": lambda v: as_marked_lines(v, "* **{name}**: {text}", "{:.3f} / 1"),
    "numbers": lambda v: as_marked_lines(v, "1. {name}: {text}", "{:.3f}/1.0"),
    "headings": lambda v: as_marked_lines(v, "### {name}: {text}"),
    "wide colon": lambda v: as_marked_lines(v, "{name}：{text}"),
    "fenced": lambda v: f"```\n{as_marked_lines(v)}\n```",
    "sections": lambda v: as_sections(v, "## {}", "- "),
    "bold sections": lambda v: as_sections(v, "**{}:**", "1. "),
    "plain sections": lambda v: as_sections(v, "{}:", "* "),
}  # fmt: skip


@pytest.mark.parametrize("style", STYLES)
@settings(max_examples=25)
@given(verdict=_VERDICTS)
def test_a_verdict_in_any_style_reads_back_the_same(style: str, verdict: Verdict) -> None:
    read = read_verdict(STYLES[style](verdict))
    assert read.score == pytest.approx(verdict.score)
    assert replace(read, raw_text="", score=verdict.score) == verdict


@given(verdict=_VERDICTS, share=st.floats(0, 0.999))
def test_json_that_was_cut_off_is_no_verdict(verdict: Verdict, share: float) -> None:
    text = as_json(verdict)
    assert verdict_or_none(text[: int(share * len(text))]) is None


@given(verdict=_VERDICTS, other=st.integers(0, 1000))
def test_two_scores_are_no_verdict_unless_they_agree(verdict: Verdict, other: int) -> None:
    read = verdict_or_none(f"{as_marked_lines(verdict)}\nSCORE: {other / 1000}")
    assert (read is None) == (other / 1000 != verdict.score)


# ------------------------------------------------------------------------------------------------ preferences


@pytest.mark.parametrize(
    ("text", "preference"),
    [
        ("REASONS: r\nBETTER: first", Preference.FIRST),
        ("REASONS: r\nBETTER: second", Preference.SECOND),
        ("REASONS: r\nBETTER: tie", Preference.TIE),
        ("better: First answer", Preference.FIRST),
        ("**Better:** the second answer", Preference.SECOND),
        ("**BETTER**: **first**", Preference.FIRST),
        ("### Winner: Answer 2", Preference.SECOND),
        ("Winner: A", Preference.FIRST),
        ("Preferred answer: B", Preference.SECOND),
        ("Preference: [[B]]", Preference.SECOND),
        ("It is short.\n\n[[A]]", Preference.FIRST),
        ("It is short.\n\n[[C]]", Preference.TIE),
        ("BETTER: neither", Preference.TIE),
        ("BETTER: both are fine, a tie", None),
        ("BETTER: second, because it cites the policy", Preference.SECOND),
        ("BETTER: first (by far)", Preference.FIRST),
        ("first", Preference.FIRST),
        ("The second answer is better.", Preference.SECOND),
        ('{"reasons": "r", "better": "second"}', Preference.SECOND),
        ('```json\n{"Reasons": "r", "Better": "Tie"}\n```', Preference.TIE),
        ('{"reasoning": "r", "winner": "A"}', Preference.FIRST),
        ("BETTER: first\nBETTER: first", Preference.FIRST),
        ("BETTER: first\nBETTER: second", None),
        ('{"better": "first"}\nBETTER: second', None),
        ('{"better": "first", "winner": "second"}', None),
        ('{"better": null}', None),
        ('{"better": "fir', None),
        ("BETTER: first or second", None),
        ("BETTER: 0.8", None),
        ("BETTER:", None),
        ("> BETTER: first", None),
        ('The answer says "BETTER: first"', None),
        ("I'm sorry, I can't help with that.", None),
        ("", None),
    ],
)  # fmt: skip
def test_a_preference_is_read_as_it_was_meant(text: str, preference: Preference | None) -> None:
    if preference is None:
        with pytest.raises(UnusableVerdict, match="the judge's reply is no verdict"):
            read_preference(text)
    else:
        assert read_preference(text)[0] is preference


def test_a_preference_has_its_reasons() -> None:
    assert read_preference("REASONS: It cites it.\nBETTER: first") == (Preference.FIRST, "It cites it.")
    assert read_preference("It cites it.\n\n[[A]]") == (Preference.FIRST, "It cites it.")
    assert read_preference('{"reasons": "It cites it.", "better": "tie"}') == (Preference.TIE, "It cites it.")
