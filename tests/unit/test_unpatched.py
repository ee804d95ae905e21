"""Clocks and files that nobody can exchange: with the libraries and the means that tests use for it."""

from __future__ import annotations

import os
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from unittest import mock

import pytest

from pytest_promptopt import unpatched
from pytest_promptopt.assertions.source_file import source_file
from pytest_promptopt.budget.ledger import Ledger
from pytest_promptopt.journal import Journal, read_events
from pytest_promptopt.models.event_loop_thread import EventLoopThread
from pytest_promptopt.records import Answer, Message, Request
from pytest_promptopt.response_cache import ResponseCache

ANSWER = Answer("fine", "house/a", "end_turn", None, None, 0.0)


def test_a_frozen_date_is_not_seen() -> None:
    freezegun = pytest.importorskip("freezegun")
    before = unpatched.time.monotonic()
    with freezegun.freeze_time("2030-01-01"):
        assert time.time() == datetime(2030, 1, 1, tzinfo=UTC).timestamp()
        assert unpatched.time.monotonic() - before < 60
        assert unpatched.datetime.now(UTC).year < 2030


def test_nor_are_clocks_that_a_mock_has_stopped() -> None:
    before = unpatched.time.monotonic()
    with mock.patch("time.monotonic", return_value=1e9), mock.patch("time.perf_counter", return_value=1e9):
        assert unpatched.time.monotonic() - before < 60


#: What time-machine moves in place, of what we read.
MOVED = ("time", "time_ns", "monotonic", "monotonic_ns")


@pytest.mark.parametrize("name", MOVED)
def test_nor_is_a_clock_read_that_can_be_moved_in_place(name: str) -> None:
    ours, real = getattr(unpatched.time, name), getattr(time, name)
    assert ours is not real
    began = ours(), real()
    time.sleep(0.05)
    assert ours() - began[0] == pytest.approx(real() - began[1], abs=0.04 * (1e9 if "ns" in name else 1))


def test_our_time_of_day_is_the_real_one() -> None:
    assert unpatched.time.time() == pytest.approx(time.time(), abs=2)
    assert unpatched.datetime.now(UTC).timestamp() == pytest.approx(time.time(), abs=2)
    assert unpatched.datetime.now().astimezone().timestamp() == pytest.approx(time.time(), abs=2)


def test_who_travels_in_time_spends_none_of_ours() -> None:
    time_machine = pytest.importorskip("time_machine")
    ledger = Ledger(max_time=60)
    with time_machine.travel("2050-01-01"):
        assert datetime.now(UTC).year == 2050
        assert ledger.seconds_left > 50
        assert unpatched.datetime.now(UTC).year < 2050


def test_the_loop_of_the_models_has_the_real_clock() -> None:
    async def nothing() -> None: ...

    with mock.patch("time.monotonic", return_value=1e9):
        background = EventLoopThread(nothing)
        try:
            assert background._loop.time() < 1e9
        finally:
            background.stop(2.0)


def test_answers_are_stored_on_the_real_disk_while_a_test_has_a_fake_one(tmp_path: Path) -> None:
    fakes = pytest.importorskip("pyfakefs.fake_filesystem_unittest")
    said: list[str] = []
    cache = ResponseCache(tmp_path / "home" / "cache", warn=said.append)
    journal = Journal.create(tmp_path / "run", "run")
    cache.prepare()
    with fakes.Patcher():
        for key in ("a", "b"):
            with cache.flight(key) as mine:
                assert mine
                cache.put(key, ANSWER)
            journal.append("call", key=key)
            assert cache.get(key) == ANSWER
        assert not os.path.exists(tmp_path / "home")
    cache.close()
    journal.close()
    assert said == []
    assert ResponseCache(tmp_path / "home" / "cache", warn=said.append).get("b") == ANSWER
    assert [event.data["key"] for event in read_events(journal.path)] == ["a", "b"]


@pytest.mark.parametrize("name", ["os.stat", "os.open", "os.write", "os.fsync"])
def test_and_while_a_mock_answers_for_the_disk(tmp_path: Path, name: str) -> None:
    said: list[str] = []
    cache = ResponseCache(tmp_path / "home" / "cache", warn=said.append)
    journal = Journal.create(tmp_path / "run", "run")
    with mock.patch(name, side_effect=OSError("mocked")):
        cache.put("a", ANSWER)
        journal.append("call", key="a")
        assert cache.get("a") == ANSWER
    cache.close()
    journal.close()
    assert said == []
    assert len(read_events(journal.path)) == 1


@pytest.mark.parametrize("name", ["json.dumps", "json.loads", "hashlib.sha256", "sqlite3.connect"])
def test_and_while_what_answers_are_stored_with_is_mocked(tmp_path: Path, name: str) -> None:
    def request(word: str) -> Request:
        return Request("house/a", (Message("user", word),))

    said: list[str] = []
    before = ResponseCache(tmp_path / "home" / "cache", warn=said.append)
    before.put(request("a").key, ANSWER)
    before.close()
    cache = ResponseCache(tmp_path / "home" / "cache", warn=said.append)
    journal = Journal.create(tmp_path / "run", "run")
    with mock.patch(name):
        assert cache.get(request("a").key) == ANSWER
        assert cache.get(request("b").key) is None
        cache.put(request("b").key, ANSWER)
        journal.append("call", key="a")
    assert cache.get(request("b").key) == ANSWER
    cache.close()
    journal.close()
    assert said == []
    assert [event.data for event in read_events(journal.path)] == [{"key": "a"}]


def test_a_thread_of_a_mock_makes_no_calls() -> None:
    done = threading.Event()

    async def end() -> None:
        done.set()

    with mock.patch("threading.Thread"):
        EventLoopThread(end).stop(2.0)
    assert done.wait(2.0)


def test_the_source_of_a_test_is_read_from_the_real_disk(tmp_path: Path) -> None:
    fakes = pytest.importorskip("pyfakefs.fake_filesystem_unittest")
    file = tmp_path / "test_it.py"
    file.write_text("assert True\n", encoding="utf-8")
    with fakes.Patcher():
        assert not file.exists()
        assert source_file(str(file)).statement_at(1) is not None
    file.write_text("\nassert True\n", encoding="utf-8")
    with mock.patch("os.stat", side_effect=OSError), mock.patch("builtins.open", side_effect=OSError):
        assert source_file(str(file)).statement_at(2) is not None
