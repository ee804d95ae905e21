"""A run's journal survives whatever happens to the process, and says so when somebody touched it."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_promptopt.journal import Journal, JournalError, read_events
from pytest_promptopt.project_dir import ensure_home
from pytest_promptopt.runs import run_store
from pytest_promptopt.unpatched import os

# a small alphabet of troublemakers: Hypothesis' whole of Unicode takes a second to load
TEXT = st.text(alphabet='aé\n\r\u2028\ud800\0"', max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal.create(tmp_path / ".promptopt" / "runs" / "r1", "r1")
    yield journal
    journal.close()


def test_events_come_back_in_the_order_written(journal: Journal) -> None:
    journal.append("start", prompts={"a.md": "Hi \ud800 ünï\ncode"})
    journal.append("stop", why="done")
    first, second = read_events(journal.path)
    assert (first.seq, first.run, first.event) == (1, "r1", "start")
    assert first.data == {"prompts": {"a.md": "Hi \ud800 ünï\ncode"}}
    assert (second.seq, second.data) == (2, {"why": "done"})


@settings(max_examples=30)
@given(data=st.dictionaries(st.sampled_from(["x", "y", "event_"]), JSON))
def test_whatever_is_json_like_makes_the_round_trip(
    tmp_path_factory: pytest.TempPathFactory, data: dict[str, Any]
) -> None:
    journal = Journal.create(tmp_path_factory.mktemp("home") / "runs" / "r", "r")
    journal.append("candidate", **data)
    assert read_events(journal.path)[0].data == data
    journal.close()


def test_an_event_is_on_disk_before_append_returns(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_size))
    journal.append("start")
    assert synced == [journal.path.stat().st_size]


def test_what_is_not_json_is_refused_and_leaves_the_journal_whole(journal: Journal) -> None:
    with pytest.raises(TypeError):
        journal.append("start", path=journal.path)
    journal.append("start")
    assert [event.seq for event in read_events(journal.path)] == [1]


def test_a_full_disk_leaves_no_half_line(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    real_write = os.write

    def half(descriptor: int, content: bytes) -> int:
        if len(content) < 40:
            raise OSError("no space left on device")
        return real_write(descriptor, content[:40])

    with monkeypatch.context() as disk_is_full:
        disk_is_full.setattr(os, "write", half)
        with pytest.raises(JournalError, match="no space"):
            journal.append("candidate", text="x" * 200)
    journal.append("stop")
    assert [event.event for event in read_events(journal.path)] == ["stop"]


@pytest.mark.parametrize("moment", ["write", "fsync"])
def test_ctrl_c_while_an_event_is_written_leaves_the_journal_whole(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    real = getattr(os, moment)

    def interrupted(*args: Any) -> None:
        real(*args)
        raise KeyboardInterrupt

    journal.append("start")
    with monkeypatch.context() as user:
        user.setattr(os, moment, interrupted)
        with pytest.raises(KeyboardInterrupt):
            journal.append("candidate")
    journal.append("stop")
    assert [(event.seq, event.event) for event in read_events(journal.path)] == [(1, "start"), (2, "stop")]


def test_threads_write_whole_lines_without_gaps(journal: Journal) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: journal.append("call", n=n, text="x" * 5000), range(40)))
    events = read_events(journal.path)
    assert [event.seq for event in events] == list(range(1, 41))
    assert sorted(event.data["n"] for event in events) == list(range(40))


@pytest.mark.parametrize("cut", [1, 20, 60])
def test_a_last_line_torn_by_a_kill_is_left_out(journal: Journal, cut: int) -> None:
    journal.append("start")
    journal.append("stop", why="killed while this was written, so it is long enough to be cut anywhere")
    os.truncate(journal.path, journal.path.stat().st_size - cut)
    assert [event.event for event in read_events(journal.path)] == ["start"]


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda lines: [lines[0], b"garbage", lines[2]], "not an event"),
        (lambda lines: [lines[0], b"[1]", lines[2]], "expected a JSON object, got list"),
        (lambda lines: [lines[0], lines[1].replace(b"one", b"two"), lines[2]], "checksum"),
        (lambda lines: [lines[0], lines[2]], "expected event 2, found event 3"),
    ],
)
def test_a_journal_that_was_changed_is_refused_with_its_line(
    journal: Journal, spoil: Any, complaint: str
) -> None:
    for name in ("start", "candidate", "stop"):
        journal.append(name, why="one")
    journal.path.write_bytes(b"\n".join(spoil(journal.path.read_bytes().splitlines())) + b"\n")
    with pytest.raises(JournalError, match=complaint) as caught:
        read_events(journal.path)
    assert f"{journal.path}:2: " in str(caught.value)


def test_a_run_never_writes_into_the_journal_of_another(journal: Journal) -> None:
    with pytest.raises(JournalError, match="has a journal already"):
        Journal.create(journal.path.parent, "r1")


def test_the_original_files_are_kept_byte_for_byte_inside_the_run(journal: Journal) -> None:
    content = b"\xef\xbb\xbfHello\r\n"
    inside = journal.keep_original("prompts/route.md", content)
    outside = journal.keep_original("../elsewhere/route.md", content)
    assert inside == journal.path.parent / "original" / "prompts" / "route.md"
    assert inside.read_bytes() == content
    assert outside == journal.path.parent / "original" / "elsewhere" / "route.md"


def test_only_the_owner_may_look(journal: Journal) -> None:
    assert stat.S_IMODE(journal.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(journal.path.parent.stat().st_mode) == 0o700


def test_the_home_folder_ignores_itself_and_keeps_what_the_user_wrote(tmp_path: Path) -> None:
    home = ensure_home(tmp_path / ".promptopt")
    assert (home / ".gitignore").read_text(encoding="utf-8") == "*\n"
    (home / ".gitignore").write_text("cache/\n", encoding="utf-8")
    assert (ensure_home(home) / ".gitignore").read_text(encoding="utf-8") == "cache/\n"


def whole(folder: Path) -> Journal:
    """A journal with events of several sizes, one with an answer."""
    journal = Journal.create(folder / "runs" / "r", "r")
    journal.append("opened", mode="optimize")
    journal.append(
        "call", key="k", answer={"text": 'a "quoted" é\n line', "cost": 0.25, "usage": [1, 2, 0, 0]}
    )
    journal.append("results", candidate="0", rates={"a": 1.0, "b": None})
    journal.append("stop", why="done")
    journal.close()
    return journal


def test_cut_at_any_byte_it_holds_all_events_that_were_whole(tmp_path: Path) -> None:
    journal = whole(tmp_path)
    content, events = journal.path.read_bytes(), read_events(journal.path)
    for size in range(len(content)):
        journal.path.write_bytes(content[:size])
        assert read_events(journal.path) == events[: content[:size].count(b"\n")]


def test_a_garbled_end_of_a_line_never_loses_two_events(tmp_path: Path) -> None:
    journal = whole(tmp_path)
    content, events = journal.path.read_bytes(), read_events(journal.path)
    end = content[:-1].rindex(b"\n")
    for other in set(range(256)) - {ord("\n")}:
        journal.path.write_bytes(content[:end] + bytes([other]) + content[end + 1 :])
        with pytest.raises(JournalError):
            read_events(journal.path)
    assert len(events) > 2


@settings(max_examples=150)
@given(data=st.data())
def test_garbled_at_any_byte_it_is_refused_or_loses_its_last_event(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Never another event than what was written, and never one fewer but the last."""
    journal = whole(tmp_path_factory.mktemp("home"))
    content, events = bytearray(journal.path.read_bytes()), read_events(journal.path)
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= data.draw(st.integers(1, 255))
    journal.path.write_bytes(content)
    with suppress(JournalError):
        assert read_events(journal.path) in (events[:-1], events), "a space that became a tab says the same"


@settings(max_examples=50)
@given(garbage=st.binary(max_size=60), kept=st.integers(0, 4))
def test_whatever_a_loss_of_power_leaves_at_the_end_is_cut_off_before_it_goes_on(
    tmp_path_factory: pytest.TempPathFactory, garbage: bytes, kept: int
) -> None:
    journal = whole(tmp_path_factory.mktemp("home"))
    lines = journal.path.read_bytes().splitlines(keepends=True)[: max(1, kept)]
    tail = garbage.replace(b"\n", b"")
    journal.path.write_bytes(b"".join(lines) + tail)
    again = Journal.reopen(journal.path)
    again.append("resumed")
    again.close()
    assert [event.event for event in read_events(journal.path)][len(lines) :] == ["resumed"]


def test_an_empty_journal_cannot_be_continued(tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").write_bytes(b"half a l")
    with pytest.raises(JournalError, match="there is no event in it"):
        Journal.reopen(tmp_path / "journal.jsonl")


@pytest.mark.parametrize("again", [False, True], ids=["removed", "replaced"])
def test_a_journal_that_is_gone_is_noticed(tmp_path: Path, again: bool) -> None:
    journal = Journal.create(tmp_path / "run", "run")
    journal.check()
    journal.path.unlink()
    if again:
        journal.path.write_text("")
    with pytest.raises(JournalError, match="was removed or replaced during the run"):
        journal.check()
    journal.close()


def test_an_event_that_need_not_wait_for_the_disk_is_in_its_place(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path / "run", "run")
    journal.append("opened")
    journal.append("known", sync=False, key="k")
    journal.append("stop")
    assert [event.event for event in read_events(journal.path)] == ["opened", "known", "stop"]
    journal.close()


def test_a_clock_that_stands_still_gives_no_id_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Still:
        @staticmethod
        def now(zone: object) -> datetime:
            return datetime(2026, 1, 2, 3, 4, 5, 6000, tzinfo=UTC)

    monkeypatch.setattr(run_store, "datetime", Still)
    ids = []
    for _ in range(3):
        ids.append(run_store._new_id(tmp_path))
        (tmp_path / "runs" / ids[-1]).mkdir(parents=True)
    assert ids == ["20260102-030405-006", "20260102-030405-006-2", "20260102-030405-006-3"]
