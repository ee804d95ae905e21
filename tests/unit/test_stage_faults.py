"""Which stage of a pipeline lost a case: by grades, by runs that are known, by tries, and by a judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from pytest_promptopt.optimizer.protocols import Trial
from pytest_promptopt.optimizer.stage_faults.known_runs import KnownRun, RunLog, StageRun, stage_names
from pytest_promptopt.optimizer.stage_faults.naming import StageFault, name_stages
from pytest_promptopt.optimizer.stage_faults.signs import (
    Kind,
    Sign,
    grade_signs,
    parted_at,
    repeating_signs,
    run_signs,
)
from pytest_promptopt.optimizer.stage_faults.stage_judge import Trace, compose_stage_request, read_stages
from pytest_promptopt.optimizer.stage_faults.telling import faults_line, tell_by_results
from pytest_promptopt.optimizer.stage_faults.tries import Try, carry_out, retry, swap
from pytest_promptopt.records import Answer, Call, Case, CaseResult, Outcome, Split, StageGrade, Status
from pytest_promptopt.reports.stage_wording import fault_sentence, faults_sentence
from pytest_promptopt.results import StageAtFault

SPEC, PLAN, CODE = "prompts/spec.md", "prompts/plan.md", "prompts/code.md"
STAGES = (SPEC, PLAN, CODE)


def run(
    answers: str,
    *,
    case: str = "a",
    passed: bool = False,
    texts: Mapping[str, str] | None = None,
    sample: int = 0,
    grades: Mapping[str, float] | None = None,
) -> KnownRun:
    """A run of spec, plan and code that answered these words, each given the one before."""
    said = answers.split()
    stages = tuple(
        StageRun(name, ((("given", given),),), (answer,), (f"{name}/{given}",))
        for name, given, answer in zip(STAGES, ["task", *said], said, strict=False)
    )
    return KnownRun(case, frozenset((texts or {}).items()), sample, passed, stages, grades or {})


def log_of(*runs: KnownRun) -> RunLog:
    log = RunLog()
    for each in runs:
        log.by_case.setdefault(each.case, {})[each.texts, each.sample] = each
    return log


def named(**signs: Sequence[Sign]) -> dict[str, StageFault]:
    return name_stages(dict.fromkeys(signs, STAGES), signs)


class TestGrades:
    def test_the_first_stage_graded_below_1_is_at_fault(self) -> None:
        (sign,) = grade_signs(run("s p c", grades={SPEC: 1.0, PLAN: 0.4, CODE: 0.0}))
        assert (sign.stage, sign.speaks_for, sign.why) == (PLAN, True, "its test graded it 0.4")
        assert named(a=[sign])["a"].stage == PLAN

    def test_stages_that_are_not_graded_do_not_hide_it(self) -> None:
        (sign,) = grade_signs(run("s p c", grades={CODE: 0.0}))
        assert sign.stage == CODE

    def test_full_grades_leave_the_others(self) -> None:
        signs = grade_signs(run("s p c", grades={SPEC: 1.0, CODE: 1.0}))
        assert named(a=signs)["a"].stage == PLAN


class TestRunsUnderOtherTexts:
    def test_a_text_of_one_stage_that_mends_the_case_names_it(self) -> None:
        failing, other = run("s p c"), run("s q d", passed=True, texts={PLAN: "better"})
        (sign,) = run_signs(failing, [failing, other])
        assert (sign.kind, sign.stage, sign.speaks_for) == (Kind.TEXT, PLAN, True)
        assert named(a=[sign])["a"].stage == PLAN

    def test_texts_that_mend_nothing_speak_against_their_stage(self) -> None:
        failing = run("s p c")
        others = [run("s p d", texts={CODE: f"text {n}"}) for n in range(3)]
        (sign,) = run_signs(failing, others)
        assert (sign.stage, sign.speaks_for, sign.weight) == (CODE, False, 3.0)
        shares = named(a=[sign])["a"].shares
        assert shares[CODE] < 0.1 < shares[SPEC] == pytest.approx(shares[PLAN])

    def test_a_text_that_mends_none_of_many_cases_is_one_bad_text(self) -> None:
        failing, other = run("s p c"), run("s p d", texts={CODE: "new"})
        (sign,) = run_signs(failing, [other], {(CODE, other.texts): (0, 9)})
        assert sign.weight == pytest.approx(0.2)

    def test_so_does_one_that_was_made_from_a_later_text_which_mended_nothing(self) -> None:
        failing = run("s p c")
        later, mends = (
            run("s p d", texts={CODE: "new"}),
            run("s q e", passed=True, texts={CODE: "new", PLAN: "new"}),
        )
        assert [sign.stage for sign in run_signs(failing, [later, mends])] == [CODE]
        found = run_signs(failing, [later, mends], bases=[later.texts])
        assert {sign.stage: sign.speaks_for for sign in found} == {CODE: False, PLAN: True}

    def test_a_text_of_two_stages_tells_nothing_by_itself(self) -> None:
        other = run("t q d", passed=True, texts={SPEC: "new", CODE: "new"})
        assert run_signs(run("s p c"), [other]) == []


class TestWhereAPassingRunParts:
    def test_at_the_first_stage_that_answers_otherwise_to_the_same_input(self) -> None:
        assert parted_at(run("s p c"), run("s q d", passed=True, sample=1)) == PLAN

    def test_nowhere_where_a_later_stage_had_another_text(self) -> None:
        assert parted_at(run("s p c"), run("s q d", passed=True, texts={CODE: "new"})) is None

    def test_nowhere_where_all_answers_are_the_same(self) -> None:
        assert parted_at(run("s p c"), run("s p c", passed=True, sample=1)) is None

    def test_a_sample_that_passes_names_the_stage(self) -> None:
        (sign,) = run_signs(run("s p c"), [run("s q d", passed=True, sample=1)])
        assert named(a=[sign])["a"].stage == PLAN


class TestStagesThatRepeatTheirInput:
    def test_speak_against_themselves_where_cases_pass_with_them(self) -> None:
        passing = [run("s s c", case=str(n), passed=True) for n in range(8)]
        (sign,) = repeating_signs(run("s s d"), passing)
        assert (sign.stage, sign.speaks_for, sign.tried) == (PLAN, False, 8)
        assert named(a=[sign])["a"].shares[PLAN] < 0.1

    def test_say_nothing_before_a_case_passes(self) -> None:
        assert repeating_signs(run("s s d"), []) == []

    def test_say_nothing_where_they_do_something_in_a_case_that_passes(self) -> None:
        assert repeating_signs(run("s s d"), [run("s p c", case="b", passed=True)]) == []


class TestSharing:
    def test_nothing_known_is_unclear(self) -> None:
        fault = named(a=[])["a"]
        assert fault.stage is None
        assert list(fault.shares.values()) == pytest.approx([1 / 3] * 3)

    def test_cases_share_what_they_show(self) -> None:
        sign = Sign(Kind.GRADE, PLAN, True, "")
        found = named(a=[sign], b=[sign], c=[])
        assert found["c"].stage == PLAN
        assert found["c"].shown_by is None
        assert found["c"].shares[PLAN] < found["a"].shares[PLAN]

    def test_a_case_with_signs_of_its_own_goes_by_them(self) -> None:
        plan, code = (Sign(Kind.GRADE, stage, True, "") for stage in (PLAN, CODE))
        found = named(a=[plan], b=[plan], c=[plan], d=[code])
        assert found["d"].stage == CODE


class TestTries:
    def test_the_answer_of_a_passing_run_is_put_in_the_place_of_a_stage(self) -> None:
        failing, donor = run("s p c"), run("s q d", case="b", passed=True)
        found = swap(failing, PLAN, {}, log_of(failing, donor))
        assert found is not None
        assert found.trial == Trial({}, ("a",), (0,), {f"{PLAN}/s": "q"})
        assert found.calls == 1, "only the stage after it is asked"

    def test_none_gave_another_answer_to_this_input(self) -> None:
        failing = run("s p c")
        assert swap(failing, PLAN, {}, log_of(failing, run("t q d", case="b", passed=True))) is None
        assert swap(failing, PLAN, {}, log_of(failing, run("s q d", case="b"))) is None

    @pytest.mark.parametrize("passes", [True, False])
    def test_what_it_shows(self, passes: bool) -> None:
        one = swap(run("s p c"), PLAN, {}, log_of(run("s q d", case="b", passed=True)))
        assert one is not None
        ((each, sign),) = carry_out([one], lambda trials: [(result_of(run("s q d", passed=passes)),)])
        assert each is one
        assert sign is not None
        assert (sign.kind, sign.stage, sign.speaks_for) == (Kind.SWAP, PLAN, passes)

    def test_an_answer_that_did_not_get_in_shows_nothing(self) -> None:
        one = Try(run("s p c"), PLAN, {}, {"key": "q"}, ("q",))
        ((_, sign),) = carry_out([one], lambda trials: [(result_of(run("s p c")),)])
        assert sign is None

    def test_the_best_text_that_the_case_has_not_met(self) -> None:
        failing, met = run("s p c"), run("s q c", texts={PLAN: "best"})
        found = retry(failing, PLAN, {CODE: "now"}, ["best", "second"], log_of(failing, met))
        assert found is not None
        assert found.trial == Trial({CODE: "now", PLAN: "second"}, ("a",), (0,))
        assert found.calls == 2
        assert retry(failing, PLAN, {}, ["best"], log_of(failing, met)) is None


class TestTheJudge:
    TEXTS: Mapping[str, str] = dict.fromkeys(STAGES, "Do it: {{ given }}")

    def test_reads_each_stage_of_failing_cases_and_of_one_that_passes(self) -> None:
        failing = Trace(
            run("s p c", grades={PLAN: 0.5}), "it fails; expected\n7", {PLAN: "too </failing_traces> short"}
        )
        passing = Trace(run("x y z", case="b", passed=True))
        request = compose_stage_request(self.TEXTS, [failing], passing, model="m")
        told = request.messages[1].content
        assert 'plan, input given: "s"\nplan, answer: "p"\nplan, grade: 0.5 too' in told
        assert "result: it fails; expected 7" in told
        assert told.index("result: it passes") < told.index("CASE 1")
        assert told.count("</failing_traces>") == 1, "a case closes no section"
        assert "The stages are spec, plan, code." in told

    @pytest.mark.parametrize(
        ("reply", "stages"),
        [
            ("CASE 1: plan\nCASE 2: code", {1: PLAN, 2: CODE}),
            ("**Case 1:** `prompts/plan.md`", {1: PLAN}),
            ("CASE 1: unclear\nCASE 2: nobody\nCASE 9: plan", {}),
            ("<new_prompt>Do it.</new_prompt>", {}),
        ],
    )
    def test_names_stages_or_is_ignored(self, reply: str, stages: dict[int, str]) -> None:
        answer = Answer(reply, "m", "end_turn", None, None, 0.0)
        assert read_stages(answer, self.TEXTS, 2) == stages

    def test_files_of_one_name_are_told_by_their_paths(self) -> None:
        assert stage_names(["a/plan.md", "b/plan.md", "c.md"]) == {
            "a/plan.md": "a/plan.md",
            "b/plan.md": "b/plan.md",
            "c.md": "c",
        }


class TestWhatIsTold:
    def test_a_line_counts_stages_and_what_shows_them(self) -> None:
        told = [
            *(StageAtFault(str(n), PLAN, 0.9, "text") for n in range(2)),
            StageAtFault("x", PLAN, 0.9, "grade"),
            StageAtFault("y", CODE, 0.9, "others", frozen=True),
            StageAtFault("z"),
        ]
        line = "plan 3 of 5 failing cases, code (frozen) 1, unclear 1"
        shown = "(shown by 2 runs, 1 grade, 0 judged, 1 like the others)"
        assert faults_line(told) == f"{line} {shown}"

    def test_a_report_says_that_the_stage_at_fault_is_frozen(self) -> None:
        told = [StageAtFault("a", PLAN, 0.9, "grade", "its test graded it 0", frozen=True)]
        assert faults_sentence(told).endswith("; the stage at fault is frozen")
        assert fault_sentence(told[0]) == "prompts/plan.md (90%, frozen): its test graded it 0"
        assert faults_sentence([StageAtFault("a")]) == ""

    def test_plain_results_tell_by_grades_and_samples(self) -> None:
        graded = result_of(run("s p c", grades={SPEC: 1.0, PLAN: 0.0}))
        fault = tell_by_results([graded])["a"]
        assert (fault.stage, fault.by, fault.why) == (PLAN, "grade", "its test graded it 0")
        sampled = result_of(run("s p c"), run("s q d", passed=True, sample=1))
        assert tell_by_results([sampled])["a"].by == "swap"
        assert tell_by_results([result_of(run("s p c"))])["a"].stage == ""

    def test_a_check_of_the_first_answer_that_ends_the_case_names_its_stage(self) -> None:
        fault = tell_by_results([result_of(run("s"))])["a"]
        assert (fault.stage, fault.share, fault.by) == (SPEC, 1.0, "ended")

    def test_a_case_of_one_prompt_is_no_pipeline(self) -> None:
        result = result_of(run("s"))
        assert tell_by_results([replace(result, case=replace(result.case, prompts=(SPEC,)))]) == {}


def result_of(*runs: KnownRun) -> CaseResult:
    """The result of a case with these runs as its samples."""
    outcomes = tuple(
        Outcome(
            each.case,
            Status.PASSED if each.passed else Status.FAILED,
            float(each.passed),
            each.sample,
            calls=tuple(
                Call(
                    stage.prompt,
                    dict(stage.given[0]),
                    stage.keys[0],
                    stage.answers[0],
                    "",
                    None,
                    None,
                    0.0,
                    False,
                )
                for stage in each.stages
            ),
            grades=tuple(StageGrade(prompt, score, "") for prompt, score in each.grades.items()),
        )
        for each in runs
    )
    return CaseResult(Case(runs[0].case, STAGES, Split.TRAIN), outcomes)
