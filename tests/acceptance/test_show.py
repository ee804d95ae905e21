"""`--promptopt-show`: the page of a past run from its journal, with the figures that the run had told."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from pytest_promptopt.journal import FILE_NAME
from tests import recount
from tests.acceptance.desk import CONFTEST, HELDOUT, TRAIN, VALIDATION, WEAK, Desk
from tests.acceptance.projects import Project
from tests.acceptance.test_html_report import number_of, text_of
from tests.acceptance.two_models import OF_BOTH, TwoModels
from tests.browser import NO_BROWSER, Page, browser, find_chromium
from tests.unit.test_reports_html import Parts

#: The same model, which tells tokens and takes money for each answer.
PRICED = CONFTEST.replace(
    "        return await DemoModel().complete(request)",
    """        from dataclasses import replace
        from pytest_promptopt.records import Usage

        answer = await DemoModel().complete(request)
        tokens = Usage(len(request.messages[-1].content), len(answer.text))
        return replace(answer, usage=tokens, cost=0.001)""",
)

#: The call while the first candidates are evaluated.
MOMENT = 11

Data = dict[str, Any]


@pytest.fixture
def desk(pytester: pytest.Pytester) -> Desk:
    desk = Desk(pytester)
    desk.write("conftest.py", PRICED)
    return desk


def show(desk: Desk, *args: str) -> Data:
    """The data in the page that is written, whose path is all that is said."""
    result = desk.run(*args or ("--promptopt-show",))
    assert result.ret == pytest.ExitCode.OK, result.stderr.str()
    (line,) = result.outlines
    return data_of(Path(line))


def data_of(page: Path) -> Data:
    data: Data = Parts(page.read_text(encoding="utf-8")).data("data")
    return data


def run_folder(desk: Desk) -> Path:
    (folder,) = desk.path.glob(".promptopt/runs/*")
    return folder


def killed(desk: Desk, *args: str, by: str = "SIGKILL") -> Path:
    """The folder of a run that got these signals at its call `MOMENT`."""
    desk.write("ctrl-c", str(MOMENT))
    desk.write("signals", by)
    options = ("--tb=no", "-p", "no:asyncio", "--promptopt-cache=off", *args)
    assert desk.pytester.runpytest_subprocess("--optimize", *options, timeout=90).ret not in (0, 1, 3)
    (desk.path / "ctrl-c").unlink()
    return run_folder(desk)


def test_a_past_run_has_the_page_that_it_had_written(desk: Desk) -> None:
    desk.optimize("--promptopt-report=report.html", "--promptopt-max-iterations=2")
    desk.prompt.write_text(WEAK)  # what is in the files now plays no part
    told, shown = data_of(desk.path / "report.html"), show(desk)
    assert shown["run"] == told["run"]
    assert shown["rows"] == shown["prompts"] == []
    facts = {**dict(shown["past"]), **dict(shown["settings"])}
    assert facts | {"run": run_folder(desk).name, "state": "finished", "model": "demo"} == facts
    assert facts["options"] == "max_iterations=2"
    assert shown["run"]["prompts"][0]["iterations"][0]["candidates"][0]["diff"]
    assert shown["run"]["prompts"][0]["passages"]["told"]
    assert show(desk, f"--promptopt-show={run_folder(desk).name}") == shown


def test_every_figure_of_a_report_equals_a_recount_of_the_journal(desk: Desk) -> None:
    """Calls, tokens, cost, rates, fixed and broken cases, iterations, candidates, the confirmation."""
    desk.cases(train=3 * TRAIN, validation=VALIDATION, heldout=HELDOUT)
    desk.optimize("--promptopt-max-iterations=3", "--promptopt-candidates=2")
    run, events = desk.report["run"], recount.lines_of(run_folder(desk) / FILE_NAME)
    recount.check_report(run, events)
    assert run["spend"]["target"]["cost"] == pytest.approx(0.001 * run["spend"]["target"]["calls"])
    assert run["spend"]["target"]["input_tokens"] > 100
    calls = [e["data"] for e in events if e["event"] == "call"]
    (confirmation,) = recount.named(events, "confirmation")
    fresh = [call for call in calls if call["sample"] >= confirmation["sample"]]
    assert run["prompts"][0]["confirmation"]["calls"] == len(fresh) > 0
    made = [e["event"] for e in events]
    # What pytest's own loop paid for stands after the end, and counts.
    assert run["spend"]["target"]["calls"] + run["spend"]["optimizer"]["calls"] == made.count("call")
    paid = desk.report["calls"]
    assert (paid["requests"], paid["cost"]) == (len(calls), pytest.approx(0.001 * len(calls)))


@pytest.mark.parametrize(
    ("models", "more"),
    [("house/old,house/new", ()), ("house/new", ("--promptopt-from-model=house/old",))],
    ids=["several models", "a migration"],
)
def test_with_several_models_the_journal_has_all_of_it(
    pytester: pytest.Pytester, models: str, more: tuple[str, ...]
) -> None:
    world = TwoModels(pytester, cases=40)
    world.optimize(models, [OF_BOTH], "--promptopt-report=report.html", *more)
    (folder,) = world.path.glob(".promptopt/runs/*")
    recount.check_report(world.report["run"], recount.lines_of(folder / FILE_NAME))
    assert world.run("--promptopt-show").ret == pytest.ExitCode.OK
    shown = data_of(folder / "report.html")["run"]
    assert shown == data_of(world.path / "report.html")["run"]
    assert len(shown["prompts"][0]["models"]) == 2
    assert cut_before_its_end(folder, world)["prompts"][0]["written"]


def cut_before_its_end(folder: Path, project: Project) -> Data:
    """The run on the page of a journal that was killed just before the end."""
    journal = folder / FILE_NAME
    lines = journal.read_bytes().splitlines(keepends=True)
    end = max(place for place, line in enumerate(lines) if json.loads(line)["event"] == "end")
    journal.write_bytes(b"".join(lines[:end]))
    assert project.run("--promptopt-show").ret == pytest.ExitCode.OK
    run: Data = data_of(folder / "report.html")["run"]
    return run


def test_of_several_strategies_each_has_a_page(desk: Desk) -> None:
    options = ("--promptopt-strategy=refine,evolve", "--promptopt-max-iterations=1")
    reports = ("--promptopt-report=report.html", "--promptopt-report=report.json")
    desk.run("--optimize-dry-run", "--tb=no", *options, *reports)
    told = data_of(desk.path / "report.html")["run"]["compared"]
    for each, run in zip(desk.report["run"]["compared"], told, strict=True):
        assert show(desk, f"--promptopt-show={each['id']}")["run"] == run


def test_of_a_continued_run_all_processes_are_recounted(desk: Desk) -> None:
    folder = killed(desk, "--promptopt-max-iterations=1", by="SIGINT")
    assert show(desk)["run"]["interrupted"]
    desk.run(
        "--optimize-resume", "--tb=no", "--promptopt-report=report.json", "--promptopt-report=report.html"
    )
    recount.check_report(desk.report["run"], recount.lines_of(folder / FILE_NAME))
    shown = show(desk)
    assert shown["run"] == data_of(desk.path / "report.html")["run"]
    assert any(note.startswith("continued: ") for note in shown["run"]["notes"])


def test_of_a_killed_run_it_shows_what_there_is(desk: Desk) -> None:
    folder = killed(desk)
    shown = show(desk)
    run = shown["run"]
    assert (dict(shown["past"])["state"], run["interrupted"]) == ("killed", True)
    (prompt,) = run["prompts"]
    rates = {score["split"]: score["before"] for score in prompt["scores"]}
    assert rates == {"train": 0.0, "validation": 0.0, "held-out": None}
    calls = recount.spend(recount.lines_of(folder / FILE_NAME))
    assert {role: calls for role, calls, *_ in run["spend"]} == {r: c for r, (c, *_) in calls.items() if c}
    tried = [c for each in prompt["iterations"] for c in each["candidates"]]
    assert tried
    assert all(c["direction"] and c["diff"] for c in tried)


def test_a_torn_last_line_does_no_harm_and_a_damaged_one_is_named(desk: Desk) -> None:
    desk.optimize("--promptopt-max-iterations=1")
    whole = show(desk)
    journal = run_folder(desk) / FILE_NAME
    content = journal.read_bytes()
    journal.write_bytes(content + b'{"seq": 9')
    assert show(desk) == whole
    *lines, end, _ = content.split(b"\n")
    journal.write_bytes(b"\n".join([*lines, end[:50]]))
    torn = show(desk)
    assert (torn["run"]["prompts"][0]["written"], dict(torn["past"])["state"]) == (True, "killed")
    assert torn["run"]["prompts"][0]["diff"] == whole["run"]["prompts"][0]["diff"]
    assert torn["run"]["prompts"][0]["scores"] == whole["run"]["prompts"][0]["scores"]
    journal.write_bytes(content.replace(b'"seq": 2', b'"seq": 7'))
    refused(desk, "--promptopt-show", f"{journal}:2: not an event of a journal: *")


def test_what_cannot_be_shown_is_refused(desk: Desk) -> None:
    refused(desk, "--promptopt-show", "--promptopt-show: there is no run in *; --optimize makes one")
    desk.optimize("--promptopt-max-iterations=1")
    for name in ("nothing", ""):
        refused(desk, f"--promptopt-show={name}", f"--promptopt-show: there is no run '{name}' in *")
    folder = run_folder(desk)
    (folder / "report.html").mkdir()
    refused(desk, "--promptopt-show", f"--promptopt-show: the page {folder}/report.html cannot be written: *")
    (folder / FILE_NAME).write_bytes(b"garbage\nmore\n")
    refused(desk, f"--promptopt-show={folder.name}", f"{folder / FILE_NAME}:1: not an event of a journal: *")


def refused(desk: Desk, option: str, said: str) -> None:
    result = desk.run(option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {said.replace('[', '[[]')}"])


@pytest.mark.skipif(find_chromium() is None, reason=NO_BROWSER)
@pytest.mark.timeout(240)
def test_the_page_opens_with_the_run_and_has_no_other_view(desk: Desk) -> None:
    desk.optimize("--promptopt-max-iterations=1")
    show(desk)

    async def look() -> None:
        chromium = find_chromium()
        assert chromium is not None
        async with browser(chromium, desk.path) as page:
            await page.open(run_folder(desk) / "report.html")
            await look_at(page)
            assert page.said == []

    asyncio.run(look())


async def look_at(page: Page) -> None:
    await page.until(number_of(".sides"))
    said = await page.run(text_of("main"))
    assert "This run" in said
    assert "Answer with the label only." in said
    assert await page.run(number_of("nav a")) == 1
    for key in "12/3f":
        await page.press(key)
    assert await page.run(text_of("main")) == said
