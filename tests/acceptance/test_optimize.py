"""`pytest --optimize`, as its users know it: red turns green, and every figure can be counted again."""

from __future__ import annotations

import os
import re
import stat
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from pytest_promptopt import unpatched
from pytest_promptopt.optimizer.confirmation import FIRST_SAMPLE
from pytest_promptopt.prompts import unified_diff
from pytest_promptopt.pytest_engine.assigned_mocks import AssignedMocks
from tests.acceptance.desk import CONFTEST, GOOD, HELDOUT, HOPELESS, TRAIN, VALIDATION, WEAK, Desk, passing


@pytest.fixture
def desk(pytester: pytest.Pytester) -> Desk:
    return Desk(pytester)


# ------------------------------------------------------------------------------------------- red turns green


def test_a_red_prompt_is_rewritten_and_what_changed_is_shown(desk: Desk) -> None:
    assert desk.run("--tb=no").ret == pytest.ExitCode.TESTS_FAILED
    assert desk.text == WEAK, "a plain run writes no prompt"
    result = desk.optimize()
    assert result.ret == pytest.ExitCode.OK
    assert desk.text == GOOD
    result.assert_outcomes(passed=7)
    lines = result.stdout.lines
    diff = unified_diff(WEAK.rstrip("\n"), GOOD.rstrip("\n"), name="").split("\n")[2:]
    start = lines.index("  diff:") + 1
    assert lines[start : start + len(diff)] == [f"    {line}" for line in diff]
    result.stdout.fnmatch_lines(
        [
            "prompts/sort.md: improved, train 0.0% -> 100.0%, validation 0.0% -> 100.0%, *0.0% -> 50.0%",
            "  written:  prompts/sort.md",
        ]
    )


def test_a_dry_run_shows_the_diff_and_writes_no_prompt(desk: Desk) -> None:
    result = desk.run("--optimize-dry-run", "--tb=no")
    assert result.ret == pytest.ExitCode.TESTS_FAILED, "pytest's own loop ran the prompt as it is"
    assert desk.text == WEAK
    result.stdout.fnmatch_lines(
        [
            "  before: 0.0% of * training cases, 0.0% of 2 validation cases",
            "prompts/sort.md: improved, not written: dry run",
            "    +Answer with the label only.",
            "  written:  no; *",
        ]
    )
    assert "written" not in desk.kinds()
    paid = len(desk.told)
    assert desk.optimize().ret == pytest.ExitCode.OK
    assert desk.text == GOOD
    confirming = desk.report["run"]["prompts"][0]["confirmation"]["calls"]
    assert len(desk.told) == paid + confirming, "all but fresh answers are in the cache"


def test_a_passing_prompt_is_left_alone(desk: Desk) -> None:
    desk.prompt.write_text(GOOD)
    result = desk.optimize()
    assert result.ret == pytest.ExitCode.OK
    assert desk.text == GOOD
    result.stdout.fnmatch_lines(["prompts/sort.md: no failing case, left alone"])
    assert len(desk.told) == len(TRAIN + VALIDATION + HELDOUT), "no candidate was asked for"


def test_of_several_prompts_each_has_its_own_fate(desk: Desk) -> None:
    desk.write("prompts/green.md", GOOD)
    desk.write("prompts/one.md", WEAK)
    desk.write("prompts/two.md", WEAK.replace("{{ message }}", "{{ message }} ({{ first }})"))
    desk.cases(
        more="""
@pytest.mark.prompt("prompts/green.md")
@pytest.mark.parametrize(("message", "label"), TRAIN)
def test_green(prompt, message, label):
    assert prompt(message=message) == label

@pytest.mark.prompt(one="prompts/one.md", two="prompts/two.md")
@pytest.mark.parametrize(("message", "label"), TRAIN)
def test_pipeline(prompts, message, label):
    first = prompts["one"](message=message)
    assert prompts["two"](message=message, first=first) == label
"""
    )
    result = desk.optimize()
    assert result.ret == pytest.ExitCode.OK
    found = desk.report["run"]["prompts"]
    fates = {prompt["prompt"]: (prompt["outcome"], prompt["written"]) for prompt in found}
    assert fates == {
        "prompts/sort.md": ("improved", True),
        "prompts/green.md": ("passing", False),
        "prompts/one.md": ("unchanged", False),
        "prompts/two.md": ("improved", True),
    }
    assert (desk.path / "prompts/one.md").read_text() == WEAK
    assert "Answer with the label only." in (desk.path / "prompts/two.md").read_text()
    result.stdout.fnmatch_lines(
        [
            "pipeline of prompts/one.md and prompts/two.md, train *",
            "  at fault: two 4 of 4 failing cases*",
            "prompts/one.md: unchanged",
            "prompts/two.md: improved",
        ]
    )


FRONT = b"---\nkeep: [Sort it.]\n---\nSort it.\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (WEAK.replace("\n", "\r\n").encode(), GOOD.replace("\n", "\r\n").encode()),
        (b"\xef\xbb\xbf" + WEAK.encode(), b"\xef\xbb\xbf" + GOOD.encode()),
        (FRONT + WEAK.encode(), FRONT + GOOD.encode()),
        (WEAK.strip().encode(), GOOD.strip().encode()),
    ],
    ids=["crlf", "bom", "front-matter", "no-final-newline"],
)
def test_only_the_prose_of_a_file_changes(pytester: pytest.Pytester, before: bytes, after: bytes) -> None:
    desk = Desk(pytester, before)
    desk.optimize()
    assert desk.prompt.read_bytes() == after


def test_mode_and_symlink_of_a_prompt_file_stay(desk: Desk) -> None:
    target = desk.path / "real.md"
    desk.prompt.rename(target)
    target.chmod(0o640)
    desk.prompt.symlink_to("../real.md")
    desk.optimize()
    assert desk.prompt.is_symlink()
    assert target.read_text() == GOOD
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


# ----------------------------------------------------------------------------------------------- the figures


def test_every_figure_of_the_report_can_be_counted_again(desk: Desk) -> None:
    result = desk.optimize()
    (prompt,) = desk.report["run"]["prompts"]
    for score, cases in zip(prompt["scores"], (TRAIN, VALIDATION, HELDOUT), strict=True):
        before, after = passing(WEAK, cases), passing(desk.text, cases)
        assert score["cases"] == len(cases)
        assert (score["before"], score["after"]) == (sum(before) / len(cases), sum(after) / len(cases))
        pairs = list(zip(before, after, strict=True))
        assert (score["fixed"], score["broken"]) == (pairs.count((False, True)), pairs.count((True, False)))
    assert (prompt["before"], prompt["after"]) == (WEAK.rstrip("\n"), desk.text.rstrip("\n"))
    calls = [event.data for event in desk.events if event.event == "call"]
    assert len(calls) == len(desk.told) == len({call["key"] for call in calls}), "no call is paid twice"
    spend = desk.report["run"]["spend"]
    assert sum(role["calls"] for role in spend.values()) == len(calls)
    assert sum(role["output_tokens"] for role in spend.values()) == sum(
        call["answer"]["usage"][1] for call in calls
    )
    result.stdout.re_match_lines([rf"total +{len(calls)} "])


def test_the_report_of_a_plain_run_is_that_of_the_final_loop(desk: Desk) -> None:
    desk.optimize()
    optimized = desk.report["prompts"]
    desk.run("--promptopt-report=report.json")
    assert desk.report["prompts"] == optimized
    assert desk.report["run"] is None


def test_what_a_killed_run_left_beside_a_prompt_is_cleared_away(desk: Desk) -> None:
    stray = desk.path / "prompts/.sort.md.promptopt-dead.tmp"
    stray.write_text("half a text")
    desk.optimize()
    assert not stray.exists()


def test_the_journal_tells_the_run_in_order(desk: Desk) -> None:
    desk.optimize()
    kinds = [kind for kind in desk.kinds() if kind not in ("call", "results")]
    assert kinds == [
        "opened",
        "start",
        "planned",
        "candidate",
        "candidate",
        "round",
        "round",
        "iteration",
        "learned",
        "stop",
        "confirming",
        "confirmation",
        "heldout",
        "writing",
        "written",
        "end",
    ]
    (written,) = (event for event in desk.events if event.event == "written")
    assert written.data["text"] == desk.text.rstrip("\n")
    (original,) = desk.path.glob(".promptopt/runs/*/original/prompts/sort.md")
    assert original.read_text() == WEAK


def test_a_gain_is_confirmed_with_answers_that_no_step_has_seen(desk: Desk) -> None:
    result = desk.optimize("-v")
    (prompt,) = desk.report["run"]["prompts"]
    assert prompt["confirmation"]["verdict"] == "improved"
    assert prompt["confirmation"]["pairs"] == 2 * len(TRAIN + VALIDATION), "each case twice"
    assert prompt["confirmation"]["estimate"] == 1.0
    result.stdout.fnmatch_lines(["prompts/sort.md: confirmation", "  confirmed: +100.0 points *"])
    calls = [event.data for event in desk.events if event.event == "call"]
    samples = [call["sample"] for call in calls if call["role"] == "target"]
    fresh = [sample for sample in samples if sample]
    assert len(fresh) == 2 * prompt["confirmation"]["pairs"] == prompt["confirmation"]["calls"]
    assert min(fresh) >= FIRST_SAMPLE
    (told,) = (event.data for event in desk.events if event.event == "confirmation")
    assert told["p"] == prompt["confirmation"]["p"] <= 0.05


#: `demo`, but the target's answer is chance: it has nothing to do with the prompt.
COIN = """
from dataclasses import replace
from pytest_promptopt.models.demo import DemoModel

class Coin:
    async def complete(self, request):
        answer = await DemoModel().complete(request)
        text = "tails" if int(request.key, 16) % 2 else "heads"
        if "<current_prompt>" in request.messages[-1].content:
            prose = f"Toss {request.key}: {{{{ message }}}}"
            text = f"<reason>luck</reason><new_prompt>{prose}</new_prompt>"
        return replace(answer, text=text)

    async def aclose(self):
        pass

def pytest_promptopt_resolve_model(name):
    return Coin()
"""


def test_luck_is_not_written(desk: Desk) -> None:
    desk.write("conftest.py", COIN)
    desk.cases(train=[(f"toss {number}", "heads") for number in range(20)], validation=[], heldout=[])
    for seed in range(20):  # until a search is lucky
        # Fresh answers are other tosses in every run: here they are to mislead this test once in a thousand.
        result = desk.optimize(
            "--promptopt-max-iterations=6", f"--promptopt-seed={seed}", "--promptopt-alpha=0.001"
        )
        (prompt,) = desk.report["run"]["prompts"]
        train = prompt["scores"][0]
        if train["after"] > train["before"]:
            break
    assert train["after"] > train["before"], "a search was lucky"
    assert (prompt["outcome"], prompt["written"], desk.text) == ("not shown", False, WEAK)
    assert prompt["confirmation"]["pairs"] >= 60, "till then it might still be shown"
    result.stdout.fnmatch_lines(
        [
            "prompts/sort.md: gain not shown, left alone, train *",
            "  not shown: * points on fresh answers, a gain of * points would be*",
        ]
    )


def test_a_ceiling_says_before_the_first_call_what_it_can_confirm(desk: Desk) -> None:
    result = desk.optimize("--promptopt-max-calls=120")
    result.stdout.fnmatch_lines(
        ["promptopt: --promptopt-max-calls=120 buys about * confirm its gain, 4 for scoring *"]
    )


def test_no_held_out_or_validation_text_is_told_to_the_optimizer(desk: Desk) -> None:
    desk.cases(train=[*TRAIN, HOPELESS])
    desk.optimize("--promptopt-max-iterations=4")
    asked = desk.told
    to_optimizer = [number for number, text in enumerate(asked) if "<current_prompt>" in text]
    told = "".join(asked[number] for number in to_optimizer)
    assert HOPELESS[0] in told
    assert not [message for message, _ in VALIDATION + HELDOUT if message in told]
    of_heldout = [asked.index(text) for text in asked if text.rstrip().endswith(tuple(dict(HELDOUT)))]
    assert min(of_heldout) > max(to_optimizer), "held-out cases run after the search"


def test_held_out_failures_have_a_status_of_their_own_and_fail_no_optimized_session(desk: Desk) -> None:
    result = desk.optimize("-v")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        ["*is my pin blocked now-lost_card* HELD-OUT FAILED*", "* 7 passed, 1 held-out failed in *"]
    )
    assert desk.run("--tb=no").ret == pytest.ExitCode.TESTS_FAILED, "a plain run knows ordinary tests only"


def test_a_skipped_case_is_no_evidence(desk: Desk) -> None:
    desk.cases(
        heldout=HELDOUT[:1],
        more="""
@pytest.mark.prompt("prompts/sort.md")
@pytest.mark.heldout
@pytest.mark.parametrize("number", range(20))
def test_later(prompt, number):
    prompt(message=str(number))
    pytest.skip("not yet")
""",
    )
    desk.optimize()
    (heldout,) = (
        score for score in desk.report["run"]["prompts"][0]["scores"] if score["split"] == "heldout"
    )
    assert (heldout["cases"], heldout["after"], heldout["errored"]) == (1, 1.0, 0)
    assert heldout["interval"][0] < 0.25, "one case shows little, however many were skipped"


def test_a_case_that_still_fails_fails_the_session(desk: Desk) -> None:
    desk.cases(train=[*TRAIN, HOPELESS])
    result = desk.optimize("--promptopt-max-iterations=1")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        ["  stopped:  max iterations: the limit --promptopt-max-iterations=1 is reached"]
    )
    assert "Answer with the label only." in desk.text, "better is written, even if not perfect"


def test_the_search_stops_at_the_target(desk: Desk) -> None:
    desk.cases(train=[*TRAIN, HOPELESS])
    result = desk.optimize("--promptopt-target=0.8")
    result.stdout.fnmatch_lines(["  stopped:  target reached: *"])


# ------------------------------------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize("moment", [3, 12, 18], ids=["first-evaluation", "candidates", "held-out"])
def test_ctrl_c_ends_an_optimization_at_once_and_changes_nothing(desk: Desk, moment: int) -> None:
    desk.write("ctrl-c", str(moment))
    result = desk.pytester.runpytest_subprocess("--optimize", "--tb=no", "-p", "no:asyncio", timeout=60)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert desk.text == WEAK
    result.stdout.fnmatch_lines(
        ["interrupted: what follows is what was known by then", "journal: *", "*KeyboardInterrupt*"]
    )
    result.stdout.no_fnmatch_line("*Traceback*")
    assert not result.errlines
    kinds = desk.kinds()
    assert kinds.count("call") == len(desk.told), "what was cut off is in the journal, too"
    assert "end" in kinds
    assert "written" not in kinds


LATE = """
import pytest_promptopt.{module} as module
real = module.{name}

def late(*args):
    os.kill(os.getpid(), signal.SIGINT)
    return real(*args)

module.{name} = late
"""


@pytest.mark.parametrize(
    ("module", "name"), [("prompts.writing", "sync_folder"), ("optimizer.finalizer", "Finalizer.results")]
)
def test_ctrl_c_after_a_file_was_written_comes_when_everything_says_so(
    desk: Desk, module: str, name: str
) -> None:
    desk.write("conftest.py", CONFTEST + LATE.format(module=module, name=name))
    result = desk.pytester.runpytest_subprocess("--optimize", "--tb=no", "-p", "no:asyncio", timeout=60)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert desk.text == GOOD
    result.stdout.fnmatch_lines(["prompts/sort.md: improved, *", "  written:  prompts/sort.md"])
    assert desk.events[-1].event == "end"
    assert desk.events[-1].data["prompts"][0]["written"]


def test_without_its_journal_a_run_writes_nothing(desk: Desk) -> None:
    """Nobody could put the original back."""
    remove = """
import shutil

def pytest_promptopt_iteration_finished(iteration):
    shutil.rmtree(HERE / ".promptopt", ignore_errors=True)
"""
    desk.write("conftest.py", CONFTEST + remove)
    result = desk.pytester.runpytest_subprocess("--optimize", "--tb=no", "-p", "no:asyncio", timeout=60)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert desk.text == WEAK
    assert "was removed during the run, and the journal with it" in " ".join(result.stdout.str().split())
    result.stdout.no_fnmatch_line("journal: *")


@pytest.mark.parametrize("mode", ["--optimize", "-v"])
def test_after_ctrl_c_no_call_is_sent_and_those_in_flight_are_cancelled(desk: Desk, mode: str) -> None:
    """All calls hang; the user presses Ctrl-C when five are in flight and three wait for their turn."""
    hanging = "        await asyncio.sleep(60)\n        return await DemoModel"
    model = CONFTEST.replace("        return await DemoModel", hanging)
    desk.write("conftest.py", model.replace("            await asyncio.sleep(60)\n", ""))
    desk.write("ctrl-c", "5")
    options = (mode, "--tb=no", "-p", "no:asyncio", "--promptopt-concurrency=5")
    result = desk.pytester.runpytest_subprocess(*options, timeout=30)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert len(desk.told) == 5


def test_a_prompt_that_was_edited_meanwhile_is_not_overwritten(desk: Desk) -> None:
    desk.write(
        "conftest.py",
        CONFTEST
        + """
def pytest_promptopt_iteration_finished(iteration):
    (HERE / "prompts" / "sort.md").write_text("My own words: {{ message }}")
""",
    )
    result = desk.optimize()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert desk.text == "My own words: {{ message }}"
    (prompt,) = desk.report["run"]["prompts"]
    assert not prompt["written"]
    assert "changed on disk" in prompt["unwritten"]
    (beside,) = desk.prompt.parent.glob("sort.md.optimized-*")
    assert beside.read_text() == GOOD
    assert beside.name in prompt["unwritten"]
    result.stdout.fnmatch_lines(["prompts/sort.md: improved, not written: *changed on disk*"])
    result.stdout.no_fnmatch_line("*is as it was*")
    (kept,) = (event for event in desk.events if event.event == "not written")
    assert kept.data["text"] == GOOD.rstrip("\n"), "the work is not lost"


def test_a_text_that_could_not_be_put_into_its_file_fails_the_session(desk: Desk) -> None:
    desk.cases(heldout=HELDOUT[:1])
    desk.write(
        "conftest.py",
        CONFTEST
        + """
def pytest_promptopt_iteration_finished(iteration):
    (HERE / "prompts" / "sort.md").write_text("Answer with the label only, please.\\n\\n" + WEAK)
"""
        + f"WEAK = {WEAK!r}\n",
    )
    result = desk.optimize()
    result.assert_outcomes(passed=7)
    assert result.ret == pytest.ExitCode.TESTS_FAILED, "the user has a text to look at"
    assert desk.text.startswith("Answer with the label only, please.")


def test_a_disk_that_is_full_costs_no_prompt_and_no_answer(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.replace

    def full(source: str, target: str | Path) -> None:
        if str(target).endswith("sort.md"):
            raise OSError(28, "No space left on device")
        real(source, target)

    monkeypatch.setattr(os, "replace", full)
    result = desk.optimize()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert desk.text == WEAK
    assert [path.name for path in desk.prompt.parent.glob(".*")] == [], "no half of a file stays"
    result.stdout.fnmatch_lines(
        ["prompts/sort.md: improved, not written: *No space left on device; *beside*"]
    )


def test_a_journal_that_cannot_be_written_stops_the_run_in_a_sentence(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.write
    calls = []

    def full(descriptor: int, content: bytes) -> int:
        if content.startswith(b'{"seq": ') and b'"event": "call"' in content:
            calls.append(content)
            if len(calls) > 8:
                raise OSError(28, "No space left on device")
        return real(descriptor, content)

    with monkeypatch.context() as disk:
        disk.setattr(unpatched.os, "write", full)
        result = desk.optimize("--promptopt-cache=off")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    (said,) = desk.report["run"]["errors"]
    assert fnmatchcase(said, "*journal.jsonl: cannot be written: *No space left on device*")
    assert "INTERNALERROR" not in result.stdout.str() + result.stderr.str()
    assert desk.text == WEAK
    assert desk.run("--optimize-resume", "--tb=no").ret == pytest.ExitCode.OK
    assert desk.text == GOOD


def test_a_model_of_unknown_price_is_refused_before_the_first_call_under_a_ceiling_of_money(
    desk: Desk,
) -> None:
    result = desk.optimize("--promptopt-max-cost=5")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: the price of demo is unknown, so --promptopt-max-cost=5 cannot hold*"]
    )
    assert not (desk.path / "asked.log").exists()


@pytest.mark.parametrize("ceiling", [500, 3_000, 9_000, 100_000])
def test_a_ceiling_on_tokens_holds_for_the_whole_session(desk: Desk, ceiling: int) -> None:
    desk.write("prompts/sort.md", "---\nmax_tokens: 20\n---\n" + WEAK)
    desk.optimize(f"--promptopt-max-tokens={ceiling}", "--promptopt-candidates=1")
    spend = desk.report["run"]["spend"]
    assert sum(role["input_tokens"] + role["output_tokens"] for role in spend.values()) <= ceiling
    (prompt,) = desk.report["run"]["prompts"]
    assert prompt["written"] or prompt["stop"] == "budget used up"
    assert prompt["written"] or ceiling < 100_000


def test_time_that_is_over_ends_the_search_with_what_it_has(desk: Desk) -> None:
    """What hangs is cut off at the ceiling."""
    desk.write(
        "conftest.py",
        CONFTEST.replace("return await DemoModel", "await asyncio.sleep(60)\n        return await DemoModel"),
    )
    result = desk.optimize("--promptopt-max-time=1s")
    result.stdout.fnmatch_lines(["*--promptopt-max-time*"])
    assert desk.text == WEAK
    assert desk.report["run"]["prompts"][0]["stop"] == "budget used up"


def test_a_provider_that_bills_more_than_it_can_stops_the_run_and_is_named(desk: Desk) -> None:
    desk.write(
        "conftest.py",
        CONFTEST.replace(
            "return await DemoModel().complete(request)",
            """answer = await DemoModel().complete(request)
        return replace(answer, usage=Usage(10, 90_000)) if self.asked == 9 else answer""",
        )
        + "from dataclasses import replace\nfrom pytest_promptopt.records import Usage\n",
    )
    result = desk.optimize("--promptopt-max-tokens=10000000", "--promptopt-cache=off")
    result.stdout.fnmatch_lines(
        ["promptopt: demo reports * tokens more than the * that its answer can take, *"]
    )
    assert desk.report["run"]["prompts"][0]["stop"] == "budget used up"
    assert desk.text == WEAK


@pytest.mark.parametrize("ceiling", [13, 20, 30, 40, 60])
def test_a_ceiling_on_calls_holds_for_the_whole_session(desk: Desk, ceiling: int) -> None:
    desk.optimize(f"--promptopt-max-calls={ceiling}")
    assert len(desk.told) <= ceiling
    assert desk.kinds().count("call") == len(desk.told)
    (prompt,) = desk.report["run"]["prompts"]
    assert prompt["written"] == (desk.text != WEAK)
    assert prompt["written"] or prompt["stop"] == "budget used up"
    assert all(result["error"] is None for result in desk.report["prompts"][0]["results"]), (
        "a held-out case without a call is skipped"
    )


def test_a_case_that_no_call_is_left_for_under_the_new_text_is_skipped(desk: Desk) -> None:
    """Fresh answers go before it: without them the text would not be written."""
    train = [(f"{text}, {number}", label) for number in range(12) for text, label in TRAIN]
    desk.cases(train=train, validation=[], heldout=[])
    result = desk.optimize("--promptopt-max-calls=90", "-rs")
    assert desk.text != WEAK
    assert result.ret in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
    result.stdout.fnmatch_lines(["SKIPPED * not run: the ceiling of 90 calls is reached *"])
    result.stdout.fnmatch_lines(["*no calls were left to run the new text on * cases"])
    assert result.parseoutcomes().get("errors", 0) == 0


def test_looking_at_what_cases_ask_does_not_go_through_all_modules_for_each(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There are thousands of them where an SDK is loaded."""
    looked: list[object] = []
    look = AssignedMocks.__init__

    def noted(mocks: AssignedMocks, modules: frozenset[str] | None) -> None:
        looked.append(modules)
        look(mocks, modules)

    monkeypatch.setattr(AssignedMocks, "__init__", noted)
    desk.cases(train=[(f"{text}, {number}", label) for number in range(6) for text, label in TRAIN])
    desk.optimize("--promptopt-cache=off")
    assert looked.count(None) <= 2


def test_a_ceiling_that_leaves_nothing_for_the_search_is_a_usage_error(desk: Desk) -> None:
    result = desk.optimize("--promptopt-max-calls=6")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: --promptopt-max-calls=6: running the train and validation * is the least; raise it *"]
    )
    assert not (desk.path / "asked.log").exists()


def test_what_scoring_takes_is_counted_after_cases_that_ask_the_same_share_a_split(desk: Desk) -> None:
    desk.cases(
        train=TRAIN[:2],
        validation=[],
        heldout=[],
        more=f"""
@pytest.mark.heldout
@pytest.mark.prompt("prompts/sort.md")
@pytest.mark.parametrize("text", [{TRAIN[0][0]!r}])
def test_again(prompt, text):
    assert prompt(message=text) == {TRAIN[0][1]!r}
""",
    )
    result = desk.optimize("--promptopt-max-calls=4")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --promptopt-max-calls=4: * cases once takes 1 calls and *"])


def test_answers_under_way_at_a_ceiling_are_kept(desk: Desk) -> None:
    slow = CONFTEST.replace(
        "return await DemoModel", "await asyncio.sleep(0.2)\n        return await DemoModel"
    )
    desk.write("conftest.py", slow)
    desk.optimize("--promptopt-max-calls=13")
    assert sorted(desk.told) == sorted(set(desk.told)), "nothing that was paid for is asked again"
    assert desk.report["run"]["spend"]["target"]["calls"] == len(TRAIN + VALIDATION)


def test_a_project_that_cannot_be_written_is_a_usage_error(desk: Desk) -> None:
    desk.write(".promptopt", "a file where the folder belongs")
    result = desk.optimize("--promptopt-cache=off")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: no journal of the run can be kept: *.promptopt*"])
    assert not (desk.path / "asked.log").exists()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everything")
def test_a_read_only_prompt_is_refused_before_the_first_call(desk: Desk) -> None:
    desk.prompt.chmod(0o444)
    result = desk.optimize()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: prompts/sort.md: the file is read-only*"])
    assert not (desk.path / "asked.log").exists()


# ------------------------------------------------------------------------------- with other options of pytest


@pytest.mark.parametrize("args", [("-qq",), ("-s",), ("-x",), ("-p", "no:terminal")])
def test_it_works_however_loud_pytest_is(desk: Desk, args: tuple[str, ...]) -> None:
    desk.cases(heldout=HELDOUT[:1])
    result = desk.run("--optimize", *args)
    assert result.ret == pytest.ExitCode.OK
    assert desk.text == GOOD


def test_deselected_cases_are_named_since_they_cannot_guard_the_prompt(desk: Desk) -> None:
    result = desk.optimize("-k", "pin")
    result.stdout.fnmatch_lines(["promptopt: 5 cases of prompts/sort.md deselected; they cannot guard it"])
    assert {result["id"] for result in desk.report["prompts"][0]["results"]} == {
        f"test_it.py::test_sort[{message}-{label}]"
        for message, label in TRAIN + VALIDATION + HELDOUT
        if "pin" in message
    }


def test_junit_xml_describes_the_prompt_that_is_on_disk(desk: Desk) -> None:
    desk.cases(heldout=HELDOUT[:1])
    desk.optimize("--junit-xml=junit.xml")
    xml = (desk.path / "junit.xml").read_text()
    assert re.search(r'errors="0" failures="0" skipped="0" tests="7"', xml)


def test_code_that_reads_the_prompt_itself_meets_the_candidates(desk: Desk) -> None:
    desk.write(
        "test_it.py",
        """
        import pytest

        @pytest.mark.prompt("prompts/sort.md")
        @pytest.mark.parametrize("word", ["label", "only"])
        def test_text(prompt, word):
            assert word in prompt.text

        @pytest.mark.prompt("prompts/sort.md")
        def test_file(prompt):
            assert "label only" in prompt.path.read_text()

        @pytest.mark.prompt("prompts/sort.md")
        def test_call(prompt):
            assert prompt(message="my pin is blocked") == "pin_blocked"
        """,
    )
    assert desk.optimize().ret == pytest.ExitCode.OK
    assert desk.text == GOOD


def test_rootdir_may_have_spaces_and_letters_of_any_script(pytester: pytest.Pytester) -> None:
    folder = pytester.path / "mein prøjekt 日本"
    folder.mkdir()
    os.chdir(folder)
    pytester._path = folder
    desk = Desk(pytester)
    assert Path(desk.path) == folder
    assert desk.optimize().ret == pytest.ExitCode.OK
    assert desk.text == GOOD


OWN_MODEL = """
from pathlib import Path

def application(prompt, message):
    return "later" if "wait" in prompt.text and "no hurry" in message else "now"

@pytest.mark.prompt("prompts/sort.md")
@pytest.mark.parametrize(("message", "label"), [("at once", "now"), ("there is no hurry", "later")])
def test_application(prompt, message, label):
    assert application(prompt, message) == label
"""


def test_cases_that_ask_a_model_by_themselves_teach_with_their_parameters_and_are_named(desk: Desk) -> None:
    desk.tests(OWN_MODEL)
    result = desk.run("--optimize", "--promptopt-max-iterations=1")
    assert all('input message: "there is no hurry"' in text for text in desk.told)
    result.stdout.fnmatch_lines(["promptopt: 2 cases that read the prompt and ask a model by themselves *"])


def test_a_prompt_that_no_case_uses_ends_the_run_before_the_optimizer_is_asked(desk: Desk) -> None:
    desk.tests(
        """
        @pytest.mark.prompt("prompts/sort.md")
        @pytest.mark.parametrize("number", [1, 2])
        def test_number(prompt, number):
            assert number == 2
        """
    )
    result = desk.run("--optimize")
    result.stdout.fnmatch_lines(["*prompt not used: no case uses what `prompt` gives it*"])
    assert not (desk.path / "asked.log").exists()


# ------------------------------------------------------------------------------------------------ the hooks


def test_a_hook_that_raises_before_the_first_call_ends_the_session_with_a_sentence(desk: Desk) -> None:
    name = "pytest_promptopt_resolve_model"
    desk.write("conftest.py", f"{CONFTEST}\ndef {name}(name):\n    return name.missing\n")
    line = len((desk.path / "conftest.py").read_text().splitlines())
    result = desk.optimize()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (said,) = [text for text in result.errlines if text]
    assert said.startswith(f"ERROR: {name} raised at conftest.py:{line}: AttributeError:")
    assert desk.text == WEAK
    assert not (desk.path / "asked.log").exists()


def test_so_does_a_strategy_that_raises_before_the_first_call(desk: Desk) -> None:
    desk.write(
        "conftest.py",
        f"{CONFTEST}\nfrom pytest_promptopt.api import RefineSearch\n"
        "class Broken(RefineSearch):\n    def __init__(self, *given):\n        1 / 0\n"
        "def pytest_promptopt_strategies():\n    return {'broken': Broken}\n",
    )
    result = desk.optimize("--promptopt-strategy=broken")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (said,) = [text for text in result.errlines if text]
    assert said.startswith("ERROR: the strategy raised at conftest.py:")
    assert said.endswith(": ZeroDivisionError: division by zero")
    assert desk.text == WEAK
    assert not (desk.path / "asked.log").exists()


@pytest.mark.parametrize("raises", ["1 / 0", "__import__('sys').exit(7)", "pytest.exit('enough')"])
@pytest.mark.parametrize(
    ("hook", "argument", "outcome"),
    [
        ("categorize", "case", "unchanged"),
        ("propose", "request", "unchanged"),
        ("accept", "comparison", "unchanged"),
        ("halt", "progress", "unchanged"),
        ("iteration_finished", "iteration", "improved"),
        ("run_finished", "result", "improved"),
    ],
)
def test_a_hook_that_raises_later_ends_the_search_and_fails_the_session(
    desk: Desk, hook: str, argument: str, outcome: str, raises: str
) -> None:
    name = f"pytest_promptopt_{hook}"
    desk.write("conftest.py", f"{CONFTEST}\nimport pytest\ndef {name}({argument}):\n    return {raises}\n")
    line = len((desk.path / "conftest.py").read_text().splitlines())
    result = desk.optimize()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    shown = result.stdout.str()
    assert "INTERNALERROR" not in shown + result.stderr.str()
    assert f"{name} raised at conftest.py:{line}: " in " ".join(shown.split())
    assert "prompt optimization" in shown
    assert "train and validation" not in result.stderr.str()
    assert desk.report["run"]["prompts"][0]["outcome"] == outcome
    assert len(desk.report["run"]["errors"]) == 1
    assert desk.text == (GOOD if outcome == "improved" else WEAK), "observers cannot steer"
    assert desk.kinds().count("end") == 1


def test_what_was_found_before_a_hook_raised_is_confirmed_and_written(desk: Desk) -> None:
    desk.write(
        "conftest.py",
        f"{CONFTEST}\ndef pytest_promptopt_halt(progress):\n"
        "    if progress.iterations:\n        raise ValueError('nobody has tested this')\n",
    )
    result = desk.optimize()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert desk.text == GOOD
    (prompt,) = desk.report["run"]["prompts"]
    assert (prompt["outcome"], prompt["stop"], prompt["written"]) == ("improved", "error", True)
    assert prompt["confirmation"]["verdict"] == "improved"
    shown = " ".join(result.stdout.str().split())
    assert "stopped: error: pytest_promptopt_halt raised at conftest.py:" in shown
    assert ": ValueError: nobody has tested this" in shown


#: `demo`, but one call of many ends with an exception that is no `ModelError`.
FAILING_MODEL = """

class Failing(Spy):
    async def complete(self, request):
        if self.asked == CALL:
            self.asked += 1
            await asyncio.sleep(0)
            raise ZeroDivisionError("nobody has tested this")
        return await super().complete(request)

def pytest_promptopt_resolve_model(name):
    return Failing()
"""


@pytest.mark.parametrize(
    ("call", "outcome", "stop"),
    [(2, "unchanged", "error"), (6, "unchanged", "error"), (20, "improved", "target reached")],
    ids=["of a case", "of the optimizer", "of the confirmation"],
)
def test_a_model_of_the_users_own_that_raises_ends_the_search_and_fails_the_session(
    desk: Desk, call: int, outcome: str, stop: str
) -> None:
    desk.write("conftest.py", CONFTEST + FAILING_MODEL.replace("CALL", str(call)))
    source = (desk.path / "conftest.py").read_text().splitlines()
    line = next(n for n, text in enumerate(source, 1) if "ZeroDivisionError" in text)
    result = desk.optimize()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    (prompt,) = desk.report["run"]["prompts"]
    assert (prompt["outcome"], prompt["stop"]) == (outcome, stop)
    assert desk.text == (GOOD if outcome == "improved" else WEAK)
    (said,) = desk.report["run"]["errors"]
    assert f" at conftest.py:{line} (ZeroDivisionError: nobody has tested this)" in said
    assert said in " ".join(result.stdout.str().split())


def test_what_was_found_before_a_model_raised_is_confirmed_and_written(desk: Desk) -> None:
    """A label that no prompt can earn keeps the search going, and the optimizer's second request fails."""
    desk.cases(train=[*TRAIN, HOPELESS])
    second = FAILING_MODEL.replace("self.asked == CALL", "self.tells(request)")
    tells = """
    requests = 0
    def tells(self, request):
        told = "<new_prompt>" in str(request.messages)
        self.requests += told
        return told and self.requests == 2
"""
    desk.write("conftest.py", CONFTEST + second.replace("class Failing(Spy):", f"class Failing(Spy):{tells}"))
    result = desk.optimize()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    (prompt,) = desk.report["run"]["prompts"]
    assert (prompt["outcome"], prompt["stop"], prompt["written"]) == ("improved", "error", True)
    assert "Answer with the label only." in desk.text


def test_when_the_model_is_mended_the_run_can_be_continued(desk: Desk) -> None:
    desk.write("conftest.py", CONFTEST + FAILING_MODEL.replace("CALL", "2"))
    desk.optimize()
    begun = len(desk.events)
    desk.write("conftest.py", CONFTEST)
    result = desk.run("--optimize-resume", "--tb=no", "--promptopt-report=report.json")
    assert desk.report["run"]["prompts"][0]["outcome"] == "improved"
    first = next(event.data["rates"] for event in desk.events[begun:] if event.event == "results")
    assert None not in first.values(), "what the model failed to answer was asked again"
    assert desk.report["run"]["errors"] == []
    assert desk.text == GOOD
    assert result.ret == pytest.ExitCode.OK


def test_a_strategy_that_raises_ends_its_own_column_only(desk: Desk) -> None:
    desk.write(
        "conftest.py",
        f"{CONFTEST}\nfrom pytest_promptopt.api import RefineSearch\n"
        "class Broken(RefineSearch):\n    def search(self):\n        return self.missing\n"
        "def pytest_promptopt_strategies():\n    return {'broken': Broken}\n",
    )
    report = "--promptopt-report=report.json"
    result = desk.run("--optimize-dry-run", "--tb=no", report, "--promptopt-strategy=broken,refine")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    broken, refined = desk.report["run"]["compared"]
    assert broken["prompts"][0]["stop"] == "error"
    assert broken["prompts"][0]["why"].startswith("the strategy raised at conftest.py:")
    assert refined["prompts"][0]["outcome"] == "improved"
    assert refined["errors"] == []


def test_a_cut_that_empties_a_turn_does_not_end_the_run(desk: Desk) -> None:
    desk.write("prompts/sort.md", "system:\nBe good.\nuser:\n{{ x }}\n")
    desk.tests(
        """
        @pytest.mark.prompt("prompts/sort.md")
        @pytest.mark.parametrize("x", [f"case {i}" for i in range(10)])
        def test_sort(prompt, x):
            assert prompt(x=x) == "yes"
        """
    )
    desk.write(
        "conftest.py",
        """
        from pytest_promptopt.records import Answer
        from pytest_promptopt.optimizer.proposal.replies import Reply

        class House:
            async def complete(self, request):
                text = request.messages[-1].content
                right = any("Sort" in each.content for each in request.messages) and text[-1] in "01"
                return Answer("yes" if right else "no", request.model, "end_turn", None, None, 0.0)
            async def aclose(self): ...

        def pytest_promptopt_resolve_model(name):
            return House()

        count = [0]

        def pytest_promptopt_propose(request, ask):
            count[0] += len(request.briefs)
            text = "system:\\nSort it, {}.\\nuser:\\n{{{{ x }}}}"
            return [Reply(text.format(count[0] + n), "") for n in range(len(request.briefs))]
        """,
    )
    result = desk.optimize("--promptopt-max-iterations=4")
    assert result.ret == pytest.ExitCode.TESTS_FAILED, "eight of ten cases still fail"
    assert not [line for line in result.errlines if line]
    assert desk.report["run"]["errors"] == []
    assert len(desk.report["run"]["prompts"][0]["iterations"]) >= 4
    assert "ablation" in desk.kinds(), "cuts were looked for"


def test_a_text_that_says_nothing_for_a_validation_case_is_refused_and_the_run_goes_on(desk: Desk) -> None:
    """Training cases do not show it: only the validation case gives an empty text."""
    desk.write("prompts/sort.md", "Input: {{ x }}\n")
    desk.tests(
        """
        CASES = ["a", "b", "c", "d", pytest.param("", marks=pytest.mark.validation)]

        @pytest.mark.prompt("prompts/sort.md")
        @pytest.mark.parametrize("x", CASES)
        def test_sort(prompt, x):
            assert prompt(x=x) in "abcd"
        """
    )
    desk.write(
        "conftest.py",
        """
        from pytest_promptopt.records import Answer
        from pytest_promptopt.optimizer.proposal.replies import Reply

        class House:
            async def complete(self, request):
                return Answer(request.messages[-1].content, request.model, "end_turn", None, None, 0.0)
            async def aclose(self): ...

        def pytest_promptopt_resolve_model(name):
            return House()

        def pytest_promptopt_propose(request, ask):
            return [Reply("{{ x }}", "") for brief in request.briefs]
        """,
    )
    result = desk.optimize("--promptopt-max-iterations=2", "--promptopt-examples=off")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert desk.report["run"]["errors"] == []
    (prompt,) = desk.report["run"]["prompts"]
    assert not prompt["written"]
    assert "it cannot be rendered for a case" in prompt["note"]


@pytest.mark.parametrize(
    ("hook", "answer", "accepted"),
    [
        ("categorize(case)", "' '", "accepted: a name, or None"),
        ("propose(request)", "[]", "accepted: a Reply or an InvalidReply for each of * brief*, or None"),
        ("accept(comparison)", "True", "accepted: Verdict, or None"),
        ("halt(progress)", "'enough'", "accepted: Stop, or None"),
    ],
)
def test_a_hook_that_answers_something_else_is_told_what_it_may_answer(
    desk: Desk, hook: str, answer: str, accepted: str
) -> None:
    desk.write("conftest.py", f"{CONFTEST}\ndef pytest_promptopt_{hook}:\n    return {answer}\n")
    result = desk.optimize()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    name = hook.partition("(")[0]
    (said,) = desk.report["run"]["errors"]
    assert fnmatchcase(said, f"pytest_promptopt_{name} returned *; {accepted}")


def test_a_model_hook_that_raises_is_an_error_of_every_case(desk: Desk) -> None:
    desk.write("conftest.py", "def pytest_promptopt_resolve_model(name):\n    return 1 / 0\n")
    result = desk.run()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        ["*pytest_promptopt_resolve_model raised at conftest.py:2: ZeroDivisionError*"]
    )
    assert "INTERNALERROR" not in result.stdout.str()


def test_a_hook_that_raises_in_a_plain_run_is_named_at_its_end(desk: Desk) -> None:
    desk.write("conftest.py", f"{CONFTEST}\ndef pytest_promptopt_categorize(case):\n    return 1 / 0\n")
    result = desk.run("--tb=no")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(
        ["promptopt: pytest_promptopt_categorize raised at conftest.py:*ZeroDivision*"]
    )
