"""The HTML report in a real browser: what a reader sees and does, and that nothing in it acts by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_promptopt.reports.html_report import html
from tests.acceptance.desk import Desk
from tests.benchmarks.html_report import large_report
from tests.browser import NO_BROWSER, Page, browser, find_chromium
from tests.injections import INJECTIONS
from tests.reported_session import compared_report
from tests.unit.test_reports_html import evil_report

CHROMIUM = find_chromium()
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason=NO_BROWSER),
    pytest.mark.timeout(240),
]

Look = Callable[[Page], Awaitable[None]]

EVIL = (
    "</script><script>window.owned = 1</script><img src=x onerror='window.owned = 1'>"
    "<a href='javascript:window.owned = 1'>x</a>\x1b[31m\u202egnp.exe\u2066 \u200b \U000e0041 &lt;b&gt; ${1} "
)


def look(path: Path, does: Look, *, width: int = 1400) -> None:
    """Do something with the page; hold that its console stays empty and that it asks for nothing."""

    async def shown() -> None:
        assert CHROMIUM is not None
        async with browser(CHROMIUM, path.parent, width=width) as page:
            await page.open(path)
            await does(page)
            await page.run("0")
            assert page.said == []
            assert {address.partition("#")[0] for address in page.requested} <= {
                "about:blank",
                path.resolve().as_uri(),
            }

    asyncio.run(shown())


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("large") / "report.html"
    path.write_text(html(large_report(1_500, 20, 2)), encoding="utf-8")
    return path


def text_of(selector: str) -> str:
    return f"document.querySelector({selector!r}).innerText"


def number_of(selector: str) -> str:
    return f"document.querySelectorAll({selector!r}).length"


def test_a_session_writes_a_page_that_shows_it(pytester: pytest.Pytester) -> None:
    desk = Desk(pytester)
    desk.optimize("--promptopt-report=out/prompts.html")

    async def does(page: Page) -> None:
        overview = await page.run(text_of("main"))
        assert "prompts/sort.md" in overview
        await page.press("3")
        await page.until(number_of(".sides"))
        run = await page.run(text_of("main"))
        assert "improved" in run
        assert "Answer with the label only." in run
        assert "Held-out" in run
        await page.run("document.querySelector('.matrix details').open = true")
        await page.until(number_of(".texts tbody tr"))
        assert await page.run(number_of(".texts .cell.f")), "what fails with some text"
        await page.press("2")
        await page.until(number_of(".lines .line"))

    look(desk.path / "out" / "prompts.html", does)


def test_the_list_is_filtered_sorted_searched_and_linked_to(large: Path) -> None:
    async def does(page: Page) -> None:
        await page.press("2")
        await page.until(number_of(".lines .line"))
        assert await page.run(number_of(".lines .line")) < 60, "only the lines in sight are drawn"
        everything = await page.run(text_of("[role=status]"))
        await page.press("f")
        await page.until(f"{text_of('[role=status]')} !== {everything!r}")
        assert await page.run(
            "[...document.querySelectorAll('.lines .pill')].every(e => /^failed/.test(e.innerText))"
        )
        await page.press("/")
        await page.until("document.activeElement.id === 'search'")
        await page.send("Input.insertText", text="line777]")
        await page.until(f"{text_of('[role=status]')}.startsWith('1 of') || {number_of('.nothing')}")
        assert await page.run("document.activeElement.id") == "search", "the reader goes on typing"
        await page.open(large, "#view=cases&q=line777%5D")
        await page.until(f"{number_of('.lines .line')} === 1")
        await page.open(large, "#view=cases&sort=seconds&turn=down")
        await page.until(number_of(".lines .line"))
        times = "[...document.querySelectorAll('.lines .line')].map(e => parseFloat(e.lastChild.innerText))"
        found = await page.run(times)
        assert found == sorted(found, reverse=True)

    look(large, does)


def test_a_case_is_opened_by_keys_and_by_its_address(large: Path) -> None:
    async def does(page: Page) -> None:
        await page.press("2")
        await page.until(number_of(".lines .line"))
        await page.press("j")
        await page.until(number_of(".panel .run"))
        first = await page.run(text_of(".panel h2"))
        assert await page.run(number_of(".panel .run")) == 2, "every sample"
        place = await page.run("location.hash")
        await page.press("j")
        await page.until(f"{text_of('.panel h2')} !== {first!r} && {number_of('.panel .run')}")
        await page.run("history.back()")
        await page.until(f"{text_of('.panel h2')} === {first!r}")
        await page.open(large, place)
        await page.until(number_of(".panel .run"))
        assert await page.run(text_of(".panel h2")) == first
        assert await page.run(number_of(".lines .chosen")) == 1
        await page.press("Escape")
        await page.until(f"!{number_of('.panel')}")

    look(large, does)


def test_a_comparison_shows_both_answers_and_leads_to_the_case(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(html(compared_report()), encoding="utf-8")

    async def does(page: Page) -> None:
        assert "a comparison fails" in await page.run(text_of("header.top"))
        sides = "[...document.querySelectorAll('.changed .pair pre')].map(e => e.innerText)"
        assert await page.run(sides) == ["billing", "Billing."]
        for dark in (False, True):
            await page.dark(dark)
            colors = "(e => [getComputedStyle(e).color, getComputedStyle(e).backgroundColor])"
            front, back = await page.run(f"{colors}(document.querySelector('.changed pre'))")
            assert front != back
        await page.run("document.querySelectorAll('details').forEach(each => { each.open = true; })")
        await page.until(f"({sides}).length === 4")
        assert (await page.run(sides))[2:] == ["refund", "billing"], "the fixed one"
        await page.run("document.querySelector('.changed a').click()")
        await page.until(number_of(".panel .run"))
        assert await page.run(text_of(".panel h2")) == "test_route.py::fails"

    look(path, does)


@pytest.mark.parametrize("name", ["all at once", "html", "ansi", "bidi", "invisible tag characters"])
def test_what_a_model_wrote_does_nothing(tmp_path: Path, name: str) -> None:
    path = tmp_path / "report.html"
    text = INJECTIONS.get(name, EVIL)
    path.write_text(html(evil_report(text)), encoding="utf-8")

    async def does(page: Page) -> None:
        assert await page.run(number_of(".changed pre")), "an answer of the baseline"
        for key in "123":
            await page.press(key)
            await asyncio.sleep(0.1)
            await page.run("document.querySelectorAll('details').forEach(each => { each.open = true; })")
            await asyncio.sleep(0.2)
            await assert_harmless(page)
        await page.press("2")
        await page.until(number_of(".lines .line"))
        await page.press("j")
        await page.until(number_of(".panel .run"))
        await page.run("document.querySelectorAll('details').forEach(each => { each.open = true; })")
        await assert_harmless(page)
        if name == "all at once":
            shown: Any = await page.run(text_of(".panel .run pre"))
            assert "<script>window.owned = 1</script>" in shown
            assert "U+001B" in shown
            assert "U+202E" in shown
            assert "U+E0041" in shown

    look(path, does)


async def assert_harmless(page: Page) -> None:
    assert await page.run("window.owned === undefined")
    assert await page.run(number_of("img, iframe, object, embed, link, base, form")) == 0
    assert await page.run(number_of("script")) == 3
    assert await page.run("[...document.querySelectorAll('a')].every(e => e.getAttribute('href')[0] === '#')")
    hidden = r"/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069]/"
    assert await page.run(f"!{hidden}.test(document.getElementById('page').innerHTML)")


def test_a_narrow_window_and_paper(large: Path, tmp_path: Path) -> None:
    async def does(page: Page) -> None:
        await page.open(large, "#view=cases")
        await page.until(number_of(".lines .line"))
        assert await page.run("document.documentElement.scrollWidth <= innerWidth"), "nothing sticks out"
        await page.press("j")
        await page.until(number_of(".panel .run"))
        assert await page.run("document.documentElement.scrollWidth <= innerWidth")
        printed = await page.send("Page.printToPDF")
        assert len(printed["data"]) > 20_000

    look(large, does, width=500)
