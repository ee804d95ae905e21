"""Each type of check: answers that it takes, answers that it does not, and what is then told."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pytest_promptopt.assertions.static_values import NoValue, value_of
from pytest_promptopt.completion import Completion
from pytest_promptopt.errors import SettingsError
from pytest_promptopt.failed_checks import CheckFailed
from pytest_promptopt.failures.categories import categorize_failure
from pytest_promptopt.failures.failure_context import failure_context_of
from pytest_promptopt.failures.label_vocabulary import PromptBody
from pytest_promptopt.records import Answer, Call, Case, Failure, Outcome, Split, Status
from pytest_promptopt.runs.fingerprint import fingerprint, reasons_not_to_continue
from pytest_promptopt.settings import Settings
from pytest_promptopt.suites.check_sources import test_source as source_of
from pytest_promptopt.suites.check_types import CHECK_TYPES
from pytest_promptopt.suites.checks import Check
from pytest_promptopt.suites.file_case import FileCase
from pytest_promptopt.suites.json_checks import path_steps, values_at
from pytest_promptopt.suites.text_checks import similarity
from pytest_promptopt.verdicts import Verdict

SCHEMA = {
    "type": "object",
    "properties": {"total": {"type": "number"}, "state": {"enum": ["open", "paid"]}},
    "required": ["total"],
}
INVOICE = '{"total": 12.5, "state": "open", "lines": [{"sku": "a"}, {"sku": "b"}], "note": null}'


def answer(text: str, *, cost: float | None = 0.01, latency: float = 1.0) -> Completion:
    return Completion(Answer(text, "house/one", "end_turn", None, cost, latency))


SHOWN: list[tuple[str | None, str | None]] = []


def judge(
    answer: str, criterion: str, /, *, reference: str | None = None, context: str | None = None
) -> Verdict:
    SHOWN.append((reference, context))
    score = 1.0 if "please" in answer else 0.25
    return Verdict(score, () if score == 1 else ("it commands",), (), (), "", answer, criterion=criterion)


def failure(check: Check, given: str) -> Failure | None:
    case = FileCase("a", {"ticket": "Where is it?"}, checks=(check,), where="f.yaml:1")
    try:
        case.check(given if isinstance(given, Completion) else answer(given), judge)
    except CheckFailed as failed:
        return failed.failure
    return None


def failed(check: Check, given: str) -> Failure:
    found = failure(check, given)
    assert found is not None
    return found


#: type, value, further arguments, an answer that fits, one that does not.
EACH: list[tuple[str, Any, Mapping[str, Any], str, str]] = [
    ("equals", "billing", {}, " billing\n", "Billing"),
    ("equals", 12.5, {}, "12.50", "twelve"),
    ("equals", {"a": [1, True]}, {}, '{"a": [1, true]}', '{"a": [1, 1]}'),
    ("equals", " exact", {"options": {"exact": True}}, " exact", "exact"),
    ("contains", "refund", {}, "your refund is due", "your Refund is due"),
    ("icontains", "Refund", {}, "your reFUND is due", "money back"),
    ("contains-all", ["a", "b"], {}, "b a", "a"),
    ("contains-any", ["a", "b"], {}, "xxb", "xxx"),
    ("icontains-all", ["A", "b"], {}, "B a", "B"),
    ("icontains-any", ["A", "b"], {}, "xxB", "xxx"),
    ("starts-with", "Dear", {}, "Dear customer", "dear customer"),
    ("regex", r"^\d{3}$", {}, "123", "1234"),
    ("is-json", None, {}, "[1]", "[1"),
    ("is-json", SCHEMA, {}, '{"total": 1}', '{"state": "open"}'),
    ("json-path", "open", {"options": {"path": "$.state"}}, INVOICE, '{"state": "paid"}'),
    ("json-path", "b", {"options": {"path": "$.lines[*].sku"}}, INVOICE, '{"lines": []}'),
    ("json-path", "b", {"options": {"path": "lines[-1].sku"}}, INVOICE, "no JSON"),
    ("json-path", None, {"options": {"path": "$.total"}}, INVOICE, '{"state": "paid"}'),
    ("json-path", None, {"options": {"path": "$.note", "null": True}}, INVOICE, '{"note": 1}'),
    ("one-of", ["billing", "refunds", 3], {}, "3 ", "sales"),
    ("one-of", [True, False], {}, "true", "True"),
    ("similar", "The parcel is on its way", {}, "the parcel is on its  way!", "It was stolen"),
    ("similar", "abc", {"threshold": 0.2}, "a", "xyz"),
    ("max-words", 3, {}, "one two three", "one two three four"),
    ("latency", 2, {}, answer("a", latency=2.0), answer("a", latency=2.1)),
    ("cost", 0.02, {}, answer("a", cost=0.02), answer("a", cost=0.03)),
    ("python", "len(answer) < 4 and case['ticket']", {}, "abc", "abcd"),
    ("python", "answer.count('a') / 4", {"threshold": 0.5}, "aa", "a"),
    ("rubric", "is polite", {}, "please wait", "wait"),
    ("rubric", "is polite", {"threshold": 0.9}, "please wait", "wait"),
]


def test_every_type_is_tried_and_has_a_form_as_a_test_writes_it() -> None:
    assert {kind for kind, *_ in EACH} == set(CHECK_TYPES)
    for kind, value, more, *_ in EACH:
        source = source_of(["ticket"], [Check(kind, value, **more)], None)
        compile(source, "<check>", "exec")


@pytest.mark.parametrize(("kind", "value", "more", "good", "bad"), EACH)
def test_it_tells_good_from_bad(kind: str, value: Any, more: Mapping[str, Any], good: str, bad: str) -> None:
    check = Check(kind, value, "f.yaml:7", **more)
    assert failure(check, good) is None
    found = failed(check, bad)
    assert found.where == "f.yaml:7"
    assert found.message.startswith(kind)
    assert found.operator is not None or found.constraint


@pytest.mark.parametrize(("kind", "value", "more", "good", "bad"), EACH)
def test_not_turns_it_round(kind: str, value: Any, more: Mapping[str, Any], good: str, bad: str) -> None:
    check = Check(kind, value, "f.yaml:7", negated=True, **more)
    assert failure(check, bad) is None
    found = failed(check, good)
    assert found.message.startswith(f"not-{kind}")
    assert found.operator != "=="
    assert found.constraint


@pytest.mark.parametrize("given", ["NaN", "[-Infinity]", '{"total": NaN}'])
def test_what_python_takes_for_json_and_nobody_else_is_none(given: str) -> None:
    assert "is no value of JSON" in failed(Check("is-json"), given).message
    assert "is no value of JSON" in failed(Check("json-path", options={"path": "$.total"}), given).message
    assert failed(Check("equals", 3), given).actual == given


@pytest.mark.parametrize(
    ("check", "given", "message"),
    [
        (Check("equals", "billing"), "sales", 'equals: expected "billing" but got "sales"'),
        (Check("equals", "a", negated=True), "a", 'not-equals "a": got "a"'),
        (Check("contains", "refund"), "no", 'contains "refund"'),
        (Check("contains-all", ["a", "b"]), "a", 'contains-all ["a", "b"]: there is no "b"'),
        (Check("max-words", 1), "a b", "max-words 1: got 2 words"),
        (
            Check("similar", "abcd", threshold=0.9),
            "abc",
            'similar "abcd" (at least 0.9): got a text ratio of 0.86',
        ),
        (
            Check("similar", "abcd"),
            "xyz",
            'similar "abcd": got a text ratio of 0.00, and 0.8 counts as similar',
        ),
        (Check("one-of", ["a", "b"]), "c", 'one-of ["a", "b"]: got "c"'),
        (
            Check("is-json"),
            "Sure: {}",
            "is-json: the answer is not JSON (Expecting value: line 1 column 1 (char 0))",
        ),
        (Check("is-json", SCHEMA), "{}", "is-json: 'total' is a required property"),
        (
            Check("json-path", 12, options={"path": "$.total"}),
            '{"total": 11}',
            "json-path $.total 12: got 11",
        ),
        (
            Check("json-path", None, options={"path": "$.total"}),
            "{}",
            "json-path $.total: nothing stands there",
        ),
        (Check("latency", 0.5), "a", "latency 0.5: it took 1 s"),
        (Check("rubric", "is polite"), "no", 'rubric "is polite": the judge gives 0.25: it commands'),
        (Check("python", "len(answer) == 2"), "a", 'python "len(answer) == 2"'),
    ],
)
def test_what_a_person_reads(check: Check, given: str, message: str) -> None:
    assert failed(check, given).message == message


@pytest.mark.parametrize(
    ("check", "given", "operator", "constraint", "category"),
    [
        (Check("equals", "billing"), "sales", "==", None, "wrong value"),
        (Check("equals", "billing"), "Billing.", "==", None, "format violation"),
        (Check("equals", {"a": 1}), '{"a": 2}', "==", None, "wrong value"),
        (Check("equals", {"a": 1}), "{}", "==", None, "missing information"),
        (Check("contains", "refund"), "no", "in", "'refund' in answer", "missing information"),
        (
            Check("contains", "sorry", negated=True),
            "sorry",
            "not in",
            "'sorry' not in answer",
            "forbidden content",
        ),
        (
            Check("contains-any", ["a", "b"]),
            "c",
            "or",
            "'a' in answer or 'b' in answer",
            "missing information",
        ),
        (Check("one-of", ["a", "b"]), "c", "in", "answer in ['a', 'b']", "hallucinated content"),
        (Check("max-words", 2), "a b c d", "<=", "len(answer.split()) <= 2", "too verbose"),
        (Check("is-json"), "Sure: {}", None, "json.loads(answer)", "format violation"),
        (Check("is-json", SCHEMA), "{}", "in", "'total' in answer", "missing information"),
        (
            Check("json-path", 12, options={"path": "$.a.b"}),
            '{"a": {"b": 11}}',
            "==",
            None,
            "wrong value",
        ),
        (Check("python", "len(answer) < 3"), "abcd", "<", "len(answer) < 3", "too verbose"),
        (Check("python", "'x' in answer"), "abcd", "in", "'x' in answer", "missing information"),
        (
            Check("rubric", "is polite"),
            "no",
            ">=",
            "judge(answer, 'is polite').score >= 0.7",
            "criterion not met",
        ),
    ],
)
def test_what_the_optimizer_is_told(
    check: Check, given: str, operator: str | None, constraint: str | None, category: str
) -> None:
    """The same as of an assert: operator, values and a category with what is wrong."""
    found = failed(check, given)
    assert (found.operator, found.constraint) == (operator, constraint)
    call = Call("p.md", {"ticket": "x"}, "k", given, "end_turn", None, None, 0.0, False)
    verdicts = (judge(given, "is polite"),) if check.type == "rubric" else ()
    outcome = Outcome("f.yaml::p[a]", Status.FAILED, 0.0, failure=found, calls=(call,), verdicts=verdicts)
    subject = failure_context_of(outcome, prose=PromptBody("Answer {{ ticket }}"))
    assert categorize_failure(subject).category == category


def test_values_at_a_path_are_told_as_structures() -> None:
    found = failed(Check("json-path", 12, options={"path": "$.a['b c']"}), '{"a": {"b c": 11, "d": 1}}')
    assert (found.expected, found.actual) == ({"a": {"b c": 12}}, {"a": {"b c": 11}})


def test_a_judge_may_see_inputs_and_the_expected_answer() -> None:
    shown = {"context": ["ticket", "shop"], "reference": ["expected"]}
    check = Check("rubric", "is right", options=shown)
    case = FileCase("a", {"ticket": "Where?", "shop": 3}, expected="There", checks=(check,))
    case.check(answer("please"), judge)
    assert SHOWN[-1] == ("There", "ticket: Where?\n\nshop: 3")


def test_a_run_is_not_continued_with_other_checks() -> None:
    """They stand in no test file whose bytes would tell."""

    def standing_on(*checks: Check) -> dict[str, Any]:
        given = FileCase("a", {"q": "x"}, checks=checks)
        case = Case("f.yaml::p[a]", ("p.md",), Split.TRAIN, checks=given.checks_digest)
        return fingerprint(
            prompts={}, tests={}, cases=[case], inputs={}, code={}, models={}, settings=Settings(Path())
        )

    before = standing_on(Check("contains", "a", "f.yaml:3"))
    assert not list(reasons_not_to_continue(before, standing_on(Check("contains", "a", "f.yaml:9"))))
    for other in (Check("contains", "b"), Check("contains", "a", negated=True), Check("icontains", "a")):
        (reason,) = reasons_not_to_continue(before, standing_on(other))
        assert "of another split, prompt, check or number of samples" in reason


def test_all_that_do_not_hold_are_told_and_the_first_is_fed_back() -> None:
    checks = (Check("contains", "a", "f:1"), Check("max-words", 1, "f:2"), Check("contains", "b", "f:3"))
    with pytest.raises(CheckFailed) as raised:
        FileCase("a", {}, checks=checks, where="t.csv:9").check(answer("b c"))
    assert str(raised.value).splitlines() == [
        'f:1: contains "a"',
        "f:2: max-words 1: got 2 words",
        "2 of 3 checks do not hold",
        "the case stands at t.csv:9",
    ]
    assert raised.value.failure.where == "f:1"


@pytest.mark.parametrize(
    "check", [Check("cost", 1, "f:3"), Check("latency", 1, "f:3"), Check("rubric", "x", "f:3")]
)
def test_what_nobody_can_decide_is_no_fault_of_the_answer(check: Check) -> None:
    with pytest.raises(SettingsError, match=r"^f:3: "):
        FileCase("a", {}, checks=(check,)).check("a plain text")


@pytest.mark.parametrize(
    "schema",
    [{"$ref": "https://example.com/a.json"}, {"$ref": "#"}, {"type": "string", "pattern": "("}],
    ids=["elsewhere", "itself", "pattern"],
)
def test_a_schema_that_cannot_be_used_is_no_fault_of_the_answer(schema: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=r"^f:3: is-json: the schema cannot be used: "):
        FileCase("a", {}, checks=(Check("is-json", schema, "f:3"),)).check('"a"')


@pytest.mark.parametrize(
    "expression",
    [
        "all(word in answer for word in case['ticket'].split())",
        "(lambda text: text in answer)('Where')",
        "(start := answer[:5]) == 'Where' and start",
    ],
)
def test_all_of_an_expression_sees_the_answer_and_the_case(expression: str) -> None:
    assert CHECK_TYPES["python"].problem(expression) is None
    assert failure(Check("python", expression), "Where is it?") is None
    assert failure(Check("python", expression), "There is it?") is not None


class TestFunctions:
    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        path = tmp_path / "checks.py"
        path.write_text(
            "def short(answer):\n    return len(answer) < 3\n\n"
            "def fits(answer, case):\n    assert answer == case['ticket']\n    return True\n\n"
            "def share(answer):\n    return answer.count('a') / 10\n\n"
            "def broken(answer):\n    return {}['x']\n\n"
            "def asserts(answer):\n    assert len(answer) < 3\n\n"
            "def forgets(answer):\n    len(answer) < 3\n",
            encoding="utf-8",
        )
        return path

    def check(self, file: Path, name: str, **more: Any) -> Check:
        return Check(
            "python", f"checks.py::{name}", "f:9", options={"file": str(file), "function": name}, **more
        )

    def test_what_it_returns_decides(self, file: Path) -> None:
        assert failure(self.check(file, "short"), "ab") is None
        found = failed(self.check(file, "short"), "abcd")
        assert (found.operator, found.constraint, found.where) == ("<", "len(answer) < 3", "f:9")

    def test_it_may_assert_and_look_at_the_case(self, file: Path) -> None:
        assert failure(self.check(file, "fits"), "Where is it?") is None
        found = failed(self.check(file, "fits"), "no")
        assert (found.operator, found.actual, found.where) == ("==", "no", "f:9")

    def test_a_share_must_reach_the_threshold(self, file: Path) -> None:
        assert failure(self.check(file, "share", threshold=0.2), "aa") is None
        assert failed(self.check(file, "share", threshold=0.3), "aa").message.endswith("got 0.2")

    def test_one_that_only_asserts_returns_nothing(self, file: Path) -> None:
        assert failure(self.check(file, "asserts"), "ab") is None
        found = failed(self.check(file, "asserts"), "abcd")
        assert (found.operator, found.constraint, found.where) == ("<", "len(answer) < 3", "f:9")
        assert failure(self.check(file, "asserts", negated=True), "abcd") is None
        assert failure(self.check(file, "asserts", negated=True), "ab") is not None

    @pytest.mark.parametrize("given", ["ab", "abcd"])
    def test_one_that_forgets_to_return_neither_passes_nor_fails(self, file: Path, given: str) -> None:
        with pytest.raises(SettingsError) as raised:
            failure(self.check(file, "forgets"), given)
        assert str(raised.value) == (
            "f:9: python: checks.py::forgets returned None; a check returns True, False or a number, or it "
            "asserts"
        )

    def test_its_own_errors_are_raised_as_they_are(self, file: Path) -> None:
        with pytest.raises(KeyError):
            failure(self.check(file, "broken"), "a")

    def test_a_function_or_file_that_is_not_there(self, file: Path) -> None:
        with pytest.raises(SettingsError, match=r"f:9: python: checks\.py has no function 'nothing'"):
            failure(self.check(file, "nothing"), "a")
        file.with_name("bad.py").write_text("import nothing_of_that_name", encoding="utf-8")
        with pytest.raises(
            SettingsError, match=r"f:9: python: .*bad\.py cannot be imported: ModuleNotFoundError"
        ):
            failure(self.check(file.with_name("bad.py"), "a"), "a")


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("$", [{"a": {"b-c": [1, 2]}, "x y": 3}]),
        ("$.a['b-c'][0]", [1]),
        ("a.b-c[-1]", [2]),
        ("$.a.*[*]", [1, 2]),
        ('$["x y"]', [3]),
        ("$.a.none", []),
        ("$.a['b-c'][5]", []),
    ],
)
def test_paths(path: str, found: list[Any]) -> None:
    value = {"a": {"b-c": [1, 2]}, "x y": 3}
    assert list(values_at(value, path_steps(path))) == found


@pytest.mark.parametrize("path", ["$.", "$..a", "$[?(@.a)]", "$[a]", "a b"])
def test_paths_that_cannot_be_read(path: str) -> None:
    with pytest.raises(ValueError, match="cannot be read at"):
        path_steps(path)


def test_similarity_is_between_0_and_1_and_takes_long_texts() -> None:
    assert similarity("A  b", "a B") == 1.0
    assert similarity("abc", "xyz") == 0.0
    assert similarity("word " * 3_000, "word " * 3_000) == 1.0


def test_the_source_of_a_test_says_what_a_case_of_a_file_expects() -> None:
    case = FileCase("a", {"queue": "billing"}, expected={"total": 1})
    for source, value in (
        ("case['queue'].upper", None),
        ("case['queue']", "billing"),
        ("case.expected", {"total": 1}),
    ):
        node = ast.parse(source, mode="eval").body
        if value is None:
            with pytest.raises(NoValue):
                value_of(node, {"case": case})
        else:
            assert value_of(node, {"case": case}) == value
