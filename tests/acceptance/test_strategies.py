"""`--promptopt-strategy`: one way to search, or several side by side, as their users know them."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import pytest

from pytest_promptopt import journal
from pytest_promptopt.strategies import EXTERNAL, load_strategy
from tests import reachable
from tests.acceptance.desk import CONFTEST, HELDOUT, TRAIN, VALIDATION, WEAK, Desk

OWN = ["refine", "evolve", "hybrid"]

#: `demo`, which as an optimizer also answers the engines of other libraries, in the form that each asks for.
POLYGLOT = """
import json, re
from dataclasses import replace
from pathlib import Path
from pytest_promptopt.models.demo import DemoModel

BETTER = "Sort it into one of these: card_arrival, exchange_rate, pin_blocked. Answer with the label only."

class Polyglot:
    async def complete(self, request):
        text = request.messages[-1].content
        with Path(__file__).with_name("asked.log").open("a", encoding="utf-8") as log:
            log.write(json.dumps([message.content for message in request.messages]) + chr(10))
        answer = await DemoModel().complete(request)
        if "Provide the new instructions" in text:
            return replace(answer, text=f"```\\n{BETTER}\\n```")
        if "Respond with a JSON object" in text:
            fields = re.findall(r"`(\\w+)`", text.rpartition("order of fields")[2])
            return replace(answer, text=json.dumps(dict.fromkeys(fields, BETTER)))
        if "Respond with the corresponding output fields" in text:
            fields = re.findall(r"\\[\\[ ## (\\w+) ## \\]\\]", text.rpartition("Respond")[2])
            return replace(answer, text="".join(f"[[ ## {field} ## ]]\\n{BETTER}\\n\\n" for field in fields))
        return answer

    async def aclose(self):
        pass

def pytest_promptopt_resolve_model(name):
    return Polyglot()
"""

needs_peer = pytest.mark.parametrize(
    "peer",
    [
        pytest.param(
            name,
            marks=pytest.mark.skipif(
                not all(map(importlib.util.find_spec, packages)), reason=f"the extra {name} is not installed"
            ),
        )
        for name, (packages, *_) in EXTERNAL.items()
    ],
)


@pytest.fixture(autouse=True, scope="module")
def peers() -> None:
    """Loaded before the runs in process: what one of them imports is forgotten with it."""
    for name, (packages, *_) in EXTERNAL.items():
        if all(map(importlib.util.find_spec, packages)):
            load_strategy(name, {})


@pytest.fixture
def desk(pytester: pytest.Pytester) -> Desk:
    return Desk(pytester)


def compare(desk: Desk, *args: str, strategies: str = "refine,evolve,hybrid") -> pytest.RunResult:
    return desk.run(
        "--optimize-dry-run",
        f"--promptopt-strategy={strategies}",
        "--tb=no",
        "--promptopt-report=report.json",
        *args,
    )


# ----------------------------------------------------------------------------- one


@pytest.mark.parametrize("name", OWN)
def test_each_strategy_turns_red_green(desk: Desk, name: str) -> None:
    result = desk.optimize(f"--promptopt-strategy={name}")
    assert result.ret == pytest.ExitCode.OK
    assert "Answer with the label only." in desk.text
    assert (desk.report["run"]["strategy"], desk.report["run"]["compared"]) == (name, [])
    assert desk.report["settings"]["strategy"] == [name]
    assert next(event for event in desk.events if event.event == "start").data["settings"]["strategy"] == [
        name
    ]


@needs_peer
def test_an_engine_of_another_library_does_too(desk: Desk, peer: str) -> None:
    desk.write("conftest.py", POLYGLOT)
    result = desk.optimize(f"--promptopt-strategy={peer}")
    assert result.ret == pytest.ExitCode.OK
    assert desk.text.endswith("Answer with the label only.\n\n{{ message }}\n")
    result.stdout.fnmatch_lines(["prompts/sort.md: improved, train *", "  written:  prompts/sort.md"])
    assert "Bootstrap" not in result.stdout.str() + result.stderr.str()
    calls = [event.data["role"] for event in desk.events if event.event == "call"]
    assert "optimizer" in calls, "its calls are counted and kept as all are"
    told = "".join(text for text in desk.told if "Provide the new" in text or "Respond with" in text)
    assert TRAIN[0][0] in told
    assert not [message for message, _ in VALIDATION + HELDOUT if message in told]


@pytest.mark.parametrize("name", OWN[1:])
def test_a_ceiling_holds_whatever_the_strategy(desk: Desk, name: str) -> None:
    desk.optimize(f"--promptopt-strategy={name}", "--promptopt-max-calls=13")
    assert len(desk.told) <= 13
    assert desk.report["run"]["prompts"][0]["stop"] == "budget used up"


MINE = """
from pytest_promptopt.records import Split
from pytest_promptopt.optimizer.candidates import ACCEPTED, Candidate
from pytest_promptopt.optimizer.base_search import BaseSearch
from pytest_promptopt.optimizer.halting import Phase, Stop

class Mine(BaseSearch):
    def search(self):
        (prompt,) = self.group.prompts
        self.halted(Phase.TRAINING, self.best)
        candidate = Candidate("1.1", (prompt.name,), "known", overlay={prompt.name: prompt.prose.replace(
            "pin_blocked.", "pin_blocked. Answer with the label only.")})
        self.journal_candidate(candidate)
        (results,) = self.evaluate([candidate.overlay], self.group.ids(Split.TRAIN))
        candidate = candidate.ran(results).decided(ACCEPTED, "I know it")
        self.best = candidate.to_evaluated()
        self.finish_iteration(Phase.TRAINING, [candidate], self.best)
        return Stop("enough", "one try will do")

    def finalists(self):
        return [self.best]

def pytest_promptopt_strategies():
    return {"mine": Mine}
"""


def test_a_strategy_of_a_plugin_is_confirmed_scored_and_written_like_any(desk: Desk) -> None:
    desk.write("conftest.py", CONFTEST + MINE)
    result = desk.optimize("--promptopt-strategy=mine")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        [
            "  confirmed: *",
            "  held-out: *",
            "  stopped:  enough: one try will do",
            "  written:  prompts/sort.md",
        ]
    )
    assert not [text for text in desk.told if "<current_prompt>" in text]


# ----------------------------------------------------------------------------- what it must not see

#: Six lines that know the ids of held-out cases from the test file.
PEEKING = """
from pytest_promptopt.api import BaseSearch, Phase, Stop

class Peek(BaseSearch):
    def search(self):
        self.halted(Phase.TRAINING, self.best)
        for id in {ids}:
            print("held out:", id, self.evaluate([{{}}], [id])[0][0].outcomes)
        return Stop("seen", "all held-out cases are known")

def pytest_promptopt_strategies():
    return {{"peek": Peek}}
"""


def peeked(desk: Desk, cases: Sequence[tuple[str, str]]) -> pytest.RunResult:
    ids = [f"test_it.py::test_sort[{message}-{label}]" for message, label in cases]
    desk.write("conftest.py", CONFTEST + PEEKING.format(ids=ids))
    return desk.run("--optimize-dry-run", "-s", "--tb=no", "--promptopt-strategy=peek")


def test_a_strategy_cannot_print_the_verdicts_of_held_out_cases(desk: Desk) -> None:
    result = peeked(desk, HELDOUT)
    assert "held out:" not in result.stdout.str()
    result.stdout.fnmatch_lines(
        [
            "  stopped:  error: the strategy raised at conftest.py:*: UnknownCaseError:",
            f" *'test_it.py::test_sort?{HELDOUT[0][0]}-*",
            " *is none of the 4 training and 2 validation cases of this*",
        ]
    )
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert desk.text == WEAK


def test_the_same_strategy_can_print_those_of_its_own_cases(desk: Desk) -> None:
    assert peeked(desk, TRAIN + VALIDATION).stdout.str().count("held out:") == 6


#: Walks from the search and from what the hooks are handed, before and after the search has done its work.
WALKING = """
import io, sqlite3, sys
from pathlib import Path
import pytest
from reachable import reachable
from pytest_promptopt.api import RefineSearch
from pytest_promptopt.records import Case, Split

KEPT = {kept}
OF_THE_RUN = (pytest.Config, pytest.Session, pytest.Item, io.IOBase, sqlite3.Connection)
NAMES = {{"OptimizationRun", "SuspendingEngine", "ModelClient", "Ledger", "Journal", "ResponseCache",
          "RunStore", "CaseRunner", "RunContext", "CallBudget", "PromptCase", "EventLoopThread"}}
SEARCHES = []

def walk(when, start):
    count = 0
    with open("walked.log", "a") as log:
        for way, found in reachable(start):
            count += 1
            told = isinstance(found, str) and any(text in found for text in KEPT)
            kept = isinstance(found, Case) and found.split is Split.HELDOUT
            if told or kept or isinstance(found, OF_THE_RUN) or type(found).__name__ in NAMES:
                log.write(f"LEAK {{when}} {{way}}: {{type(found).__name__}}" + chr(10))
        log.write(f"{{when}} {{count}}" + chr(10))

class Walker(RefineSearch):
    def search(self):
        SEARCHES.append(self)
        walk("begin", self)
        stop = super().search()
        walk("end", self)
        self.ended = True
        return stop

def pytest_promptopt_strategies():
    return {{"walker": Walker}}

def pytest_promptopt_propose(request, ask):
    walk("propose", (request, ask))

def pytest_promptopt_categorize(case):
    # The report also asks for the category of a held-out case, when all is over.
    if SEARCHES and not hasattr(SEARCHES[-1], "ended"):
        walk("categorize", case)

def pytest_sessionfinish():
    walk("after", SEARCHES)
"""


def test_a_walk_from_a_strategy_of_the_users_own_reaches_nothing_held_out(desk: Desk) -> None:
    desk.write("reachable.py", Path(reachable.__file__).read_text(encoding="utf-8"))
    kept = [*(message for message, _ in HELDOUT), "lost_card"]
    desk.write("conftest.py", CONFTEST + WALKING.format(kept=kept))
    result = desk.optimize("--promptopt-strategy=walker")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["  held-out: *"])
    walked = (desk.path / "walked.log").read_text(encoding="utf-8").splitlines()
    assert [line for line in walked if line.startswith("LEAK")] == []
    counts = {when: int(count) for when, count in map(str.split, walked)}
    assert set(counts) == {"begin", "end", "propose", "categorize", "after"}
    assert counts["begin"] > 100, "it sees what a search does have"


# ----------------------------------------------------------------------------- several


def test_several_are_compared_in_one_table_and_nothing_is_written(desk: Desk) -> None:
    result = compare(desk)
    assert desk.text == WEAK
    assert result.ret == pytest.ExitCode.TESTS_FAILED, "pytest's own loop ran the prompt as it is"
    result.stdout.fnmatch_lines(
        [
            "promptopt: strategy refine",
            "promptopt: strategy evolve",
            "*strategies compared*",
            "prompts/sort.md",
            "  strategy *held-out *",
            "  (before) *0.0% *",
            "  refine *100.0% *",
            "  evolve *100.0% *",
            "  hybrid *100.0% *",
            "refine: target reached: *",
            "  texts and journal: .promptopt/runs/*-refine/journal.jsonl",
            "target *",
        ]
    )
    run = desk.report["run"]
    assert (run["prompts"], run["id"], run["journal"]) == ([], None, None)
    assert [each["strategy"] for each in run["compared"]] == OWN
    for each in run["compared"]:
        (prompt,) = each["prompts"]
        assert (prompt["outcome"], prompt["written"]) == ("improved", False)
        assert [score["split"] for score in prompt["scores"]] == ["train", "validation", "heldout"]


def test_answers_are_paid_once_and_counted_for_each(desk: Desk) -> None:
    compare(desk)
    run = desk.report["run"]
    alone = [sum(spend["calls"] for spend in each["spend"].values()) for each in run["compared"]]
    assert sum(spend["calls"] for spend in run["spend"].values()) == len(desk.told) < sum(alone)
    paid = {}
    for name in OWN:
        other = Desk(desk.pytester)
        for log in ("asked.log", "report.json"):
            (other.path / log).unlink(missing_ok=True)
        other.run(
            "--optimize-dry-run",
            f"--promptopt-strategy={name}",
            "--tb=no",
            "--promptopt-cache=off",
            "--promptopt-report=report.json",
        )
        spend = other.report["run"]["spend"]
        heldout = sum(score["split"] == "heldout" for score in other.report["run"]["prompts"][0]["scores"])
        assert heldout, "so pytest's own loop pays for nothing more"
        paid[name] = sum(role["calls"] for role in spend.values())
    assert dict(zip(OWN, alone, strict=True)) == paid


def test_each_has_a_journal_that_can_be_read(desk: Desk) -> None:
    compare(desk)
    for each in desk.report["run"]["compared"]:
        path = desk.path / each["journal"]
        events = journal.read_events(Path(path))
        assert [events[0].event, events[-1].event] == ["opened", "end"]
        assert events[1].data["settings"]["strategy"] == [each["strategy"]]
        assert events[-1].data["strategy"] == each["strategy"]
        assert path.parent.name.endswith(f"-{each['strategy']}")


@pytest.mark.parametrize("ceiling", [40, 60, 120, 240])
def test_a_ceiling_is_shared_and_holds(desk: Desk, ceiling: int) -> None:
    result = compare(desk, f"--promptopt-max-calls={ceiling}")
    result.stdout.fnmatch_lines(
        [f"promptopt: --promptopt-max-calls={ceiling} ({ceiling // 3} for each of 3 strategies) buys *"]
    )
    assert len(desk.told) <= ceiling
    for each in desk.report["run"]["compared"]:
        assert sum(spend["calls"] for spend in each["spend"].values()) <= ceiling // 3


def test_a_share_that_leaves_nothing_for_the_search_is_a_usage_error(desk: Desk) -> None:
    result = compare(desk, "--promptopt-max-calls=18")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: --promptopt-max-calls=18 (6 for each of 3 strategies): running * is the least; *"]
    )
    assert not (desk.path / "asked.log").exists()


def test_ctrl_c_shows_what_was_found_by_then(desk: Desk) -> None:
    desk.write("ctrl-c", "18")
    result = desk.pytester.runpytest_subprocess(
        "--optimize-dry-run", "--promptopt-strategy=refine,evolve", "--tb=no", "-p", "no:asyncio", timeout=90
    )
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["interrupted: what follows is what was known by then", "  refine *"])
    result.stdout.no_fnmatch_line("  evolve *")
    result.stdout.no_fnmatch_line("*Traceback*")


# ----------------------------------------------------------------------------- what is wrong


def refused(desk: Desk, result: pytest.RunResult, *parts: str) -> None:
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    said = [line for line in result.errlines if line]
    assert len(said) == 1, said
    assert said[0].startswith("ERROR: ")
    assert [part for part in parts if part not in said[0]] == []
    assert desk.text == WEAK
    assert not (desk.path / "asked.log").exists()


def test_an_unknown_name_is_told_what_there_is(desk: Desk) -> None:
    desk.write("conftest.py", CONFTEST + MINE)
    accepted = "there is no 'refin'; accepted: refine, evolve, hybrid, gepa, dspy-gepa, dspy-miprov2, mine"
    refused(desk, desk.optimize("--promptopt-strategy=refin"), accepted)


@pytest.mark.parametrize("mode", ["--optimize", "-q"])
def test_several_need_a_dry_run(desk: Desk, mode: str) -> None:
    result = desk.run(mode, "--promptopt-strategy=refine,evolve")
    refused(
        desk, result, "--promptopt-strategy=refine,evolve: ", "add --optimize-dry-run, or name one strategy"
    )


@pytest.mark.parametrize("name", EXTERNAL)
def test_a_missing_extra_is_named(desk: Desk, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    missing = {package for packages, *_ in EXTERNAL.values() for package in packages}
    monkeypatch.setattr(
        "importlib.util.find_spec",
        lambda package, *more: None if package in missing else found(package, *more),
    )
    refused(desk, desk.optimize(f"--promptopt-strategy={name}"), f"pip install 'pytest-promptopt[{name}]'")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("1 / 0", "pytest_promptopt_strategies raised at conftest.py:"),
        ("['mine']", "accepted: a mapping of names to strategies, or None"),
        ("{'mine': 'x'}", "accepted: a mapping of names to strategies, or None"),
    ],
)
def test_a_hook_that_goes_wrong_is_named(desk: Desk, answer: str, said: str) -> None:
    desk.write("conftest.py", f"{CONFTEST}\ndef pytest_promptopt_strategies():\n    return {answer}\n")
    refused(desk, desk.optimize(), "pytest_promptopt_strategies", said)
