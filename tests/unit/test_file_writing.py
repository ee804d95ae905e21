"""A file is written whole or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from pytest_promptopt.file_writing import replace_file, why_unwritable


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_file_is_like_any_other_new_file(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"")

    replace_file(tmp_path / "new" / "report.json", b"{}")

    assert (tmp_path / "new" / "report.json").read_bytes() == b"{}"
    assert mode_of(tmp_path / "new" / "report.json") == mode_of(tmp_path / "other")


def test_a_file_that_is_replaced_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_bytes(b"old")
    path.chmod(0o640)

    replace_file(path, b"new")

    assert (path.read_bytes(), mode_of(path)) == (b"new", 0o640)


def test_a_name_as_long_as_names_may_be(tmp_path: Path) -> None:
    path = tmp_path / ("r" * 250 + ".json")

    replace_file(path, b"new")

    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.json"
    path.write_bytes(b"old")

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="No space left"):
            replace_file(path, b"new")

    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == {"report.json": b"old"}


def test_what_cannot_be_written_is_known_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "away").symlink_to(tmp_path / "nowhere")
    assert why_unwritable(tmp_path / "new" / "deep" / "report.json") == ""
    assert why_unwritable(tmp_path / "file") == ""
    assert why_unwritable(tmp_path) == "it is a folder"
    assert why_unwritable(tmp_path / "file" / "deep" / "report.json") == f"{tmp_path / 'file'} is no folder"
    assert why_unwritable(tmp_path / "away" / "report.json") == f"{tmp_path / 'away'} is no folder"
    assert "too long" in why_unwritable(tmp_path / ("a" * 300))
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)
    assert why_unwritable(tmp_path / "new" / "report.json") == f"the folder {tmp_path} is closed to you"
