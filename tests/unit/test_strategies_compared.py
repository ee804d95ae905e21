"""Somebody compares strategies: each is judged as if it were alone, whoever paid for an answer."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace

import pytest

from pytest_promptopt.optimizer.confirmation import EarlierRuns
from pytest_promptopt.optimizer.protocols import StopRun, Trial
from pytest_promptopt.optimizer.strategy import Strategy
from pytest_promptopt.records import CaseResult, Message, Request, Role, Usage
from pytest_promptopt.reports.comparison import comparison_summary
from pytest_promptopt.results import RunResult
from pytest_promptopt.strategies import BUILT_IN
from pytest_promptopt.strategies.comparison import compare_strategies, share_ceilings
from pytest_promptopt.strategies.metered_evaluator import MeteredEvaluator
from tests.refine_world import HELDOUT, SETTINGS, VALIDATION, Need, World, needs
from tests.unit.test_strategies import learner

OWN = {name: BUILT_IN[name] for name in ("refine", "evolve", "hybrid")}


def compared(
    world: World, strategies: dict[str, Strategy], *, aside: int = 0, **settings: float
) -> RunResult:
    chosen = replace(SETTINGS, strategy=tuple(strategies), **settings)  # type: ignore[arg-type]
    return compare_strategies(
        strategies,
        world.prompts,
        world.context(chosen),
        heldout=[case.id for case in world.cases if case.split is HELDOUT],
        history=lambda group: EarlierRuns(),
        open_journal=lambda name: None,
    )


def world() -> World:
    return World(needs("a b c -") + needs("a b", VALIDATION) + needs("a b c", HELDOUT), learner)


def calls(run: RunResult, role: Role = Role.TARGET) -> int:
    return run.spend[role].calls


# ----------------------------------------------------------------------------- a comparison


def test_every_strategy_has_a_result_of_its_own_and_nothing_is_written() -> None:
    one = world()
    result = compared(one, OWN)
    assert [run.strategy for run in result.compared] == ["refine", "evolve", "hybrid"]
    assert {run.prompts[0].outcome for run in result.compared} == {"improved"}
    assert {run.prompts[0].unwritten for run in result.compared} == {"dry run"}
    assert one.written == {}
    assert (result.prompts, result.strategy) == ((), "refine,evolve,hybrid")


def test_what_a_strategy_finds_and_pays_does_not_depend_on_those_before_it() -> None:
    def found(run: RunResult) -> tuple[object, ...]:
        return (run.prompts[0].after, run.prompts[0].why, calls(run), calls(run, Role.OPTIMIZER))

    both = compared(world(), OWN).compared
    turned = compared(world(), dict(reversed(OWN.items()))).compared
    assert [found(run) for run in both] == [found(run) for run in reversed(turned)]


def test_every_ceiling_is_shared_equally() -> None:
    given = {"max_calls": 100, "max_tokens": 100, "max_cost": 6.0, "max_time": 6.0}
    settings = replace(SETTINGS, strategy=("refine", "evolve", "hybrid"), **given)  # type: ignore[arg-type]
    assert {name: getattr(share_ceilings(settings), name) for name in given} == {
        "max_calls": 33,
        "max_tokens": 33,
        "max_cost": 2.0,
        "max_time": 2.0,
    }
    assert {getattr(share_ceilings(SETTINGS), name) for name in given} == {None}
    assert {field.name for field in fields(SETTINGS) if field.name.startswith("max_")} == {
        *given,
        "max_iterations",
        "max_cost_per_case",  # a gate
    }, "no ceiling is forgotten"


@pytest.mark.parametrize("ceiling", [20, 60, 90, 150, 300])
def test_no_strategy_exceeds_its_share(ceiling: int) -> None:
    result = compared(world(), OWN, aside=2, max_calls=ceiling)
    for run in result.compared:
        assert calls(run) + calls(run, Role.OPTIMIZER) <= ceiling // 3


def test_ctrl_c_ends_the_comparison_with_what_was_found() -> None:
    one = world()
    one.interrupt = "ask 3"
    result = compared(one, OWN)
    assert result.interrupted
    assert len(result.compared) < 3
    assert result.compared[-1].interrupted


# ----------------------------------------------------------------------------- the meter


def metered(world: World, **limits: object) -> MeteredEvaluator:
    return MeteredEvaluator(world, world.ask, **limits)  # type: ignore[arg-type]


def test_the_same_question_is_on_the_tab_once() -> None:
    meter = metered(World(needs("a b")))
    for _ in range(2):
        meter.evaluate([Trial({}, ("train-1-a", "train-2-b"))])
    meter.evaluate([Trial({"other.md": "x"}, ("train-1-a",))])
    assert meter.spend()[Role.TARGET].calls == 2
    meter.evaluate([Trial({}, ("train-1-a",), (7,)), Trial({"route.md": "x"}, ("train-1-a",))])
    assert meter.spend()[Role.TARGET].calls == 4
    for sample in (0, 0, 1):
        meter.ask([Request("demo", (Message("user", "?"),), sample=sample)])
    assert meter.spend()[Role.OPTIMIZER].calls == 2


def test_what_does_not_fit_whole_is_not_begun_and_what_is_known_is_free() -> None:
    one = World(needs("a b c"))
    meter = metered(one, max_calls=3)
    meter.evaluate([Trial({}, ("train-1-a", "train-2-b"))])
    with pytest.raises(StopRun, match="share of 3 calls does not hold the next 3"):
        meter.evaluate([Trial({"route.md": "x"}, ("train-1-a", "train-2-b", "train-3-c"))])
    assert len(one.evaluated) == 1
    meter.evaluate([Trial({}, ("train-1-a", "train-2-b"))])
    meter.reserve_for_scoring(1)
    with pytest.raises(StopRun, match="1 of them set aside for scoring the result"):
        meter.ask([Request("demo", (Message("user", "?"),))])
    meter.reserve_for_scoring(0)
    meter.ask([Request("demo", (Message("user", "?"),))])


@dataclass
class Dear(World):
    """Every call to the target takes 30 tokens and 2 cents."""

    def _results(self, trial: Trial) -> tuple[CaseResult, ...]:
        return tuple(
            replace(
                result,
                outcomes=tuple(
                    replace(each, calls=tuple(replace(c, usage=Usage(10, 20), cost=0.02) for c in each.calls))
                    for each in result.outcomes
                ),
            )
            for result in super()._results(trial)
        )


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"max_tokens": 90}, "share of 90 tokens is spent"),
        ({"max_cost": 0.06}, "share of $0.06 is spent"),
        ({"max_time": 4.0}, "share of 4 s is spent"),
    ],
)
def test_other_ceilings_end_a_strategy_before_a_batch_and_leave_what_scoring_takes(
    limits: dict[str, float], said: str
) -> None:
    seconds = iter([0, 1, 2, 3, 3.5, 4])
    meter = metered(Dear(needs("a b c d")), clock=lambda: next(seconds), **limits)
    meter.reserve_for_scoring(1)
    meter.evaluate([Trial({}, ("train-1-a",))])
    meter.evaluate([Trial({}, ("train-2-b",))])
    meter.evaluate([Trial({}, ("train-2-b",))])
    with pytest.raises(StopRun, match=re.escape(said + " but for what is set aside")):
        meter.evaluate([Trial({}, ("train-3-c",))])
    meter.reserve_for_scoring(0)
    meter.evaluate([Trial({}, ("train-3-c",))])
    with pytest.raises(StopRun, match=re.escape(said + " (--promptopt-max")):
        meter.evaluate([Trial({}, ("train-4-d",))])


def test_a_case_is_taken_to_make_as_many_calls_as_before() -> None:
    one = World([Need("both", "a", prompts=("route.md", "reply.md"))])
    one.prompts = [replace(one.prompts[0], name=name) for name in ("route.md", "reply.md")]
    meter = metered(one, max_calls=3)
    meter.evaluate([Trial({}, ("both",))])
    with pytest.raises(StopRun, match="does not hold the next 2"):
        meter.evaluate([Trial({"route.md": "x"}, ("both",))])


# ----------------------------------------------------------------------------- the table


def table(result: RunResult, *, width: int = 130) -> list[str]:
    return [line.text for line in comparison_summary(result, alpha=0.05, width=width)]


def test_the_table_has_a_row_for_each_strategy() -> None:
    result = compared(world(), OWN)
    lines = table(result)
    assert lines[0] == "route.md"
    header, before, *rows = lines[1:6]
    assert header.split() == [
        "strategy",
        "train",
        "validation",
        "held-out",
        "gain",
        "calls",
        "tokens",
        "cost",
        "time",
    ]
    assert before.split() == ["(before)", "25.0%", "0.0%", "0.0%", "[0-56]"]
    assert [row.split()[:4] for row in rows] == [[name, "100.0%", "100.0%", "100.0%"] for name in OWN]
    for row, run in zip(rows, result.compared, strict=True):
        assert f"{calls(run)} + {calls(run, Role.OPTIMIZER)}" in row
    assert any(line.startswith("refine: target reached: ") for line in lines)


def test_a_narrow_terminal_has_two_tables() -> None:
    lines = table(compared(world(), OWN), width=80)
    assert max(map(len, lines)) <= 80
    assert [line.split() for line in lines if line.startswith("  strategy")] == [
        ["strategy", "train", "validation", "held-out", "gain"],
        ["strategy", "calls", "tokens", "cost", "time"],
    ]


def test_prompts_that_share_no_case_have_a_table_each_and_one_bill() -> None:
    cases = [*needs("a b"), Need("other", "a", prompts=("reply.md",))]
    one = World(cases, learner)
    one.prompts = [*one.prompts, replace(one.prompts[0], name="reply.md")]
    lines = table(compared(one, OWN))
    assert [line for line in lines if line in ("route.md", "reply.md")] == ["route.md", "reply.md"]
    assert sum(line.lstrip().startswith("all prompts") for line in lines) == 1
    assert any(line.startswith("evolve (reply.md): ") for line in lines)


def test_a_strategy_that_did_not_get_its_turn_is_no_row() -> None:
    one = world()
    one.interrupt = "ask 1"
    lines = table(compared(one, OWN))
    assert lines[0] == "interrupted: what follows is what was known by then"
    assert [line.split()[0] for line in lines if line.startswith(("  refine", "  evolve"))] == ["refine"]
