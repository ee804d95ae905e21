"""What a traceback shows of an error that comes out of the depths of a library."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_promptopt.user_frames import leave_out_libraries, raised_inside

SDK = """
def ask():
    try:
        connect()
    except OSError as error:
        raise ValueError("no answer") from error

def connect():
    raise OSError("refused")

def call(function):
    return function()
"""

APPLICATION = """
def sort():
    try:
        return sdk["ask"]()
    except ValueError as error:
        raise RuntimeError("cannot sort") from error
"""


@pytest.fixture
def sort(tmp_path: Path) -> Callable[[], None]:
    sdk: dict[str, object] = {}
    exec(compile(SDK, str(tmp_path / "site-packages" / "sdk.py"), "exec"), sdk)
    application: dict[str, Callable[[], None]] = {}
    exec(compile(APPLICATION, str(tmp_path / "application.py"), "exec"), application)
    application["sdk"] = sdk  # type: ignore[assignment]
    return application["sort"]


def test_the_traceback_ends_with_the_projects_last_frame_and_its_own_causes_stay(
    sort: Callable[[], None], tmp_path: Path
) -> None:
    with pytest.raises(RuntimeError) as caught:
        sort()
    error = caught.value
    assert [frame.name for frame in traceback.extract_tb(error.__cause__.__traceback__)] == ["sort", "ask"]  # type: ignore[union-attr]
    leave_out_libraries(error, tmp_path)
    cause = error.__cause__
    assert isinstance(cause, ValueError)
    assert [frame.name for frame in traceback.extract_tb(cause.__traceback__)] == ["sort"]
    assert cause.__cause__ is None, "no frame of the project has seen it"
    assert raised_inside(error, tmp_path) == "application.py:6"


def test_an_error_without_a_frame_of_the_project_stays_as_it_is(
    sort: Callable[[], None], tmp_path: Path
) -> None:
    with pytest.raises(RuntimeError) as caught:
        sort()
    before = traceback.format_exception(caught.value)
    leave_out_libraries(caught.value, tmp_path / "elsewhere")
    assert traceback.format_exception(caught.value)[-3:] == before[-3:]


def test_errors_that_are_each_others_cause_come_to_an_end(tmp_path: Path) -> None:
    first, second = ValueError("a"), ValueError("b")
    for error in (first, second):
        try:
            raise error
        except ValueError:
            pass
    first.__cause__, second.__cause__ = second, first
    leave_out_libraries(first, Path(__file__).parent)
    assert first.__cause__ is second
