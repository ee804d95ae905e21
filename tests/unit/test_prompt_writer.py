"""Several prompts in one file are written beside each other, also by a run that is continued."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pytest_promptopt.budget.ledger import Ledger
from pytest_promptopt.driver.prompt_writer import PromptWriter
from pytest_promptopt.errors import PromptConflictError, SettingsError
from pytest_promptopt.journal import Journal, read_events
from pytest_promptopt.optimizer.halting import HaltReason
from pytest_promptopt.prompts import PromptFile
from pytest_promptopt.records import Case, Request, Split
from pytest_promptopt.results import PromptOutcome, PromptResult, RunResult
from pytest_promptopt.runs.fingerprint import digest
from pytest_promptopt.runs.run_store import RunStore
from pytest_promptopt.settings import Settings

MODULE = 'ONE = "First {x}."\nTWO = "Second {x}."  # kept\nTHREE = "Third {x}."\n'


@dataclass
class Bench:
    """A module with three prompts; the cases use what was loaded last."""

    folder: Path
    prompts: dict[str, PromptFile] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        return self.folder / "app.py"

    @property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    def load(self, *, before: str | None = None) -> None:
        for name in ("ONE", "TWO", "THREE"):
            content = None if before is None else before.encode()
            found = PromptFile.load(f"app.py::{name}", rootdir=self.folder, before=content)
            self.prompts[found.name] = found

    def writer(self) -> PromptWriter:
        """Of a new process."""

        def reload(file_name: str) -> None:
            assert file_name == "app.py"
            self.prompts |= {name: prompt.read_again() for name, prompt in self.prompts.items()}

        return PromptWriter(lambda file_name: list(self.prompts.values()), reload)

    def journal(self, name: str = "run") -> Journal:
        return Journal.create(self.folder / name, name)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    bench = Bench(tmp_path)
    bench.path.write_text(MODULE, encoding="utf-8")
    bench.load()
    return bench


def decided(name: str, *, written: bool, stop: str = "target reached") -> PromptResult:
    outcome = PromptOutcome.IMPROVED if written else PromptOutcome.NOT_SHOWN
    return PromptResult(f"app.py::{name}", "", "", outcome, stop, "", (), written=written)


def result(*prompts: PromptResult) -> RunResult:
    return RunResult("run", prompts, {}, 0.0)


def test_each_is_written_beside_what_was_written_before(bench: Bench) -> None:
    writer, journal, found = bench.writer(), bench.journal(), dict(bench.prompts)
    writer.write(journal, found["app.py::TWO"], "Now {x}.")
    after_one = bench.text
    writer.write(journal, found["app.py::ONE"], "New {x}.")
    assert bench.text == MODULE.replace("Second", "Now").replace("First", "New")
    assert bench.prompts["app.py::TWO"].prose == "Now {x}.", "the cases use what is in the file"
    told = [(e.data["prompt"], e.data["sha256"]) for e in read_events(journal.path) if e.event == "writing"]
    assert told == [
        ("app.py::TWO", digest(after_one.encode())),
        ("app.py::ONE", digest(bench.path.read_bytes())),
    ]


def test_a_later_edit_of_the_file_stops_the_second(bench: Bench) -> None:
    writer, journal, found = bench.writer(), bench.journal(), dict(bench.prompts)
    writer.write(journal, found["app.py::TWO"], "Now {x}.")
    bench.path.write_text(bench.text + "# mine\n", encoding="utf-8")
    with pytest.raises(PromptConflictError, match=r"changed on disk since it was read.*optimized-run"):
        writer.write(journal, found["app.py::ONE"], "New {x}.")
    assert bench.text == MODULE.replace("Second", "Now") + "# mine\n"
    assert writer.unwritten == ["app.py::ONE"]
    beside = bench.folder / "app.py.optimized-run"
    assert beside.read_text(encoding="utf-8") == MODULE.replace("Second", "Now").replace("First", "New")


def test_a_continued_run_keeps_what_it_wrote_before(bench: Bench) -> None:
    """It was killed after it had written one of two."""
    bench.writer().write(bench.journal(), bench.prompts["app.py::TWO"], "Now {x}.")
    bench.load(before=MODULE)
    writer, found = bench.writer(), dict(bench.prompts)
    writer.write(bench.journal("again"), found["app.py::ONE"], "New {x}.")
    assert bench.text == MODULE.replace("Second", "Now").replace("First", "New")
    notes = writer.bring_to_disk(
        result(decided("ONE", written=True), decided("TWO", written=True), decided("THREE", written=False)),
        bench.prompts,
        writing=True,
    ).notes
    assert notes == ()


@pytest.mark.parametrize("first", [True, False])
def test_what_is_not_confirmed_this_time_is_put_back_alone(bench: Bench, first: bool) -> None:
    bench.writer().write(bench.journal(), bench.prompts["app.py::TWO"], "Now {x}.")
    bench.load(before=MODULE)
    writer = bench.writer()
    if first:
        writer.write(bench.journal("again"), bench.prompts["app.py::ONE"], "New {x}.")
    notes = writer.bring_to_disk(
        result(decided("ONE", written=first), decided("TWO", written=False)), bench.prompts, writing=True
    ).notes
    assert notes == (
        "app.py::TWO was put back as it was before the run, which this time does not confirm the gain",
    )
    assert bench.text == (MODULE.replace("First", "New") if first else MODULE)
    assert bench.prompts["app.py::TWO"].prose == "Second {x}."


def test_what_is_not_decided_this_time_stays(bench: Bench) -> None:
    bench.writer().write(bench.journal(), bench.prompts["app.py::TWO"], "Now {x}.")
    bench.load(before=MODULE)
    notes = (
        bench.writer()
        .bring_to_disk(
            result(decided("TWO", written=False, stop=HaltReason.BUDGET)), bench.prompts, writing=True
        )
        .notes
    )
    assert notes == ("app.py::TWO still holds the text that this run had written into it",)
    assert bench.text == MODULE.replace("Second", "Now")
    assert bench.prompts["app.py::TWO"].prose == "Now {x}."


@dataclass(frozen=True)
class Searched:
    """A case of a run, as far as its fingerprint knows it."""

    case: Case
    files: dict[str, PromptFile]
    path: Path
    frozen: frozenset[str] = frozenset()
    identity: str = ""
    values: dict[str, object] = field(default_factory=dict)

    def model_of(self, file: PromptFile) -> str:
        return "demo"

    def bare_request(self, file: PromptFile) -> Request:
        return Request("demo", ())


@pytest.mark.parametrize("test_file", ["app.py", "test_a.py"])
def test_what_a_run_has_written_is_no_change_of_what_it_stands_on(bench: Bench, test_file: str) -> None:
    """Neither where the prompts stand in a test file itself, nor where the tests import their module."""
    for name in ("test_a.py", "other.py"):
        (bench.folder / name).write_text("", encoding="utf-8")

    def stands_on(resume: str = "") -> RunStore:
        bench.load()
        prompts = {name: bench.prompts[name] for name in ("app.py::ONE", "app.py::TWO")}
        cases = [Searched(Case("a", tuple(prompts), Split.TRAIN), prompts, bench.folder / test_file)]
        store = RunStore(Settings(rootdir=bench.folder, resume=resume))
        store.stands_on(cases, [bench.path, bench.folder / "other.py"])
        return store

    begun = stands_on()
    journal = begun.open(dict(bench.prompts), Ledger())
    bench.writer().write(journal, bench.prompts["app.py::TWO"], "Now {x}.")
    begun.close()
    continued = stands_on(begun.id)
    continued.close()
    assert (continued.fingerprint, continued.notes) == (begun.fingerprint, [])
    assert continued.originals() == {"app.py": MODULE.encode()}
    bench.path.write_text(bench.text + "# mine\n", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"the prompt file app\.py::ONE has changed since"):
        stands_on(begun.id)
