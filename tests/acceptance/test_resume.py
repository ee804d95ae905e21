"""`--optimize-resume`: a run that was cut off ends as if it had not been, and nothing is paid twice."""

from __future__ import annotations

import json
import re
import shutil
import signal
from collections import Counter
from typing import Any

import pytest

from tests.acceptance.desk import CONFTEST, HOPELESS, TRAIN, WEAK, Desk

#: What differs between two runs with the same answers: clocks, and what was paid in which process.
UNLIKE = {"spend", "elapsed", "calls", "id", "journal", "notes", "why", "settings"}
#: And fresh answers, which every run has of its own.
UNLIKE |= {"sample", "pairs", "better", "worse", "estimate", "p", "detectable"}
#: A call while the first candidates are evaluated.
MOMENT = 11

DECISIONS = ("candidate", "results", "iteration", "stop", "confirmation", "heldout", "written", "end")


@pytest.fixture
def desk(pytester: pytest.Pytester) -> Desk:
    desk = Desk(pytester)
    desk.cases(train=[*TRAIN, HOPELESS])
    return desk


def optimize(desk: Desk, *args: str) -> pytest.RunResult:
    """In a process of its own, with few iterations, and without the cache unless `args` say otherwise."""
    options = ("--tb=no", "-p", "no:asyncio", "--promptopt-max-iterations=3", "--promptopt-cache=off", *args)
    return desk.pytester.runpytest_subprocess("--optimize", *options, timeout=90)


def resume(desk: Desk, *args: str) -> pytest.RunResult:
    return desk.run("--optimize-resume", "--tb=no", "--promptopt-report=report.json", *args)


def cut_off(desk: Desk, moment: int, *args: str, by: str = "SIGINT") -> str:
    """The id of a run that got these signals at its call of this number."""
    desk.write("ctrl-c", str(moment))
    desk.write("signals", by)
    assert optimize(desk, *args).ret not in (0, 1, 3)
    (desk.path / "ctrl-c").unlink()
    return runs(desk)[-1]


def runs(desk: Desk) -> list[str]:
    return sorted(path.name for path in desk.path.glob(".promptopt/runs/*"))


def decisions(desk: Desk) -> list[tuple[str, Any]]:
    """What the last process of the only run decided, in order."""
    events = desk.events
    start = max(number for number, event in enumerate(events) if event.event in ("opened", "resumed"))
    return [(e.event, _alike(e.data)) for e in events[start:] if e.event in DECISIONS]


def _alike(data: Any) -> Any:
    if isinstance(data, dict):
        return {name: _alike(value) for name, value in data.items() if name not in UNLIKE}
    return [_alike(value) for value in data] if isinstance(data, list) else data


def uninterrupted(desk: Desk) -> tuple[list[tuple[str, Any]], list[str], str]:
    """What a run decides, asks and writes if nothing cuts it off; everything is then as before it."""
    assert optimize(desk).ret == pytest.ExitCode.TESTS_FAILED
    found = decisions(desk), sorted(desk.told), desk.text
    desk.prompt.write_text(WEAK)
    shutil.rmtree(desk.path / ".promptopt")
    (desk.path / "asked.log").unlink()
    return found


def answered(desk: Desk) -> Counter[str]:
    """How often each request of the run got an answer."""
    return Counter(e.data["key"] for e in desk.events if e.event == "call" and e.data["answer"])


# ------------------------------------------------------------------------------------------------ going on


@pytest.mark.parametrize(
    ("share", "by"),
    [(0.05, "SIGKILL"), (0.3, "SIGINT"), (0.6, "SIGINT SIGINT"), (0.8, "SIGTERM"), (0.95, "SIGKILL")],
)
def test_a_run_ends_as_if_it_had_not_been_cut_off(desk: Desk, share: float, by: str) -> None:
    decided, asked, text = uninterrupted(desk)
    run = cut_off(desk, round(share * (len(asked) - 2)) + 1, by=by)
    assert desk.text == WEAK
    paid = answered(desk)
    result = resume(desk)
    assert runs(desk) == [run], "it is the same run"
    said = f"promptopt: continuing run {run}: {len(paid)} call* known and not made again; *"
    result.stdout.fnmatch_lines([said, f"note: continued: {len(paid)} answer* came from its journal, *"])
    assert decisions(desk) == decided
    assert desk.text == text
    assert set(answered(desk).values()) == {1}, "no answer is paid twice"
    again = Counter(desk.told) - Counter(asked)
    assert sum(again.values()) <= 8, "only what was in flight when it was cut off"


@pytest.mark.parametrize("cache", ["use", "refresh", "off"])
def test_the_journal_serves_whatever_becomes_of_the_cache(desk: Desk, cache: str) -> None:
    cut_off(desk, MOMENT, f"--promptopt-cache={cache}")
    shutil.rmtree(desk.path / ".promptopt" / "cache", ignore_errors=True)
    before = answered(desk)
    resume(desk)
    assert before.keys() <= answered(desk).keys()
    assert set(answered(desk).values()) == {1}
    assert desk.text != WEAK


@pytest.mark.parametrize("later", [(), ("--promptopt-cache=off",), ("--promptopt-cache=refresh",)])
def test_answers_that_were_in_the_cache_serve_as_well(desk: Desk, later: tuple[str, ...]) -> None:
    """Whoever runs pytest before has the first answers there; so they are in no call of the run."""
    assert desk.run("--tb=no").ret == pytest.ExitCode.TESTS_FAILED
    before = Counter(desk.told)
    assert before
    cut_off(desk, sum(before.values()) + 5, "--promptopt-cache=use")
    first = decisions_before(desk)
    shutil.rmtree(desk.path / ".promptopt" / "cache")
    assert resume(desk, *later).ret in (0, 1)
    assert decisions(desk)[: len(first)] == first
    known = {e.data["key"] for e in desk.events if e.event == "known"}
    assert len(known) == len(before)
    assert not known & answered(desk).keys(), "what was known is not asked again"


@pytest.mark.parametrize("ceiling", [20, 40])
def test_under_a_ceiling_they_cost_as_little_as_before(desk: Desk, ceiling: int) -> None:
    option = f"--promptopt-max-calls={ceiling}"
    assert desk.run("--tb=no").ret == pytest.ExitCode.TESTS_FAILED
    looked = len(desk.told)
    cache, kept = desk.path / ".promptopt" / "cache", desk.path / "kept"
    shutil.copytree(cache, kept)
    optimize(desk, option, "--promptopt-cache=use")
    decided, calls = searched(desk), len(desk.told) - looked
    desk.prompt.write_text(WEAK)
    shutil.rmtree(desk.path / ".promptopt")
    (desk.path / ".promptopt").mkdir()
    kept.rename(cache)
    (desk.path / "asked.log").unlink()
    cut_off(desk, calls // 2, option, "--promptopt-cache=use")
    resume(desk)
    assert searched(desk) == decided


def searched(desk: Desk) -> list[tuple[str, Any]]:
    """What the last process decided before the confirmation, whose order each run draws for itself."""
    found = decisions(desk)
    return found[: [kind for kind, _ in found].index("confirmation")]


def decisions_before(desk: Desk) -> list[tuple[str, Any]]:
    """What the process that was cut off decided, its end apart."""
    return [each for each in decisions(desk) if each[0] not in ("stop", "end")]


def test_it_may_be_cut_off_again_and_again(desk: Desk) -> None:
    decided, _, text = uninterrupted(desk)
    cut_off(desk, 5)
    desk.write("ctrl-c", "9")
    for _ in range(3):
        desk.pytester.runpytest_subprocess("--optimize-resume", "-p", "no:asyncio", timeout=90)
    (desk.path / "ctrl-c").unlink()
    resume(desk)
    assert decisions(desk) == decided
    assert desk.text == text
    assert set(answered(desk).values()) == {1}


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_kill_while_the_file_is_replaced_leaves_it_whole_and_can_be_continued(
    desk: Desk, moment: str
) -> None:
    decided, _, text = uninterrupted(desk)
    name = "os.replace" if moment == "before" else "sync_folder"
    patch = f"""
import pytest_promptopt.prompts.writing as writing
if (HERE / "die").exists():
    writing.{name} = lambda *args: os.kill(os.getpid(), signal.SIGKILL)
"""
    desk.write("conftest.py", CONFTEST + patch)
    desk.write("die", "")
    assert optimize(desk).ret == -signal.SIGKILL
    (desk.path / "die").unlink()
    assert desk.text == (WEAK if moment == "before" else text)
    resume(desk)
    assert decisions(desk) == decided
    assert desk.text == text
    assert set(answered(desk).values()) == {1}


def test_what_the_first_command_line_said_still_holds(desk: Desk) -> None:
    cut_off(desk, MOMENT, "--promptopt-candidates=2", "--promptopt-seed=7")
    resume(desk)
    start = [event.data for event in desk.events if event.event == "start"][-1]
    assert (start["settings"]["candidates"], start["settings"]["seed"]) == (2, 7)
    assert start["settings"]["max_iterations"] == 3


def test_a_dry_run_stays_one_unless_it_is_to_write(desk: Desk) -> None:
    desk.write("ctrl-c", str(MOMENT))
    desk.pytester.runpytest_subprocess("--optimize-dry-run", "-p", "no:asyncio", timeout=90)
    (desk.path / "ctrl-c").unlink()
    (run,) = runs(desk)
    resume(desk)
    assert desk.text == WEAK
    desk.run(f"--optimize-resume={run}", "--optimize", "--tb=no")
    assert desk.text != WEAK


def test_a_run_that_a_ceiling_stopped_goes_on_under_a_higher_one(desk: Desk) -> None:
    desk.optimize("--promptopt-max-calls=15", "--promptopt-cache=off")
    assert len(desk.told) <= 15
    result = resume(desk, "--promptopt-max-calls=18")
    result.stdout.fnmatch_lines(["promptopt: continuing run *"])
    assert len(desk.told) <= 18, "what was spent before counts"
    resume(desk, "--promptopt-max-calls=150")
    assert set(answered(desk).values()) == {1}
    assert desk.text != WEAK


def test_a_call_whose_end_nobody_knows_stays_on_the_account(desk: Desk) -> None:
    cut_off(desk, MOMENT, by="SIGKILL")
    known = sum(answered(desk).values())
    asked = len(desk.told)
    assert asked > known
    resume(desk)
    spend = desk.report["run"]["spend"]
    assert sum(role["calls"] for role in spend.values()) == len(desk.told)


def test_an_error_that_a_decision_stands_on_stays_one(desk: Desk) -> None:
    desk.write("broken", TRAIN[0][0])
    cut_off(desk, MOMENT)
    (desk.path / "broken").unlink()
    failed = next(e.data["key"] for e in desk.events if e.event == "call" and e.data["kind"] == "bad request")
    resume(desk)
    assert failed not in answered(desk)
    (first, *_) = (rates for kind, rates in decisions(desk) if kind == "results")
    assert None in first["rates"].values()


def test_an_error_after_the_last_decision_is_asked_again(desk: Desk) -> None:
    desk.write("broken", TRAIN[0][0])
    cut_off(desk, 6)
    (desk.path / "broken").unlink()
    resume(desk)
    assert all(result["error"] is None for result in desk.report["prompts"][0]["results"])
    (first, *_) = (rates for kind, rates in decisions(desk) if kind == "results")
    assert None not in first["rates"].values()


# ------------------------------------------------------------------------------------------------ refusals


def changed_prompt(desk: Desk) -> tuple[str, ...]:
    desk.prompt.write_text(WEAK + "Please.\n")
    return ()


def changed_test(desk: Desk) -> tuple[str, ...]:
    desk.cases(train=[*TRAIN, HOPELESS], more="\n# later\n")
    return ()


def other_model(desk: Desk) -> tuple[str, ...]:
    return ("--promptopt-model=house/other",)


def other_optimizer(desk: Desk) -> tuple[str, ...]:
    return ("--promptopt-optimizer-model=house/other",)


def other_seed(desk: Desk) -> tuple[str, ...]:
    return ("--promptopt-seed=8",)


def fewer_cases(desk: Desk) -> tuple[str, ...]:
    return ("-k", "pin")


def other_inputs(desk: Desk) -> tuple[str, ...]:
    """The ids of such cases are case0, case1 and so on, whatever is in their file."""
    path = desk.path / "cases.json"
    path.write_text(path.read_text().replace("my card has not arrived", "where is my money"))
    return ()


def other_expected(desk: Desk) -> tuple[str, ...]:
    path = desk.path / "cases.json"
    path.write_text(path.read_text().replace('"pin_blocked"', '"lost_card"'))
    return ()


FROM_A_FILE = """
import json
from pathlib import Path

@pytest.mark.prompt("prompts/sort.md")
@pytest.mark.parametrize("case", json.loads((Path(__file__).parent / "cases.json").read_text()))
def test_of_a_file(prompt, case):
    assert prompt(message=case["message"]) == case["label"]
"""


@pytest.mark.parametrize("change", [other_inputs, other_expected])
def test_a_data_file_with_other_cases_is_noticed(desk: Desk, change: Any) -> None:
    cases = [{"message": message, "label": label} for message, label in TRAIN]
    desk.write("cases.json", json.dumps(cases))
    desk.cases(more=FROM_A_FILE)
    run = cut_off(desk, MOMENT)
    change(desk)
    result = desk.run(f"--optimize-resume={run}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: *of its cases * of other parameters than then (*test_of_a_file*"])


def test_other_code_is_said(desk: Desk) -> None:
    """Nobody can know whether it matters."""
    desk.write("app.py", "def same(text): return text")
    desk.cases(more="\nfrom app import same\n")
    cut_off(desk, MOMENT)
    desk.write("app.py", "def same(text): return str(text)")
    desk.write("conftest.py", CONFTEST + "\n# later\n")
    result = resume(desk)
    assert "app.py, conftest.py have changed since the run was begun" in " ".join(result.stdout.str().split())


def other_schema(desk: Desk) -> tuple[str, ...]:
    (path,) = desk.path.glob(".promptopt/runs/*/journal.jsonl")
    path.write_text(path.read_text().replace('"schema": 1', '"schema": 0'))
    return ()


def damaged_journal(desk: Desk) -> tuple[str, ...]:
    (path,) = desk.path.glob(".promptopt/runs/*/journal.jsonl")
    lines = path.read_text().splitlines(keepends=True)
    lines[3] = lines[3].replace("billing", "x").replace("a", "b")
    path.write_text("".join(lines))
    return ()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (changed_prompt, "the prompt file prompts/sort.md has changed since"),
        (changed_test, "the test file test_it.py has changed since"),
        (other_model, "the model of prompts/sort.md was demo and is house/other"),
        (other_optimizer, "the model of the optimizer was demo and is house/other"),
        (other_seed, "seed was 0 and is 8"),
        (fewer_cases, "* of its cases are no longer selected (*"),
        (other_schema, "*journal.jsonl:1: * the checksum does not fit*"),
        (damaged_journal, "*journal.jsonl:4: not an event of a journal: *"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason_before_any_call(
    desk: Desk, change: Any, reason: str
) -> None:
    run = cut_off(desk, MOMENT)
    args = change(desk)
    text, asked = desk.text, len(desk.told)
    result = desk.run(f"--optimize-resume={run}", *args)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: *{reason}*"])
    assert (desk.text, len(desk.told)) == (text, asked)


def test_a_run_that_is_not_there_is_refused(desk: Desk) -> None:
    assert desk.run("--optimize-resume").ret == pytest.ExitCode.USAGE_ERROR
    result = desk.run("--optimize-resume", "tests/")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --optimize-resume: there is no run 'tests/' in *=RUN"])


# ------------------------------------------------------------------------------- what it has written already


def finished(desk: Desk) -> str:
    """The id of a run that has written an improved text."""
    assert optimize(desk, "--promptopt-cache=use").ret in (0, 1)
    assert desk.text != WEAK
    return runs(desk)[-1]


PRESS = """
def pytest_promptopt_iteration_finished(iteration):
    os.kill(os.getpid(), signal.SIGINT)
"""


@pytest.mark.parametrize(
    ("args", "status"),
    [
        (("--optimize-dry-run",), (0, 1)),
        (("--promptopt-max-calls=3",), (4,)),
        (("--promptopt-model=house/other",), (4,)),
        (("--promptopt-max-calls=24",), (0, 1)),
        (("ctrl-c",), (2,)),
        ((), (0, 1)),
    ],
    ids=["dry run", "low ceiling", "refused", "ceiling", "ctrl-c", "once more"],
)
def test_only_another_decision_changes_what_a_run_has_written(
    desk: Desk, args: tuple[str, ...], status: tuple[int, ...]
) -> None:
    run = finished(desk)
    improved = desk.prompt.read_bytes(), desk.prompt.stat().st_ino
    if args == ("ctrl-c",):
        desk.write("conftest.py", CONFTEST + PRESS)
        args = ()
    options = ("--tb=no", "-p", "no:asyncio", f"--optimize-resume={run}", *args)
    assert desk.pytester.runpytest_subprocess(*options, timeout=60).ret in status
    assert (desk.prompt.read_bytes(), desk.prompt.stat().st_ino) == improved


def test_another_decision_puts_the_original_back_and_says_so(desk: Desk) -> None:
    run = finished(desk)
    refuse = """
def pytest_promptopt_accept(comparison):
    from pytest_promptopt.optimizer.acceptance import Verdict
    return Verdict(False, "on second thoughts")
"""
    desk.write("conftest.py", CONFTEST + refuse)
    result = desk.run(f"--optimize-resume={run}", "--tb=no")
    assert desk.text == WEAK
    assert "prompts/sort.md was put back as it was before the run" in " ".join(result.stdout.str().split())


def test_a_damaged_account_is_made_anew_and_named(desk: Desk) -> None:
    run = cut_off(desk, MOMENT)
    ledger = desk.path / ".promptopt" / "runs" / run / "ledger.db"
    ledger.write_bytes(b"no database " * 400)
    result = resume(desk)
    assert result.ret in (0, 1)
    assert "made anew from the journal" in " ".join(result.stdout.str().split())
    assert list(ledger.parent.glob("ledger.db.damaged-*"))


def test_a_damaged_last_run_is_named_and_no_older_one_taken_for_it(desk: Desk) -> None:
    cut_off(desk, MOMENT)
    run = cut_off(desk, MOMENT)
    (desk.path / ".promptopt" / "runs" / run / "journal.jsonl").write_text("garbage\nmore\n")
    result = desk.run("--optimize-resume")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: --optimize-resume: the last run {run} is damaged (*"])


@pytest.mark.parametrize("option", ["--optimize-resume=", "--promptopt-restore="])
def test_an_empty_name_of_a_run_is_none(desk: Desk, option: str) -> None:
    """As a script has it whose variable is not set."""
    cut_off(desk, MOMENT)
    asked = len(desk.told)
    result = desk.run(option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {option.rstrip('=')}: there is no run '' in *"])
    assert len(desk.told) == asked


# ------------------------------------------------------------------------------------------------ the runs


def test_runs_are_listed_with_how_they_ended(desk: Desk) -> None:
    assert desk.run("--promptopt-runs").outlines[0].startswith("no runs in ")
    killed = cut_off(desk, MOMENT, by="SIGKILL")
    desk.optimize("--promptopt-max-iterations=1")
    (finished,) = set(runs(desk)) - {killed}
    result = desk.run("--promptopt-runs")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.re_match_lines(
        [
            r"run +begun +state +calls +cost +prompts",
            rf"{finished} .* finished +\d+ .* prompts/sort.md: improved, written",
            rf"{killed} .* killed +\d+ .* prompts/sort.md",
        ]
    )
    result.stdout.no_fnmatch_line("*test session starts*")


def test_the_original_prompts_are_restored(desk: Desk) -> None:
    desk.prompt.chmod(0o640)
    desk.optimize("--promptopt-max-iterations=1")
    (run,) = runs(desk)
    assert desk.text != WEAK
    result = desk.run(f"--promptopt-restore={run}")
    assert (result.ret, result.outlines) == (pytest.ExitCode.OK, ["prompts/sort.md: restored"])
    assert desk.text == WEAK
    assert desk.prompt.stat().st_mode & 0o777 == 0o640
    result = desk.run(f"--promptopt-restore={run}")
    assert result.outlines == ["prompts/sort.md: is as it was before the run"]


def test_a_later_edit_is_never_restored_over(desk: Desk) -> None:
    desk.optimize("--promptopt-max-iterations=1")
    (run,) = runs(desk)
    desk.prompt.write_text("My own words: {{ message }}\n")
    result = desk.run(f"--promptopt-restore={run}")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        ["prompts/sort.md: left alone, * somebody changed it later; *original/prompts/*"]
    )
    assert desk.text == "My own words: {{ message }}\n"
    assert desk.run("--promptopt-restore=nothing").ret == pytest.ExitCode.USAGE_ERROR


# -------------------------------------------------------------------------------------------- one at a time


OTHER = """
import subprocess, sys
from pathlib import Path

def pytest_promptopt_iteration_finished(iteration):
    second = [sys.executable, "-m", "pytest", "--optimize", "-p", "no:asyncio", "-p", "no:cacheprovider"]
    found = subprocess.run(second, capture_output=True, text=True, cwd=HERE)
    (HERE / "second").write_text(f"{found.returncode} {found.stderr}")
"""


def test_a_second_run_is_refused_and_told_which_is_the_first(desk: Desk) -> None:
    desk.write("conftest.py", CONFTEST + OTHER)
    desk.optimize("--promptopt-max-iterations=1")
    (run,) = runs(desk)
    said = (desk.path / "second").read_text()
    assert re.match(rf"4 ERROR: run {run} \(process \d+, since .*\) is at work on the prompts", said)


def test_the_lock_of_a_killed_run_is_taken_over(desk: Desk) -> None:
    cut_off(desk, MOMENT, by="SIGKILL")
    assert (desk.path / ".promptopt" / "running.json").exists(), "it had no time to tidy up"
    assert desk.optimize("--promptopt-max-iterations=1").ret == pytest.ExitCode.TESTS_FAILED
    assert not (desk.path / ".promptopt" / "running.json").exists()


def test_fresh_answers_that_went_before_spared_cases_are_gone_on_with(desk: Desk) -> None:
    """Under a low ceiling the new text is run with them, and after them, on cases that it was spared."""
    train = [(f"{text}, {number}", label) for number in range(12) for text, label in TRAIN]
    desk.cases(train=train, validation=[], heldout=[])
    option = "--promptopt-max-calls=90"
    optimize(desk, option, "--promptopt-report=report.json")
    asked, before = len(desk.told), desk.report["run"]["prompts"][0]
    desk.prompt.write_text(WEAK)
    shutil.rmtree(desk.path / ".promptopt")
    (desk.path / "asked.log").unlink()
    cut_off(desk, asked - before["caught_up"]["calls"] - 2, option)
    kinds = [event.event for event in desk.events]
    assert "confirming" in kinds
    assert "confirmation" not in kinds
    resume(desk)
    after = desk.report["run"]["prompts"][0]
    for name in ("verdict", "pairs", "better", "worse"):
        assert after["confirmation"][name] == before["confirmation"][name]
    assert after["caught_up"]["cases"] >= before["caught_up"]["cases"] - 8, "but for what was in flight"
    assert len(desk.told) <= 90
    assert set(answered(desk).values()) == {1}, "no answer is paid twice"
