"""``--optimize --promptopt-model=NEW --promptopt-from-model=OLD``: a prompt is moved to another model."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.acceptance.two_models import OF_BOTH, OF_NEW, OF_OLD, TwoModels

FROM_OLD = "--promptopt-from-model=house/old"


@pytest.fixture
def world(pytester: pytest.Pytester) -> TwoModels:
    return TwoModels(pytester, cases=40)


def rates(world: TwoModels) -> dict[str, tuple[Any, Any, int]]:
    """Before, after and cases, by model."""
    migration = world.outcome["migration"]
    return {
        migration[side]["model"]: (score["before"], score["after"], score["cases"])
        for side in ("old", "new")
        for score in migration[side]["scores"]
    }


@pytest.mark.parametrize("workers", [0, 2], ids=["plain", "xdist"])
def test_the_new_model_decides_and_both_are_shown_on_held_out_cases(world: TwoModels, workers: int) -> None:
    result = world.optimize("house/new", [OF_NEW], FROM_OLD, workers=workers)
    assert (world.outcome["outcome"], world.text, result.ret) == ("improved", OF_NEW, 0)
    found = rates(world)
    heldout = next(score for score in world.outcome["scores"] if score["split"] == "heldout")
    assert found["house/new"] == (0.0, 1.0, heldout["cases"])
    before, after, cases = found["house/old"]
    assert (before, cases) == (1.0, heldout["cases"])
    assert 0.2 < after < 0.7
    result.stdout.fnmatch_lines(
        [
            f"  migration: {cases} held-out cases with both models",
            "    model            before  after",
            "    house/old (old)  100.0%  *",
            "    house/new (new)  0.0%    100.0%",
        ]
    )


def test_nothing_is_told_of_the_old_model_and_its_cases_are_no_tests(world: TwoModels) -> None:
    result = world.optimize("house/new", [OF_NEW], FROM_OLD)
    assert "collected 40 items" in result.outlines
    assert not [line for line in result.outlines if "-house/old]" in line]
    [prompt] = world.report["prompts"]
    assert {each["model"] for each in prompt["results"]} == {"house/new"}
    assert all(each["id"] == each["case"] for each in prompt["results"])
    # Only the held-out cases were asked, under both texts.
    asked = [call for call in world.asked() if call["model"] == "house/old"]
    assert len(asked) == 2 * rates(world)["house/old"][2]
    texts = [json.dumps(call["messages"]) for call in world.asked() if call["model"] == "house/writer"]
    assert not any("house/old" in text for text in texts)


def test_a_text_that_suits_both_is_seen_to(world: TwoModels) -> None:
    world.optimize("house/new", [OF_BOTH], FROM_OLD)
    assert [found[:2] for found in rates(world).values()] == [(1.0, 1.0), (0.0, 1.0)]


def test_what_is_no_better_with_the_new_model_is_not_written(pytester: pytest.Pytester) -> None:
    """The old one would gain by it."""
    world = TwoModels(pytester, text="Tersely. Question {{ number }}", cases=40)
    world.optimize("house/new", ["Gently. Question {{ number }}", "Never. Question {{ number }}"], FROM_OLD)
    assert world.text == "Tersely. Question {{ number }}"
    assert rates(world)["house/old"][:2] == (0.0, None)
    assert rates(world)["house/new"][:2] == (1.0, None)


def test_cases_of_a_file_are_moved_as_well(world: TwoModels) -> None:
    cases = "".join(f"  - {{number: {number}, expected: right}}\n" for number in range(40))
    world.write("evals/answer.promptopt.yaml", f"prompt: ../prompts/answer.md\ncases:\n{cases}")
    (world.path / "test_it.py").unlink()
    world.optimize("house/new", [OF_BOTH], FROM_OLD)
    assert world.text == OF_BOTH
    assert [found[:2] for found in rates(world).values()] == [(1.0, 1.0), (0.0, 1.0)]


def test_a_dry_run_shows_the_migration_and_writes_nothing(world: TwoModels) -> None:
    world.write("proposals.json", json.dumps([OF_NEW]))
    options = (
        "--promptopt-model=house/new",
        FROM_OLD,
        "--promptopt-candidates=1",
        "--promptopt-examples=off",
    )
    result = world.run("--optimize-dry-run", *options, "--promptopt-max-iterations=1", "--tb=no")
    assert world.text == OF_OLD
    result.stdout.fnmatch_lines(["  migration: * held-out cases with both models"])


def test_without_held_out_cases_there_is_no_evidence_of_either(world: TwoModels) -> None:
    world.ini("promptopt_optimizer_model = house/writer")
    result = world.optimize("house/new", [OF_NEW], FROM_OLD)
    assert world.text == OF_NEW
    assert world.outcome["migration"] == {
        "old": {"model": "house/old", "scores": []},
        "new": {"model": "house/new", "scores": []},
    }
    assert not [call for call in world.asked() if call["model"] == "house/old"]
    result.stdout.fnmatch_lines(["    house/old (old)  not measured  not measured"])


def test_an_old_model_that_cannot_be_asked_any_more_ends_no_run(world: TwoModels) -> None:
    world.optimize("house/new", [OF_NEW], "--promptopt-from-model=house/away")
    assert world.text == OF_NEW
    assert rates(world)["house/away"][:2] == (None, None)


def test_in_the_ini_file_it_waits_for_an_optimization(world: TwoModels) -> None:
    world.ini("promptopt_model = house/new", "promptopt_from_model = house/old", "promptopt_split = 60/0/40")
    assert "collected 40 items" in world.run().outlines
    assert not [call for call in world.asked() if call["model"] == "house/old"]


WRONG = {
    "without an optimization": (
        ("--promptopt-model=house/new", FROM_OLD),
        "*--promptopt-from-model=house/old is of a migration, which rewrites prompts: add --optimize",
    ),
    "without a new model": (
        ("--optimize", FROM_OLD),
        "*--promptopt-from-model=house/old names the model that the prompts were for: name the one that they "
        "are to be for with --promptopt-model=MODEL",
    ),
    "several new models": (
        ("--optimize", FROM_OLD, "--promptopt-model=house/a,house/b"),
        "*with --promptopt-model=MODEL; --promptopt-model=house/a,house/b names several",
    ),
    "the same model": (
        ("--optimize", FROM_OLD, "--promptopt-model=house/old"),
        "*--promptopt-model=house/old is the same model; a migration is between two",
    ),
    "several strategies": (
        ("--optimize-dry-run", FROM_OLD, "--promptopt-model=house/new", "--promptopt-strategy=refine,evolve"),
        "*a migration is done by one strategy, and --promptopt-strategy=refine,evolve names several",
    ),
    "no model": (
        ("--optimize", "--promptopt-from-model=old", "--promptopt-model=house/new"),
        "*--promptopt-from-model: 'old' names no model: *",
    ),
}


@pytest.mark.parametrize(("given", "said"), WRONG.values(), ids=WRONG)
def test_what_is_no_migration_is_refused(world: TwoModels, given: tuple[str, ...], said: str) -> None:
    result = world.run(*given)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([said])
    assert not world.asked()


def test_a_prompt_that_names_its_model_cannot_be_moved_by_the_option(world: TwoModels) -> None:
    world.write("prompts/answer.md", f"---\nmodel: house/old\n---\n{OF_OLD}\n")
    result = world.optimize("house/new", [OF_NEW], FROM_OLD)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [
            "*--promptopt-from-model=house/old: no case asks --promptopt-model=house/new: "
            "prompts/answer.md:2 names house/old; take the name out there, and the option names the model"
        ]
    )
