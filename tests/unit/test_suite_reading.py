"""Suites: what a file says becomes cases, and each mistake is told at its line."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pytest_promptopt.errors import SettingsError
from pytest_promptopt.suites.case_reading import slug_of
from pytest_promptopt.suites.checks import Check
from pytest_promptopt.suites.located_json import read_json
from pytest_promptopt.suites.located_yaml import read_yaml
from pytest_promptopt.suites.suite import Suite
from pytest_promptopt.suites.suite_reading import read_cases, read_suite
from pytest_promptopt.thresholds import GateName

HEAD = "prompt: p.md\ncases:\n"


def suite(folder: Path, text: str, name: str = "evals/a.promptopt.yaml") -> Suite:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(dedent(text), encoding="utf-8")
    return read_suite(path, folder)


def test_all_that_a_suite_can_say(tmp_path: Path) -> None:
    (tmp_path / "evals").mkdir()
    (tmp_path / "evals/schema.json").write_text('{"type": "object"}')
    (tmp_path / "evals/checks.py").write_text("def polite(answer): ...")
    found = suite(
        tmp_path,
        """\
        description: what it is for
        prompts: [a.md, b.md]
        model: demo
        samples: 3
        min_case_rate: 2/3
        min_pass_rate: 90%
        parameters: {temperature: 0}
        inputs: {shop: Acme}
        tags: nightly
        checks:
          - max-words: 20
        cases:
          - id: one
            inputs:
              ticket: Where is it?
            expected: delivery
            checks:
              - not-contains: sorry
              - {type: similar, value: on its way, threshold: 0.5, model: claude-embed}
              - is-json: schema.json
              - python: checks.py::polite
              - json-path: $.total
                value: 12
            split: heldout
            weight: 2
            tags: [smoke]
          - ticket: And mine?
            shop: Other
            checks: [is-json]
        """.replace("2/3", "0.66"),
    )
    assert (found.prompts, found.model, found.samples, found.thresholds[GateName.PASS_RATE]) == (
        ("a.md", "b.md"),
        "demo",
        3,
        0.9,
    )
    assert found.parameters == {"temperature": 0, "min_case_rate": 0.66}
    one, two = found.cases
    assert (one.id, one.expected, one.split, one.weight) == ("one", "delivery", "heldout", 2.0)
    assert (one.tags, one.where) == (("nightly", "smoke"), "evals/a.promptopt.yaml:13")
    assert one.inputs == {"shop": "Acme", "ticket": "Where is it?"}
    assert one.checks == (
        Check("equals", "delivery"),
        Check("contains", "sorry", negated=True),
        Check("similar", "on its way", threshold=0.5, options={"model": "anthropic/claude-embed"}),
        Check("is-json", {"type": "object"}),
        Check(
            "python",
            "checks.py::polite",
            options={"file": str(tmp_path / "evals/checks.py"), "function": "polite"},
        ),
        Check("json-path", 12, options={"path": "$.total"}),
        Check("max-words", 20),
    )
    assert [check.where.rpartition(":")[2] for check in one.checks] == [
        "16",
        "18",
        "19",
        "20",
        "21",
        "22",
        "11",
    ]
    assert (two.id, two.inputs) == ("and-mine", {"shop": "Other", "ticket": "And mine?"})
    assert two.checks == (Check("is-json", None), Check("max-words", 20))


def test_words_of_yaml_stay_words(tmp_path: Path) -> None:
    """An answer `no` must not become False, nor a postal code a number."""
    text = f"{HEAD}  - {{ticket: 01234, expected: no}}\n  - {{ticket: 2024-05-01, expected: 12.5}}\n"
    one, two = suite(tmp_path, text).cases
    assert (one["ticket"], one.expected) == ("01234", "no")
    assert (two["ticket"], two.expected) == ("2024-05-01", 12.5)
    assert read_yaml("[12E5, 1.5e+3, -0, +1, 1_000, 0x1f, .5, on, ~]", "f").value == [
        "12E5", 1500.0, 0, "+1", "1_000", "0x1f", ".5", "on", None,
    ]  # fmt: skip


def test_a_check_without_a_value_compares_with_expected(tmp_path: Path) -> None:
    text = "prompt: p.md\nchecks: [similar]\ncases:\n  - {q: a, expected: long answer}\n"
    (case,) = suite(tmp_path, text).cases
    assert case.checks == (Check("similar", "long answer"),)
    assert case.answer == "long answer"


def test_a_reference_of_the_judge_need_not_be_equalled(tmp_path: Path) -> None:
    text = "prompt: p.md\nchecks:\n  - rubric: says the same\n    reference: expected\n    context: q\n"
    (case,) = suite(tmp_path, f"{text}cases:\n  - {{q: a, expected: long answer}}\n").cases
    assert case.checks == (
        Check("rubric", "says the same", options={"context": ["q"], "reference": ["expected"]}),
    )


def test_a_rubric_file_is_named_from_rootdir_and_must_hold_one(tmp_path: Path) -> None:
    """So the test that uses the case may stand anywhere."""
    (tmp_path / "evals").mkdir()
    rubric = tmp_path / "evals/tone.md"
    rubric.write_text("Is it polite?")
    text = "prompt: p.md\nchecks:\n  - rubric: tone.md\ncases: [{q: a}]\n"
    (case,) = suite(tmp_path, text).cases
    assert case.checks == (Check("rubric", "evals/tone.md"),)
    rubric.write_text(" ")
    with pytest.raises(
        SettingsError, match=r"^evals/a.promptopt.yaml:3: `rubric`: the rubric file .* is empty"
    ):
        suite(tmp_path, text)


def test_a_mistake_in_a_schema_of_its_own_file_is_told_there(tmp_path: Path) -> None:
    (tmp_path / "evals").mkdir()
    (tmp_path / "evals/bad.json").write_text('{"type":\n')
    with pytest.raises(SettingsError, match=r"^evals/bad\.json:2: it is not JSON"):
        suite(tmp_path, f"{HEAD}  - {{q: a, checks: [{{is-json: bad.json}}]}}\n")


@pytest.mark.parametrize(
    "check", ["{python: c.py::f, reference: expected}", "python: answer in case.expected", "contains"]
)
def test_expected_is_equalled_unless_a_check_compares_with_it_otherwise(tmp_path: Path, check: str) -> None:
    (tmp_path / "c.py").write_text("def f(answer, case): ...")
    text = "prompt: p.md\nchecks:\n  - max-words: 3\n  - CHECK\ncases: [{q: a, expected: x}]\n"
    (case,) = suite(tmp_path, text.replace("CHECK", check)).cases
    assert [each.type for each in case.checks] == ["max-words", check.strip("{").partition(":")[0]]
    (case,) = suite(tmp_path, text.replace("CHECK", "contains: y")).cases
    assert [each.type for each in case.checks] == ["equals", "max-words", "contains"]


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def polite(answer): ...", "c.py has no function 'polit'; did you mean polite?"),
        ("x = 1", "c.py has no function 'polit'; it has none"),
        ("\ndef polit(:", "c.py:2: it is no Python: invalid syntax"),
        ("async def polit(answer): ...", "polit is async; a check is a plain function"),
        ("def polit(): ...", "polit takes nothing; a check is called with the answer, or the answer and"),
        ("def polit(answer, case, much): ...", "polit takes answer, case, much; a check is called with the"),
        ("def polit(answer, *, much): ...", "polit takes answer, much; a check is called with the answer"),
    ],
)
def test_a_function_that_cannot_be_called_is_seen_before_any_call(
    tmp_path: Path, code: str, said: str
) -> None:
    (tmp_path / "c.py").write_text(code)
    with pytest.raises(SettingsError) as raised:
        suite(tmp_path, f"{HEAD}  - {{q: a, checks: [{{python: c.py::polit}}]}}\n")
    assert str(raised.value).startswith(f"evals/a.promptopt.yaml:3: `python`: {said}")


@pytest.mark.parametrize(
    "code",
    [
        "polit = lambda answer: True",
        "from other import polit",
        "from other import *",
        "def polit(answer, case, much=1): ...",
        "def polit(*given, much=1): ...",
        "@filled\ndef polit(answer, case, much): ...",
        "def polit(answer, case, much): ...\npolit = filled(polit)",
        "class polit:\n    def __init__(self, answer): ...",
    ],
)
def test_a_function_may_be_bound_in_any_way(tmp_path: Path, code: str) -> None:
    (tmp_path / "c.py").write_text(code)
    suite(tmp_path, f"{HEAD}  - {{q: a, checks: [{{python: c.py::polit}}]}}\n")


def test_ids_are_made_of_the_first_input(tmp_path: Path) -> None:
    rows = "".join(
        f"  - {{q: {q!r}, expected: x}}\n" for q in ("Where's it?", "where s IT", "Wo ist's?", "何?")
    )
    assert [case.id for case in suite(tmp_path, HEAD + rows).cases] == [
        "wheres-it", "where-s-it", "wo-ists", "line-6",
    ]  # fmt: skip
    again = suite(tmp_path, HEAD + "  - {q: a, expected: x}\n" * 3)
    assert [case.id for case in again.cases] == ["a", "a-2", "a-3"]


@given(st.text(max_size=400))
def test_an_id_is_short_and_plain(text: str) -> None:
    slug = slug_of(text)
    assert len(slug) <= 40
    assert set(slug) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


def test_an_input_may_have_a_name_that_is_near_to_a_key(tmp_path: Path) -> None:
    text = f"{HEAD}  - {{message: a, input: b, tag: c, check: d, expected: x}}\n"
    (case,) = suite(tmp_path, text).cases
    assert case.inputs == {"message": "a", "input": "b", "tag": "c", "check": "d"}


def test_messages_are_turns_after_the_prompt(tmp_path: Path) -> None:
    text = f"""{HEAD}  - inputs: {{}}
    messages:
      - {{role: user, content: Hi}}
      - {{role: assistant, content: Hello}}
    expected: x
"""
    (case,) = suite(tmp_path, text).cases
    assert [(turn.role, turn.content) for turn in case.messages] == [("user", "Hi"), ("assistant", "Hello")]


CHECK = "  - q: a\n    checks:\n      - "
KEY = "  - q: a\n    expected: x\n    "
#: What follows ``cases:`` from line 3 on; the line that is named, and what is said.
#: A name that no system takes.
LONG = "a" * 300
MISTAKES = [
    ("  - 3", 3, "a case must be a mapping (`key: value` lines), got 3"),
    ("  - word", 3, 'there is no file of cases "word"; looked for'),
    ("  - {expected: x}", 3, "the case has no inputs; give the prompt's variables"),
    ("  - {q: a}", 3, "there is nothing to check; give `expected` or `checks`"),
    ("  - q: a\n    expeted: x", 4, 'there is no key "expeted"; did you mean `expected`?'),
    ("  - q: a\n    vars: x", 4, 'there is no key "vars"; did you mean `inputs`?'),
    ("  - inputs: {q: a}\n    assert: []", 4, 'there is no key "assert"; did you mean `checks`?'),
    ("  - inputs: {q: a}\n    foo: x", 4, 'there is no key "foo"; accepted: inputs, id, expected, checks'),
    ("  - inputs: a\n    expected: x", 3, '`inputs` must be a mapping (`key: value` lines), got "a"'),
    (KEY + "split: test", 5, '`split` is "test"; accepted: train, validation, heldout'),
    (KEY + "weight: 0", 5, "`weight` must be a number above 0, got 0"),
    (KEY + "weight: heavy", 5, '`weight` must be a number above 0, got "heavy"'),
    (KEY + "tags: [two words]", 5, 'a tag must be one word, got "two words"'),
    (KEY + "tags: 3", 5, "`tags` must be a list of words, got 3"),
    (KEY + "id: [1]", 5, "`id` must be a text, got [1]"),
    (KEY + "id: \"a\\nb\"", 5, "`id` must be a text on one line"),
    (
        "  - {id: a, q: a, expected: x}\n  - q: b\n    expected: x\n    id: a",
        6,
        'the id "a" is that of evals/a.promptopt.yaml:3 as well',
    ),
    ("  - q: a\n    messages: x\n    expected: x", 4, '`messages` must be a list of turns, got "x"'),
    (
        KEY + "messages:\n      - {role: system, content: x}",
        6,
        '`role` is "system"; accepted: user, assistant',
    ),
    ("  - q: a\n    checks: x", 4, "`checks` must be a list, such as `- contains: refund`, got \"x\""),
    (CHECK + "contain: x", 5, 'there is no check "contain"; did you mean `contains`?'),
    (
        CHECK + "not-contain: x",
        5,
        'there is no check "not-contain"; did you mean `not-contains`?',
    ),
    (CHECK + "llm-rubric: x", 5, 'there is no check "llm-rubric"; did you mean `rubric`?'),
    (CHECK + "type: foo", 5, 'there is no check "foo"; accepted: equals, contains,'),
    ("  - q: a\n    checks: [equal]", 4, 'there is no check "equal"; did you mean `equals`?'),
    ("  - q: a\n    checks: [3]", 4, "a check must be a mapping (`key: value` lines), got 3"),
    (CHECK + "{contains: a, regex: b}", 5, "one check has the types contains and regex"),
    (CHECK + "contains:", 5, "`contains` has no value, and the case at evals/a.promptopt.yaml:3 no"),
    (CHECK + "contains: [a]", 5, "`contains` needs a text, got [\"a\"]"),
    (CHECK + "contains-any: a", 5, "`contains-any` needs a list of texts, got \"a\""),
    (CHECK + "max-words: 1.5", 5, "`max-words` needs a whole number from 1, got 1.5"),
    (CHECK + "latency: fast", 5, '`latency` needs a number of seconds, got "fast"'),
    (CHECK + "rubric:", 5, "`rubric` needs a criterion, or the path of a rubric file"),
    (CHECK + "rubric: x\n        context: z", 6, '`context` names "z", and the case at evals/a'),
    (CHECK + "rubric: x\n        context: 3", 6, "`context` names inputs of the case, got 3"),
    (CHECK + "contains: x\n        context: q", 6, '`contains` takes no "context"'),
    (
        CHECK + "regex: '('",
        5,
        "`regex` needs a regular expression: it is no regular expression: missing ), unterminated subpattern",
    ),
    (
        CHECK + "is-json: {type: objekt}",
        5,
        "`is-json` needs a JSON Schema, or nothing: it is no JSON Schema: type: 'objekt' is not valid",
    ),
    (CHECK + "is-json: none.json", 5, 'there is no file "none.json"; looked for'),
    (CHECK + "json-path: $..x", 5, "`json-path`: '$..x' cannot be read at '..x'; accepted:"),
    (CHECK + "type: json-path", 5, "`json-path` needs a path, such as $.total, got null"),
    (
        CHECK + "python: 'answer ='",
        5,
        "`python` needs a Python expression of `answer`, or FILE.py::FUNCTION: it is no Python expression:",
    ),
    (
        CHECK + "python: json.loads(answer)",
        5,
        "`python` needs a Python expression of `answer`, or FILE.py::FUNCTION: it is no Python "
        "expression of `answer` and `case` alone: it needs `json`; write a function in a file",
    ),
    (
        CHECK + "python: 'checks.py::is polite'",
        5,
        "`python` needs a Python expression of `answer`, or FILE.py::FUNCTION: it is no Python expression:",
    ),
    (CHECK + "python: none.py::f", 5, 'there is no file "none.py"; looked for'),
    (
        CHECK + "similar: x\n        threshhold: 1",
        6,
        '`similar` takes no "threshhold"; did you mean `threshold`?',
    ),
    (CHECK + "similar: x\n        model: gpt", 6, '`model`: \'gpt\' names no model'),
    (CHECK + "contains: x\n        model: demo", 6, '`contains` takes no "model"'),
    (CHECK + "similar: x\n        threshold: high", 6, '`threshold` must be a number, got "high"'),
    (
        CHECK + "similar: x\n        threshold: 80",
        6,
        "`threshold` of `similar` must be a number from 0 to 1, got 80",
    ),
    (CHECK + "rubric: x\n        threshold: -1", 6, "`threshold` of `rubric` must be a number from 0 to 1"),
    (CHECK + "rubric: rubrics/none.md", 5, "`rubric`: there is no rubric file 'rubrics/none.md'; looked for"),
    (CHECK + "rubric: ' '", 5, "`rubric` needs a criterion, or the path of a rubric file"),
    (
        CHECK + "is-json: {$schema: [1]}",
        5,
        "`is-json` needs a JSON Schema, or nothing: it is no JSON Schema: $schema must be the address of one",
    ),
    (CHECK + f"is-json: {LONG}", 5, f'there is no file "{LONG[:40]}'),
    (CHECK + f"python: {LONG}.py::f", 5, f'there is no file "{LONG[:40]}'),
    (f"  - {LONG}.csv", 3, f'there is no file of cases "{LONG[:40]}'),
    ("  - notes.txt", 3, '"notes.txt": a file of cases ends with .csv, .tsv'),
    (CHECK + "contains: x\n        threshold: 1", 6, '`contains` takes no "threshold"'),
    ("  - none.csv", 3, 'there is no file of cases "none.csv"; looked for'),
    ("  - other.promptopt.yaml", 3, 'there is no file of cases "other.promptopt.yaml"; looked for'),
    ("  - q: a\n    q: b", 4, "`q` is given twice, first on line 3"),
    ("  - q: [", 4, "it is not valid YAML:"),
    ('  - q: "a\n    expected: b\n', 3, "it is not valid YAML: found unexpected end of stream while"),
    ("  - q: {{ x }}: y", 3, "it is not valid YAML:"),
    ("  - q: !foo a", 3, 'the tag "!foo" is not accepted'),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line", "said"), MISTAKES)
def test_a_mistake_in_a_case_is_told_at_its_line(tmp_path: Path, text: str, line: int, said: str) -> None:
    (tmp_path / "notes.txt").write_text("x", encoding="utf-8")
    with pytest.raises(SettingsError) as raised:
        suite(tmp_path, HEAD + text + "\n")
    assert str(raised.value).startswith(f"evals/a.promptopt.yaml:{line}: {said}")


CASE = "cases: [{q: a, expected: x}]\n"


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("", 1, "a suite must be a mapping (`key: value` lines), got null"),
        ("- a", 1, 'a suite must be a mapping (`key: value` lines), got ["a"]'),
        (CASE, 1, "the suite names no prompt; write `prompt: prompts/file.md`"),
        (f"prompt: a.md\nprompts: [b.md]\n{CASE}", 2, "a suite has `prompt` or `prompts`, not both"),
        (f"prompt: [a.md]\n{CASE}", 1, '`prompt` must be the path of a prompt file, got ["a.md"]'),
        (f"prompts: a.md\n{CASE}", 1, '`prompts` must be a list of prompt files, got "a.md"'),
        (f"prompts:\n  - a.md\n  - 3\n{CASE}", 3, "`prompts` must be a list of prompt files, got 3"),
        ("prompt: a.md", 1, "the suite has no `cases`"),
        ("prompt: a.md\ncases: 3", 2, "`cases` must be a list of cases, or the path of a table, got 3"),
        ("prompt: a.md\ncases: []", 2, "there are no cases"),
        (f"prompt: a.md\ntests: []\n{CASE}", 2, 'there is no key "tests"; did you mean `cases`?'),
        (f"prompt: a.md\nmodels: [a]\n{CASE}", 2, 'there is no key "models"; did you mean `model`?'),
        (f"prompt: a.md\nmodel: 3\n{CASE}", 2, "`model` must be a text, got 3"),
        (f"prompt: a.md\nmin_pass_rate: 95\n{CASE}", 2, "`min_pass_rate`: 95 is not a rate; accepted are"),
        (f"prompt: a.md\ndialect: excl\n{CASE}", 2, 'there is no dialect of CSV "excl"; accepted: excel,'),
        (f"prompt: a.md\nsamples: 0\n{CASE}", 2, "`samples` must be a whole number from 1, got 0"),
        (
            f"prompt: a.md\nparameters: 3\n{CASE}",
            2,
            "`parameters` must be a mapping (`key: value` lines), got 3",
        ),
        (f"prompt: a.md\ninputs: 3\n{CASE}", 2, "`inputs` must be a mapping (`key: value` lines), got 3"),
        (
            f"prompt: a.md\nchecks: 3\n{CASE}",
            2,
            "`checks` must be a list, such as `- contains: refund`, got 3",
        ),
        (f"prompt: a.md\ntemplate: jinja\n{CASE}", 2, '`template` is "jinja"; did you mean `jinja2`?'),
    ],
)
def test_a_mistake_in_a_suite_is_told_at_its_line(tmp_path: Path, text: str, line: int, said: str) -> None:
    with pytest.raises(SettingsError) as raised:
        suite(tmp_path, text)
    assert str(raised.value).startswith(f"evals/a.promptopt.yaml:{line}: {said}")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "a.promptopt.yaml"
    with pytest.raises(SettingsError, match=r"^a\.promptopt\.yaml: the cases cannot be read: No such file"):
        read_suite(path, tmp_path)
    path.write_bytes(b"prompt: a\ncases: \xff\n")
    with pytest.raises(SettingsError, match=r"^a\.promptopt\.yaml:2: it is not UTF-8"):
        read_suite(path, tmp_path)


TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Zl", "Zp"), exclude_characters="\ufeff\x85")
)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
KEYS = st.text("abc _-", max_size=4)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | FLOATS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_json_is_read_as_the_json_module_reads_it(value: Any) -> None:
    import json

    for indent in (None, 2):
        found = read_json(json.dumps(value, indent=indent), "f")
        assert found.value == value


@given(st.dictionaries(st.text("abcdef", min_size=1, max_size=4), JSON, max_size=4))
def test_what_a_yaml_writer_writes_is_read_back(value: Any) -> None:
    assert read_yaml(yaml.safe_dump(value, allow_unicode=True), "f").value == value


@given(st.text(max_size=200))
def test_no_text_ends_a_reader_otherwise_than_by_an_error_with_a_line(text: str) -> None:
    for read in (read_yaml, read_json):
        with suppress(SettingsError):
            read(text, "f")
            continue
        with pytest.raises(SettingsError, match=r"^f:\d+: "):
            read(text, "f")


@given(st.lists(st.text("abc", min_size=1, max_size=3), min_size=1, max_size=5), st.integers(0, 4))
def test_a_line_of_json_is_that_of_its_key(keys: list[str], blank: int) -> None:
    keys = list(dict.fromkeys(keys))
    lines = ["{", *("" for _ in range(blank))]
    lines += [f'"{key}": {{"x": [1,\n2]}}' + ("," if key != keys[-1] else "") for key in keys]
    text = "\n".join([*lines, "}"])
    found = read_json(text, "f")
    for number, key in enumerate(keys):
        assert found.line(key) == blank + 2 + 2 * number
        assert found.line(key, "x", 1) == found.line(key) + 1


def test_json_with_a_key_twice_and_words_that_are_no_json() -> None:
    for text, said in [
        ('{"a": 1,\n "b": {"c": 1,\n "c": 2}}', 'f:3: the key "c" is given twice'),
        ("[1, NaN]", "f:1: it cannot be read as JSON: NaN is no value of JSON"),
        ("[1,\n 2", "f:2: it is not JSON: Expecting ',' delimiter at column 3"),
        ("[" * 100_000, "f:1: it cannot be read as JSON: "),
    ]:
        with pytest.raises(SettingsError) as raised:
            read_json(text, "f")
        assert str(raised.value).startswith(said)


def test_aliases_neither_fill_the_memory_nor_turn_in_circles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_promptopt.suites.located_yaml.MAX_VALUES", 10_000)
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9)
    )
    with pytest.raises(SettingsError, match=r"f:\d: the file holds more than 10,000 values"):
        read_yaml(bomb, "f")
    with pytest.raises(SettingsError, match="f:1: an alias stands inside of what it stands for"):
        read_yaml("a: &a [*a]", "f")
    assert read_yaml("a: &a {x: 1, y: 2}\nb:\n  <<: *a\n  y: 3\n", "f").value["b"] == {"x": 1, "y": 3}


@pytest.mark.parametrize("ending", [".yaml", ".json", ".jsonl"])
def test_tables_of_other_forms_hold_the_same_cases(tmp_path: Path, ending: str) -> None:
    rows = [
        '{"id": "one", "q": "a", "expected": {"total": 1}, "tags": ["x"]}',
        '{"inputs": {"q": "b"}, "checks": [{"contains": "c"}], "split": "validation"}',
    ]
    text = "\n".join(rows) if ending == ".jsonl" else f"[{rows[0]},\n{rows[1]}]"
    (tmp_path / f"t{ending}").write_text(text, encoding="utf-8")
    one, two = read_cases(tmp_path / f"t{ending}", tmp_path)
    assert (one.id, one["q"], one.expected, one.tags, one.where) == (
        "one",
        "a",
        {"total": 1},
        ("x",),
        f"t{ending}:1",
    )
    assert (two["q"], two.checks, two.split, two.where) == (
        "b",
        (Check("contains", "c"),),
        "validation",
        f"t{ending}:2",
    )


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        (
            "t.jsonl",
            '{"q": "a", "expected": "x"}\n\n{"q": }',
            "t.jsonl:3: it is not JSON: Expecting value at column 7",
        ),
        ("t.jsonl", '{"q": "a"}', "t.jsonl:1: there is nothing to check"),
        ("t.jsonl", "[1]", "t.jsonl:1: a case must be a mapping"),
        ("t.jsonl", "", "t.jsonl:1: there are no cases in it"),
        ("t.json", '{"a": 1}', "t.json:1: a file of cases is a list of cases, got"),
        ("t.json", '{"cases": [],\n"x": 1}', 't.json:2: there is no key "x"; accepted: cases, description'),
        (
            "t.json",
            '[{"q": "a",\n "checks": [\n{"regex": "("}]}]',
            "t.json:3: `regex` needs a regular expression",
        ),
        ("t.yaml", "a", 't.yaml:1: a file of cases is a list of cases, got "a"'),
        ("t.xml", "a", "t.xml: a file of cases ends with .csv, .tsv, .jsonl"),
    ],
)
def test_a_mistake_in_a_table_is_told_at_its_line(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError) as raised:
        read_cases(tmp_path / name, tmp_path)
    assert str(raised.value).startswith(said)
