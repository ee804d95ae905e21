"""Whether the page of a run is opened, and how."""

from __future__ import annotations

import io
import webbrowser
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import pytest

from pytest_promptopt.journal import Journal
from pytest_promptopt.runs import commands
from pytest_promptopt.runs.showing import may_open, open_page
from tests.reported_session import RUN


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("out", "environment", "expected"),
    [
        (Terminal(), {}, True),
        (Terminal(), {"BROWSER": "firefox", "CI": ""}, True),
        (Terminal(), {"CI": "true"}, False),
        (Terminal(), {"BROWSER": ""}, False),
        (io.StringIO(), {}, False),
    ],
)
def test_a_page_is_opened_where_somebody_sits_in_front_of_it(
    out: io.StringIO, environment: Mapping[str, str], expected: bool
) -> None:
    assert may_open(out, environment) is expected


@pytest.mark.parametrize("error", [None, webbrowser.Error("none found"), OSError("cannot be started")])
def test_the_path_is_said_whether_a_browser_opens_it_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception | None
) -> None:
    opened: list[str] = []

    def open_address(address: str) -> bool:
        opened.append(address)
        if error is not None:
            raise error
        return True

    monkeypatch.setattr(webbrowser, "open", open_address)
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("BROWSER", raising=False)
    journal = Journal.create(tmp_path / ".promptopt" / "runs" / "run-1", "run-1")
    journal.append("opened", mode="optimize", options={}, selection="", fingerprint={"prompts": {}})
    journal.append("end", **asdict(RUN))
    journal.close()
    out = Terminal()
    commands.show_run(None, tmp_path, out)
    page = tmp_path / ".promptopt" / "runs" / "run-1" / "report.html"
    assert out.getvalue() == f"{page}\n"
    assert opened == [page.as_uri()]
    assert page.exists()


def test_a_name_with_blanks_is_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    open_page(tmp_path / "a b.html")
    assert opened[0].endswith("/a%20b.html")
