"""``--optimize`` with several models: one text, better on the mean, and worse with none."""

from __future__ import annotations

import re

import pytest

from tests.acceptance.two_models import OF_BOTH, OF_NEW, OF_OLD, TwoModels

BOTH = "house/old,house/new"


@pytest.fixture
def world(pytester: pytest.Pytester) -> TwoModels:
    return TwoModels(pytester)


@pytest.mark.parametrize("workers", [0, 2], ids=["plain", "xdist"])
def test_one_text_is_written_that_suits_both(world: TwoModels, workers: int) -> None:
    result = world.optimize(BOTH, [OF_BOTH], workers=workers)
    assert (world.outcome["outcome"], world.text) == ("improved", OF_BOTH)
    rates = world.rates()
    assert rates["house/old"] == {"train": (1.0, 1.0), "heldout": (1.0, 1.0)}
    assert rates["house/new"] == {"train": (0.0, 1.0), "heldout": (0.0, 1.0)}
    result.stdout.fnmatch_lines(
        [
            "prompts/answer.md: improved, train 50.0% -> 100.0%, held-out 50.0% -> 100.0%",
            "  model      train             held-out*",
            "  house/old  100.0% -> 100.0%  100.0% -> 100.0%",
            "  house/new  0.0% -> 100.0%    0.0% -> 100.0%",
        ]
    )
    assert result.ret == 0


def test_the_optimizer_is_told_which_model_answered(world: TwoModels) -> None:
    world.optimize(BOTH, [OF_BOTH])
    first = next(call for call in world.asked() if call["model"] == "house/writer")
    assert "the test's parameters: model = house/new" in first["messages"][-1][1]


def test_a_text_that_is_better_on_the_mean_and_worse_with_one_is_not_written(world: TwoModels) -> None:
    """On the mean it gains 30 points: 100 with the new model, and -40 with the old one."""
    world.confuse_two_of_five()
    result = world.optimize(BOTH, [OF_NEW])
    assert world.text == OF_OLD
    assert (world.outcome["outcome"], world.outcome["confirmation"]) == ("unchanged", None)
    assert "is worse with one of the models: it fails " in world.outcome["note"]
    assert result.ret == 1


def test_one_that_is_much_worse_with_one_model_is_turned_down_in_the_search(world: TwoModels) -> None:
    """On the mean it gains 20 points: 100 with the new model, and -60 with the old one."""
    result = world.optimize(BOTH, [OF_NEW])
    assert world.text == OF_OLD
    assert (world.outcome["outcome"], world.outcome["confirmation"]) == ("unchanged", None)
    candidate = world.outcome["iterations"][0]["candidates"][0]
    lost = re.match(r"it fails \d+ that the original passed: (.*)", candidate["why"])
    assert lost, candidate
    assert all("house/old" in case for case in lost[1].split(", "))
    assert result.ret == 1


def test_the_search_goes_on_to_a_text_that_suits_both(world: TwoModels) -> None:
    world.optimize(BOTH, [OF_NEW, OF_NEW.replace("Gently", "Very. Gently"), OF_BOTH])
    assert world.text == OF_BOTH


def test_a_fall_that_only_held_out_cases_show_blocks_the_write(world: TwoModels) -> None:
    """The old model is confused on held-out questions only."""
    world.write(
        "conftest.py",
        (world.path / "conftest.py").read_text().replace("number % 5 < 3", "number in UNSEEN")
        + "\nUNSEEN = set(json.loads((HERE / 'unseen.json').read_text()))\n",
    )
    world.write("unseen.json", "[]")
    world.run("--promptopt-model=house/old", "--promptopt-report=report.json")
    heldout = [r["id"] for r in world.report["prompts"][0]["results"] if r["split"] == "heldout"]
    world.write("unseen.json", str([int(id.partition("[")[2][:-1]) for id in heldout]))
    result = world.optimize(BOTH, [OF_NEW], "--promptopt-cache=off")
    outcome = world.outcome
    assert (outcome["outcome"], outcome["worse_with"], world.text) == ("worse", "house/old", OF_OLD)
    assert world.rates()["house/old"]["heldout"] == (1.0, 0.0)
    result.stdout.fnmatch_lines(["prompts/answer.md: worse with house/old, left alone, *"])
    assert (
        "with house/old it is worse than the original: on fresh answers and held-out" in outcome["unwritten"]
    )


def test_with_one_model_nothing_is_said_of_models(world: TwoModels) -> None:
    result = world.optimize("house/new", [OF_NEW])
    assert (world.outcome["models"], world.outcome["worse_with"], world.text) == ([], None, OF_NEW)
    assert "house/new" not in "\n".join(line for line in result.outlines if line.startswith("  "))


def test_a_model_that_cannot_be_asked_does_not_end_the_search_of_the_others(world: TwoModels) -> None:
    world.optimize("house/new,house/away", [OF_NEW])
    assert world.text == OF_NEW
