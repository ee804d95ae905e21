"""The response cache: paid answers survive, foreign rows do not run, and a bad disk is never in the way."""

from __future__ import annotations

import errno
import json
import os
import pickle
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_promptopt import journal, records
from pytest_promptopt.records import Answer, Message, Request, Usage
from pytest_promptopt.response_cache import ResponseCache
from pytest_promptopt.runs import fingerprint
from pytest_promptopt.settings import Settings
from pytest_promptopt.shared_database import SharedDatabase
from pytest_promptopt.wire_records import WireRequest

ANSWER = Answer("fine \ud800 ü\0", "anthropic/claude-x", "end_turn", Usage(1, 2, 3, 4), 0.25, 1.5)
UNPRICED = Answer("", "openai/x", "refusal", None, None, 0.0)


class Cache(ResponseCache):
    """Remembers its warnings."""

    def __init__(self, folder: Path) -> None:
        self.warnings: list[str] = []
        super().__init__(folder, warn=self.warnings.append)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "home" / "cache"


@pytest.fixture
def cache(folder: Path) -> Iterator[Cache]:
    cache = Cache(folder)
    yield cache
    cache.close()


def test_the_key_of_a_request_holds_everything_that_decides_the_answer() -> None:
    request = Request("m/x", (Message("user", "hi"),), parameters={"top_p": 1, "seed": 2})
    changes: dict[str, Any] = {
        "model": "m/y",
        "messages": (Message("system", "hi"),),
        "max_tokens": 5,
        "stop": ("END",),
        "parameters": {"top_p": 1},
        "response_schema": {"type": "object"},
        "sample": 1,
        "wire": WireRequest("POST", "https://models.example.com/v1/messages", {"messages": []}),
        "tools": ({"name": "look", "parameters": {"type": "object"}},),
        "tool_choice": {"mode": "required"},
        "embeds": True,
    }
    assert changes.keys() == {field.name for field in fields(Request)}
    keys = {replace(request, **{name: value}).key for name, value in changes.items()}
    assert len({request.key, *keys}) == 1 + len(changes)
    assert request.key == replace(request, parameters={"seed": 2, "top_p": 1}).key


def test_an_answer_comes_back_as_it_was_paid_for(cache: Cache, folder: Path) -> None:
    cache.put("a", ANSWER)
    cache.put("b", UNPRICED)
    cache.close()
    later = Cache(folder)
    assert later.get("a") == ANSWER
    assert later.get("b") == UNPRICED
    assert later.get("c") is None
    assert later.warnings == []
    later.close()


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.characters(exclude_categories=()), max_size=200))
def test_any_text_survives(cache: Cache, text: str) -> None:
    answer = Answer(text, "m/x", "end_turn", None, None, 0.0)
    cache.put("k", answer)
    assert cache.get("k") == answer


def test_a_session_that_stores_nothing_creates_nothing(cache: Cache, folder: Path) -> None:
    assert cache.get("a") is None
    assert not folder.parent.exists()


@pytest.mark.skipif(os.name == "nt", reason="POSIX modes")
def test_only_the_owner_can_read_it(cache: Cache, folder: Path) -> None:
    cache.put("a", ANSWER)
    with cache.flight("a"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in folder.glob("cache.db*")}
        modes |= {p.name: stat.S_IMODE(p.stat().st_mode) for p in folder.glob("flights.lock")}
    assert "cache.db" in modes
    assert "flights.lock" in modes
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
    assert (folder.parent / ".gitignore").read_text() == "*\n"


def test_a_large_answer_stays_in_the_database(cache: Cache, folder: Path) -> None:
    large = Answer("x" * 1_000_000, "m/x", "end_turn", None, None, 0.0)
    cache.put("a", large)
    assert cache.get("a") == large
    assert not list(folder.rglob("*.val"))


def row(folder: Path, **columns: object) -> None:
    """Change the row of key ``a`` behind the cache's back."""
    with sqlite3.connect(folder / "cache.db") as connection:
        for name, value in columns.items():
            connection.execute(f"UPDATE Cache SET {name} = ? WHERE key = 'a'", (value,))
    connection.close()


class Touch:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


def test_a_pickled_value_is_a_miss_and_runs_no_code(cache: Cache, folder: Path, tmp_path: Path) -> None:
    cache.put("a", ANSWER)
    row(folder, mode=4, value=pickle.dumps(Touch(tmp_path / "ran")))
    assert cache.get("a") is None
    cache.put("a", ANSWER)
    assert cache.get("a") == ANSWER
    assert not (tmp_path / "ran").exists()


def test_a_pickled_key_is_a_miss_and_runs_no_code(cache: Cache, folder: Path, tmp_path: Path) -> None:
    cache.put("a", ANSWER)
    row(folder, raw=0)
    with sqlite3.connect(folder / "cache.db") as connection:
        connection.execute("UPDATE Cache SET key = ?", (pickle.dumps(Touch(tmp_path / "ran")),))
    connection.close()
    assert cache.get("a") is None
    assert not (tmp_path / "ran").exists()


def test_a_row_that_names_a_file_deletes_no_file(cache: Cache, folder: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim.txt"
    victim.write_text("mine")
    cache.put("a", ANSWER)
    row(folder, mode=3, filename=os.path.relpath(victim, folder))
    assert cache.get("a") is None
    cache.put("a", ANSWER)
    assert victim.read_text() == "mine"


JSON_TEXT = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.sampled_from(list(ANSWER.to_json())), inner, max_size=6)
    ),
    max_leaves=8,
).map(json.dumps)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    value=JSON_TEXT
    | st.text(max_size=20)
    | st.binary(max_size=20)
    | st.integers(-9, 9)
    | st.floats()
    | st.none(),
    mode=st.integers(-1, 9) | st.just(1),
    filename=st.none() | st.just("../victim.txt"),
)
def test_whatever_is_in_a_row_it_is_a_miss_or_an_answer(
    cache: Cache, folder: Path, value: object, mode: int, filename: str | None
) -> None:
    cache.put("a", ANSWER)
    row(folder, value=value, mode=mode, filename=filename)
    assert isinstance(cache.get("a"), Answer | None)
    assert cache.warnings == []
    cache.put("a", ANSWER)
    assert cache.get("a") == ANSWER


@pytest.mark.parametrize("value", ["{", "[]", "null", '{"text": 1}', '{"text": "x", "stop_reason": "y"}', 7])
def test_a_row_of_another_version_is_a_miss(cache: Cache, folder: Path, value: object) -> None:
    cache.put("a", ANSWER)
    row(folder, value=value)
    assert cache.get("a") is None
    assert cache.warnings == []


CELLS = st.none() | st.integers(-(2**60), 2**60) | st.floats() | st.text(max_size=20) | st.binary(max_size=40)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    value=CELLS | st.just(pickle.dumps({"a": 1})) | st.just(json.dumps(ANSWER.to_json())),
    columns=st.dictionaries(st.sampled_from(["raw", "mode", "filename", "expire_time", "size"]), CELLS),
)
def test_any_row_is_a_miss_or_an_answer_and_can_be_written_over(
    cache: Cache, folder: Path, value: object, columns: dict[str, object]
) -> None:
    cache.put("a", ANSWER)
    row(folder, value=value, **columns)
    found = cache.get("a")
    assert found is None or found == ANSWER or isinstance(value, str)
    with sqlite3.connect(folder / "cache.db") as connection:
        connection.execute("DELETE FROM Cache")
    connection.close()
    cache.put("a", ANSWER)
    assert cache.get("a") == ANSWER
    assert cache.warnings == []


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=9),
        lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
        max_leaves=5,
    ),
    st.sampled_from([field.name for field in fields(Answer)]),
)
def test_any_json_is_an_answer_or_one_of_three_errors(value: object, name: str) -> None:
    for data in (value, {**ANSWER.to_json(), name: value}):
        with suppress(KeyError, TypeError, ValueError):
            answer = Answer.from_json(data)  # type: ignore[arg-type]
            assert isinstance(answer.text, str)
            assert isinstance(answer.stop_reason, str)
            assert isinstance(answer.usage, Usage | None)


@pytest.mark.parametrize("damage", ["garbage", "overwritten", "truncated", "empty"])
def test_a_damaged_database_is_set_aside(cache: Cache, folder: Path, damage: str) -> None:
    for number in range(200):
        cache.put(str(number), ANSWER)
    cache.close()
    database = folder / "cache.db"
    whole = database.read_bytes()
    content = {
        "garbage": b"no database " * 1000,
        "overwritten": whole[:100] + b"\xff" * len(whole),
        "truncated": whole[: len(whole) // 2],
        "empty": b"",
    }
    database.write_bytes(content[damage])
    for side in folder.glob("cache.db-*"):
        side.unlink()

    later = Cache(folder)
    assert later.get("7") is None
    later.put("7", ANSWER)
    assert later.get("7") == ANSWER
    if damage == "empty":
        assert later.warnings == []
    else:
        [said] = later.warnings
        assert "damaged" in said
        [aside] = folder.glob("cache.db.damaged-*[0-9]")
        assert aside.read_bytes() == content[damage]
        assert str(aside) in said
    later.close()


@pytest.mark.skipif(os.name == "nt", reason="a folder takes the file's place")
def test_a_folder_that_cannot_be_made_is_said_once_and_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file where the folder should be")
    cache = Cache(tmp_path / "home" / "cache")
    with cache.flight("a") as mine:
        assert mine
    cache.put("a", ANSWER)
    cache.put("b", ANSWER)
    assert cache.get("a") is None
    [said] = cache.warnings
    assert "not stored" in said


def test_a_full_disk_is_said_once_and_what_is_stored_stays_readable(cache: Cache) -> None:
    cache.put("a", ANSWER)
    with cache._open().use() as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")
    large = Answer("x" * 1_000_000, "m/x", "end_turn", None, None, 0.0)
    cache.put("b", large)
    cache.put("c", large)
    assert cache.get("a") == ANSWER
    assert cache.get("b") is None
    [said] = cache.warnings
    assert "full" in said


def test_a_folder_deleted_during_the_session_is_made_again(cache: Cache, folder: Path) -> None:
    import shutil

    cache.put("a", ANSWER)
    shutil.rmtree(folder)
    cache.put("b", ANSWER)
    assert cache.get("b") == ANSWER
    assert (folder / "cache.db").exists()
    [said] = cache.warnings
    assert "removed" in said


def test_a_folder_that_another_process_made_anew_during_the_session_is_noticed(
    cache: Cache, folder: Path
) -> None:
    import shutil

    with cache.flight("a"):
        cache.put("a", ANSWER)
    shutil.rmtree(folder)
    other = Cache(folder)
    other.put("x", ANSWER)
    cache.put("b", ANSWER)
    assert other.get("b") == ANSWER
    assert cache.get("x") == ANSWER
    [said] = cache.warnings
    assert "removed" in said
    with cache.flight("a"):
        assert (folder / "flights.lock").exists()
    other.close()


def test_threads_share_it(cache: Cache) -> None:
    def work(start: int) -> None:
        for number in range(start, start + 20):
            cache.put(str(number), ANSWER)

    threads = [threading.Thread(target=work, args=(100 * n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(cache.get(str(100 * n + k)) == ANSWER for n in range(4) for k in range(20))
    assert cache.warnings == []


def test_one_flight_per_key_over_processes(cache: Cache, folder: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from pytest_promptopt.response_cache import ResponseCache\n"
        "cache = ResponseCache(Path(sys.argv[1]), warn=print)\n"
        "with cache.flight('a') as one, cache.flight('b') as other: print(one, other)\n"
    )

    def elsewhere() -> str:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-c", script, str(folder)]
        return subprocess.run(command, capture_output=True, text=True, env=environment, check=True).stdout

    with cache.flight("a") as mine:
        assert mine
        assert elsewhere() == "False True\n"
    assert elsewhere() == "True True\n"


@pytest.mark.skipif(os.name == "nt", reason="no such locks")
def test_where_locks_do_not_work_everybody_asks_and_is_told_once(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("pytest_promptopt.single_flight._lock", refuse)
    for _ in range(2):
        with cache.flight("a") as mine:
            assert mine
    [said] = cache.warnings
    assert "may pay for the same answer" in said
    assert "No locks available" in said


def test_a_killed_owner_leaves_the_flight_to_another(cache: Cache, folder: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path\n"
        "from pytest_promptopt.response_cache import ResponseCache\n"
        "with ResponseCache(Path(sys.argv[1]), warn=print).flight('a') as mine:\n"
        "    print(mine, flush=True); time.sleep(60)\n"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", script, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert owner.stdout is not None
    assert owner.stdout.readline() == "True\n"
    with cache.flight("a") as mine:
        assert not mine
    owner.kill()
    owner.communicate()
    with cache.flight("a") as mine:
        assert mine


def test_answers_of_an_earlier_version_are_found_and_kept(folder: Path) -> None:
    """It kept them with diskcache, in a write-ahead log."""
    folder.mkdir(parents=True)
    with sqlite3.connect(folder / "cache.db") as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(
            "CREATE TABLE Cache (rowid INTEGER PRIMARY KEY, key BLOB, raw INTEGER, store_time REAL, "
            "expire_time REAL, access_time REAL, access_count INTEGER DEFAULT 0, tag BLOB, "
            "size INTEGER DEFAULT 0, mode INTEGER DEFAULT 0, filename TEXT, value BLOB)"
        )
        connection.execute("CREATE UNIQUE INDEX Cache_key_raw ON Cache (key, raw)")
        text = json.dumps(ANSWER.to_json())
        connection.execute("INSERT INTO Cache (key, raw, mode, value) VALUES ('a', 1, 1, ?)", (text,))
    connection.close()
    cache = Cache(folder)
    assert cache.get("a") == ANSWER
    cache.put("a", UNPRICED)
    assert cache.get("a") == UNPRICED
    cache.close()
    assert not list(folder.glob("cache.db-wal"))


WRITER = """
import sys
from pathlib import Path
from pytest_promptopt.response_cache import ResponseCache
from pytest_promptopt.records import Answer
folder, name = Path(sys.argv[1]), sys.argv[2]
cache = ResponseCache(folder, warn=lambda text: print(text, flush=True))
for number in range(60):
    with cache.flight(f"{number:015x}"):
        cache.put(f"{name}-{number}", Answer("x" * 3000, "m/x", "end_turn", None, None, 0.0))
    for file in folder.iterdir():  # as whoever copies the project
        try:
            file.read_bytes()
        except FileNotFoundError:
            pass
"""


def elsewhere(script: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def test_whoever_reads_its_files_does_not_take_its_locks_away(folder: Path) -> None:
    writers = [elsewhere(WRITER, folder, name) for name in "abc"]
    assert [writer.communicate()[0] for writer in writers] == ["", "", ""]
    with sqlite3.connect(folder / "cache.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("SELECT COUNT(*) FROM Cache").fetchone() == (180,)
    connection.close()


INTRUDER = """
import sqlite3, sys
from pathlib import Path
from pytest_promptopt import shared_database
shared_database.LOCK_TIMEOUT = 0.3
try:
    with shared_database.SharedDatabase(Path(sys.argv[1]), "").change():
        print("in")
except sqlite3.OperationalError:
    print("locked")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no flock")
def test_whoever_reads_a_database_in_the_middle_of_a_change_lets_nobody_else_in(tmp_path: Path) -> None:
    """A process loses SQLite's own locks as soon as it closes any descriptor of the file."""
    database = tmp_path / "some.db"
    store = SharedDatabase(database, "CREATE TABLE IF NOT EXISTS t (x)")
    with store.change() as connection:
        connection.execute("INSERT INTO t VALUES (1)")
        database.read_bytes()
        assert elsewhere(INTRUDER, database).communicate()[0] == "locked\n"
    assert elsewhere(INTRUDER, database).communicate()[0] == "in\n"
    store.close()


@pytest.mark.skipif(sys.platform != "linux", reason="locks of a descriptor")
def test_whoever_reads_the_file_of_the_flights_does_not_end_them(cache: Cache, folder: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from pytest_promptopt.response_cache import ResponseCache\n"
        "with ResponseCache(Path(sys.argv[1]), warn=print).flight('a') as mine: print(mine)\n"
    )
    with cache.flight("a"):
        (folder / "flights.lock").read_bytes()
        assert elsewhere(script, folder).communicate()[0] == "False\n"


def test_what_can_be_read_of_a_damaged_database_is_kept(cache: Cache, folder: Path) -> None:
    for number in range(200):
        cache.put(str(number), ANSWER)
    cache.close()
    database = folder / "cache.db"
    content = bytearray(database.read_bytes())
    middle = len(content) // 8192 * 4096
    content[middle : middle + 4096] = b"\xff" * 4096
    database.write_bytes(content)

    later = Cache(folder)
    found = [number for number in range(200) if later.get(str(number)) == ANSWER]
    assert 100 < len(found) < 200
    [said] = later.warnings
    assert "answers that could be read" in said
    later.close()


def test_a_process_that_was_forked_from_its_owner_leaves_it_alone(cache: Cache) -> None:
    if not hasattr(os, "fork"):
        pytest.skip("no fork")
    cache.put("a", ANSWER)
    child = os.fork()
    if child == 0:
        found = cache.get("a")
        cache.close()
        os._exit(0 if found is None else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    cache.put("b", ANSWER)
    assert (cache.get("a"), cache.get("b"), cache.warnings) == (ANSWER, ANSWER, [])


def test_a_folder_of_another_user_is_a_miss_and_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("pytest_promptopt.unpatched.os.stat", refuse)
    cache = Cache(tmp_path / "home" / "cache")
    assert cache.get("a") is None
    assert cache.get("b") is None
    cache.put("a", ANSWER)
    [said] = cache.warnings
    assert "cannot be read and is not used: [Errno 13] Permission denied" in said


class TestWhatKeepsPaidAnswers:
    """A key that changes throws away every answer that was paid for under it."""

    REQUEST = Request(
        "m/x",
        (Message("system", "be brief"), Message("user", "Größe?")),
        max_tokens=5,
        stop=("\n",),
        parameters={"top_p": 0.5},
        response_schema={"type": "object"},
        sample=2,
    )
    KEY = "d31f4a74ca450548ca20fdcb6f1f9591db093d4318a94231d649ac6b99537671"

    def test_a_key_is_the_same_in_every_version(self) -> None:
        assert self.REQUEST.key == self.KEY

    @pytest.mark.parametrize(
        ("module", "schema"), [(journal, "JOURNAL_SCHEMA"), (fingerprint, "FINGERPRINT_SCHEMA")]
    )
    def test_another_form_of_journal_or_fingerprint_changes_no_key(
        self, module: ModuleType, schema: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, schema, getattr(module, schema) + 1)
        assert replace(self.REQUEST).key == self.KEY

    def test_a_run_is_not_continued_with_answers_that_mean_something_else(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = run_stands_on()
        monkeypatch.setattr(fingerprint, "ANSWER_SCHEMA", records.ANSWER_SCHEMA + 1)
        now = run_stands_on()
        assert list(fingerprint.reasons_not_to_continue(before, now)) == [
            "its answers are of schema 1, this version's of schema 2"
        ]

    def test_a_run_is_not_continued_from_another_form_of_fingerprint(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = run_stands_on()
        monkeypatch.setattr(fingerprint, "FINGERPRINT_SCHEMA", fingerprint.FINGERPRINT_SCHEMA + 1)
        assert list(fingerprint.reasons_not_to_continue(before, run_stands_on())) == [
            "what it stands on is stored in schema 1, this version stores it in schema 2"
        ]


def run_stands_on() -> dict[str, Any]:
    return fingerprint.fingerprint(
        prompts={}, tests={}, cases=(), inputs={}, code={}, models={}, settings=Settings(rootdir=Path())
    )
