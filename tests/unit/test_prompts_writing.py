"""Rewriting a prompt file changes its prose and nothing else, or nothing at all."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_promptopt.errors import PromptConflictError, PromptFileError
from pytest_promptopt.prompts import (
    PromptFile,
    check_writable,
    clear_strays,
    put_content,
    save_beside,
    unified_diff,
    write_prose,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("prompts")


def load(folder: Path, content: bytes, *, name: str = "route.md") -> PromptFile:
    path = folder / name
    path.write_bytes(content)
    return PromptFile.load(path, rootdir=folder)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"old", b"new\nlines"),
        (b"old\n", b"new\nlines\n"),
        (b"\n\nold\n\n\n", b"\n\nnew\nlines\n\n\n"),
        (b"\xef\xbb\xbfold\r\ntext\r\n", b"\xef\xbb\xbfnew\r\nlines\r\n"),
        (b"old\r", b"new\rlines\r"),
        (b"---\r\nmodel: x # mine\r\n---\r\n\r\nold", b"---\r\nmodel: x # mine\r\n---\r\n\r\nnew\r\nlines"),
        (b"---\nmodel: x\n---\nold\r\ntext\r\n", b"---\nmodel: x\n---\nnew\r\nlines\r\n"),
    ],
)
def test_everything_around_the_prose_stays(tmp_path: Path, before: bytes, after: bytes) -> None:
    file = load(tmp_path, before)

    write_prose(file, "new\nlines")

    assert file.path.read_bytes() == after
    assert names(tmp_path) == ["route.md"]


def test_in_a_file_of_mixed_line_ends_each_kept_line_keeps_its_own(tmp_path: Path) -> None:
    file = load(tmp_path, b"one\r\ntwo\nthree\nfour\nfive\r\n")

    write_prose(file, "zero\none\ntwo\nTHREE\nfour\nfive\nsix")

    assert file.path.read_bytes() == b"zero\none\r\ntwo\nTHREE\nfour\nfive\nsix\r\n"


def test_mixed_line_ends_never_merge_into_one(tmp_path: Path) -> None:
    file = load(tmp_path, b"one\r\rtwo\n\nthree")

    write_prose(file, "one\n\nthree")

    assert PromptFile.load(file.path, rootdir=tmp_path).prose == "one\n\nthree"


def test_line_ends_of_a_candidate_do_not_matter(tmp_path: Path) -> None:
    file = load(tmp_path, b"old\n")

    write_prose(file, "\r\nnew\r\nlines\r\n")

    assert file.path.read_bytes() == b"new\nlines\n"


def test_the_mode_stays(tmp_path: Path) -> None:
    file = load(tmp_path, b"old\n")
    file.path.chmod(0o664)

    write_prose(file, "new")

    assert stat.S_IMODE(file.path.stat().st_mode) == 0o664


def test_a_link_stays_a_link_and_its_target_is_rewritten(tmp_path: Path) -> None:
    target = tmp_path / "versions"
    target.mkdir()
    load(target, b"old\n", name="v2.md")
    (tmp_path / "route.md").symlink_to("versions/v2.md")

    write_prose(PromptFile.load(tmp_path / "route.md", rootdir=tmp_path), "new")

    assert (tmp_path / "route.md").readlink() == Path("versions/v2.md")
    assert (target / "v2.md").read_bytes() == b"new\n"
    assert names(target) == ["v2.md"]


def test_a_file_that_was_edited_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    file = load(tmp_path, b"old\n")
    file.path.write_bytes(b"edited\n")

    with pytest.raises(PromptConflictError, match=r"^route.md: the file changed on disk"):
        write_prose(file, "new")

    assert file.path.read_bytes() == b"edited\n"
    assert names(tmp_path) == ["route.md"]


def test_a_file_that_was_deleted_meanwhile_is_not_created(tmp_path: Path) -> None:
    file = load(tmp_path, b"old\n")
    file.path.unlink()

    with pytest.raises(PromptConflictError):
        write_prose(file, "new")

    assert names(tmp_path) == []


def test_an_edit_during_the_write_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = load(tmp_path, b"old\n")

    def edit_after_sync(descriptor: int) -> None:
        file.path.write_bytes(b"edited\n")

    monkeypatch.setattr(os, "fsync", edit_after_sync)
    with pytest.raises(PromptConflictError):
        write_prose(file, "new")

    assert file.path.read_bytes() == b"edited\n"
    assert names(tmp_path) == ["route.md"]


def failing(error: BaseException) -> Callable[..., Any]:
    def fail(*args: object, **kwargs: object) -> Any:
        raise error

    return fail


@pytest.mark.parametrize("function", ["replace", "fsync", "chmod"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failed_write_leaves_the_file_and_no_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str, error: BaseException
) -> None:
    file = load(tmp_path, b"old\n")

    with monkeypatch.context() as patch:
        patch.setattr(os, function, failing(error))
        with pytest.raises(type(error)):
            write_prose(file, "new")

    assert file.path.read_bytes() == b"old\n"
    assert names(tmp_path) == ["route.md"]


def test_a_folder_that_cannot_be_synced_does_not_fail_the_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = load(tmp_path, b"old\n")
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(22, "Invalid argument")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)

    write_prose(file, "new")

    assert file.path.read_bytes() == b"new\n"


def test_the_owner_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = load(tmp_path, b"old\n")
    owners: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "chown", lambda path, user, group: owners.append((user, group)))
    before = file.path.stat()

    write_prose(file, "new")

    assert owners == [(before.st_uid, before.st_gid)]


def test_file_and_folder_are_on_disk_when_the_write_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = load(tmp_path, b"old\n")
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_ino))

    write_prose(file, "new")

    assert synced == [file.path.stat().st_ino, tmp_path.stat().st_ino]


def test_an_owner_that_may_not_be_set_does_not_fail_the_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = load(tmp_path, b"old\n")
    monkeypatch.setattr(os, "chown", failing(PermissionError(1, "Operation not permitted")))

    write_prose(file, "new")

    assert file.path.read_bytes() == b"new\n"


def test_a_prose_that_is_no_prompt_is_not_written(tmp_path: Path) -> None:
    file = load(tmp_path, b"old {{ ticket }}\n")

    for prose in ("", "{{ ticket", "---\nmodel: x\n---\nHi", "\ufeffHi", "a\0b", "a\ud800b", "x" * 2_000_000):
        with pytest.raises(PromptFileError):
            write_prose(file, prose)

    assert file.path.read_bytes() == b"old {{ ticket }}\n"
    assert names(tmp_path) == ["route.md"]


@pytest.mark.parametrize(
    ("denied", "words"), [("route.md", "the file is read-only"), ("", "folder .* is read-only")]
)
def test_what_may_not_be_written_is_known_beforehand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, denied: str, words: str
) -> None:
    file = load(tmp_path, b"old\n")
    check_writable(file)
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path / denied)

    with pytest.raises(PromptFileError, match=words):
        check_writable(file)
    with pytest.raises(PromptFileError, match=words):
        write_prose(file, "new")

    assert file.path.read_bytes() == b"old\n"


KILLED_WRITER = """
import os, pathlib, signal, sys
from pytest_promptopt.prompts import PromptFile, write_prose

os.replace = lambda *paths: os.kill(os.getpid(), signal.SIGKILL)
path = pathlib.Path(sys.argv[1])
write_prose(PromptFile.load(path, rootdir=path.parent), "new")
"""


def test_a_killed_writer_leaves_the_file_whole(tmp_path: Path) -> None:
    file = load(tmp_path, b"old\n")

    killed = subprocess.run([sys.executable, "-c", KILLED_WRITER, file.path], timeout=60, check=False)

    assert killed.returncode == -signal.SIGKILL
    assert file.path.read_bytes() == b"old\n"
    (leftover,) = tmp_path.glob(".route.md.promptopt-*.tmp")
    assert leftover.read_bytes() == b"new\n"
    other = tmp_path / ".other.md.promptopt-x.tmp"
    other.write_bytes(b"of another prompt")
    clear_strays(file)
    assert (leftover.exists(), other.exists()) == (False, True)
    write_prose(file, "newer")
    assert file.path.read_bytes() == b"newer\n"


def test_a_diff_shows_what_changed() -> None:
    assert unified_diff("one\ntwo\x0c2", "one\nTWO", name="route.md") == (
        "--- route.md\n+++ route.md (optimized)\n@@ -1,2 +1,2 @@\n one\n-two\x0c2\n+TWO"
    )
    assert unified_diff("same", "same", name="route.md") == ""


def test_a_diff_has_two_lines_above_its_hunks_whatever_the_file_is_called() -> None:
    lines = unified_diff("one", "two", name="a\n\nb.md").split("\n")
    assert [line[:3] for line in lines] == ["---", "+++", "@@ ", "-on", "+tw"]


line_ends = st.sampled_from(["\n", "\r\n", "\r"])
texts = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n{"), max_size=6), max_size=4)


@settings(deadline=None, max_examples=50)  # each one waits for the disk
@given(
    head=st.sampled_from(
        ["", "\ufeff", "---\nmodel: x\n---\n", "\ufeff---\r\nstop: ['\\n']\r\n--- \r\n\r\n"]
    ),
    end=line_ends,
    tail=st.lists(line_ends, max_size=3).map("".join),
    old=texts,
    new=texts,
)
def test_a_write_changes_only_the_prose(
    folder: Path, head: str, end: str, tail: str, old: list[str], new: list[str]
) -> None:
    old_lines, new_lines = ["<", *old, ">"], ["<", *new, ">"]
    file = load(folder, (head + end.join(old_lines) + tail).encode())

    write_prose(file, "\n".join(new_lines))

    assert file.path.read_bytes() == (head + end.join(new_lines) + tail).encode()


# --------------------------------------------------------------------------------- where it was, what it was


def swap_folder(project: Path, outside: Path) -> None:
    outside.mkdir()
    (outside / "route.md").write_bytes((project / "prompts" / "route.md").read_bytes())
    (project / "prompts" / "route.md").unlink()
    (project / "prompts").rmdir()
    (project / "prompts").symlink_to(outside)


def swap_file(project: Path, outside: Path) -> None:
    outside.mkdir()
    (project / "prompts" / "route.md").rename(outside / "route.md")
    (project / "prompts" / "route.md").symlink_to(outside / "route.md")


@pytest.mark.skipif(os.name == "nt", reason="links")
@pytest.mark.parametrize("swap", [swap_folder, swap_file])
def test_what_leads_elsewhere_by_now_is_not_written_through(tmp_path: Path, swap: Any) -> None:
    (tmp_path / "project" / "prompts").mkdir(parents=True)
    file = load(tmp_path / "project" / "prompts", b"old\n")
    swap(tmp_path / "project", tmp_path / "outside")
    with pytest.raises(PromptConflictError, match="leads to another file"):
        write_prose(file, "new")
    with pytest.raises(OSError, match="not where it was"):
        save_beside(file, b"new\n", tag="later")
    assert names(tmp_path / "outside") == ["route.md"]
    assert (tmp_path / "outside" / "route.md").read_bytes() == b"old\n"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
def test_a_file_that_is_a_pipe_by_now_is_a_conflict_and_no_hang(tmp_path: Path) -> None:
    file = load(tmp_path, b"old\n")
    file.path.unlink()
    os.mkfifo(file.path)
    with pytest.raises(PromptConflictError, match="changed on disk"):
        write_prose(file, "new")


def test_a_name_of_full_length_can_be_written_and_saved_beside(tmp_path: Path) -> None:
    name = "p" * 240 + ".md"
    file = load(tmp_path, b"old\n", name=name)
    write_prose(file, "new")
    assert file.path.read_bytes() == b"new\n"
    beside = save_beside(file, b"newer\n", tag="optimized-20260101-000000-000")
    assert beside.read_bytes() == b"newer\n"
    assert names(tmp_path) == sorted([name, beside.name])
    clear_strays(file)


@pytest.mark.skipif(os.name == "nt", reason="POSIX modes")
@pytest.mark.parametrize("mode", [0o600, 0o644, 0o640])
def test_a_text_saved_beside_is_as_private_as_its_prompt(tmp_path: Path, mode: int) -> None:
    file = load(tmp_path, b"old\n")
    file.path.chmod(mode)
    assert stat.S_IMODE(save_beside(file, b"new\n", tag="later").stat().st_mode) == mode


def test_a_prompt_read_as_it_was_before_changes_only_what_lies_there_now(tmp_path: Path) -> None:
    path = tmp_path / "route.md"
    path.write_bytes(b"improved\n")
    file = PromptFile.load(path, rootdir=tmp_path, before=b"---\nmodel: demo\n---\noriginal\n")
    assert (file.prose, file.with_prose("other").on_disk) == ("original", b"improved\n")
    before = path.stat().st_mtime_ns, path.stat().st_ino
    put_content(file, b"improved\n")
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == before, "it is there already"
    write_prose(file, "better")
    assert path.read_bytes() == b"---\nmodel: demo\n---\nbetter\n"
    with pytest.raises(PromptConflictError, match="changed on disk"):
        put_content(file, file.original)
