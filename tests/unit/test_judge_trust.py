"""A judge may decide what its certificate is about, and nothing else."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from pytest_promptopt.grading.calibrating import run_judge_test
from pytest_promptopt.grading.certificates import certificate_path, write_certificates
from pytest_promptopt.grading.judge import Judge, Question
from pytest_promptopt.grading.judge_prompts import comparing_prompt, grading_prompt
from pytest_promptopt.grading.judge_setup import JudgeSetup
from pytest_promptopt.grading.judge_trust import JudgeTrust, LabelFile
from pytest_promptopt.records import Answer, StopReason

MODEL = "anthropic/x"


@dataclass(frozen=True)
class Honest:
    """Passes answers with the word "good"; of two it likes the first."""

    def ask(self, question: Question) -> tuple[Answer, ...]:
        said = f"BETTER: first\nSCORE: {float('good' in question.given.get('answer', ''))}"
        return tuple(Answer(said, MODEL, StopReason.END, None, None, 0.0) for _ in question.requests)

    async def aask(self, question: Question) -> tuple[Answer, ...]:
        return self.ask(question)


def judge_in(root: Path, folder: str = "") -> JudgeSetup:
    prompts = grading_prompt(None, rootdir=root), comparing_prompt(rootdir=root)
    return JudgeSetup(MODEL, *prompts, folders=(root / folder, root))


def certified(root: Path, criterion: str, name: str = "labels.jsonl") -> LabelFile:
    """A file of labels with the certificate of the judge."""
    rows = [
        {"answer": f"a {'good' if good else 'poor'} one, {number}", "good": good, "criterion": criterion}
        for number in range(30)
        for good in (True, False)
    ]
    file = LabelFile(root / name, root)
    file.path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    tested = asyncio.run(run_judge_test(Judge(Honest(), judge_in(root)), file.labels(), seed=0))
    write_certificates(certificate_path(file.path), tested.certificates)
    return file


def test_it_decides_with_a_certificate_which_is_named(tmp_path: Path) -> None:
    trust = JudgeTrust([certified(tmp_path, "is short")])
    assert trust.missing(judge_in(tmp_path), "is short") == ()
    assert trust.source(judge_in(tmp_path), "is short").startswith("labels.jsonl, 60 labels: precision 1.00")


def test_without_labels_it_is_told_where_to_name_them(tmp_path: Path) -> None:
    [reason] = JudgeTrust([]).missing(judge_in(tmp_path), "is short")
    assert "promptopt_judge_labels" in reason
    assert JudgeTrust([]).source(judge_in(tmp_path), "is short") == ""


def test_other_criteria_and_pairs_of_the_same_one_are_not_certified(tmp_path: Path) -> None:
    trust, judge = JudgeTrust([certified(tmp_path, "is short")]), judge_in(tmp_path)
    assert trust.missing(judge, "is long") == ("no labelled answer in labels.jsonl is of this criterion",)
    assert trust.missing(judge, "is short", "pairs") == (
        "no labelled pair in labels.jsonl is of this criterion",
    )


def test_any_of_its_files_will_do(tmp_path: Path) -> None:
    files = [certified(tmp_path, "is short", "one.jsonl"), certified(tmp_path, "is short", "two.jsonl")]
    certificate_path(files[0].path).unlink()
    assert JudgeTrust(files).missing(judge_in(tmp_path), "is short") == ()
    certificate_path(files[1].path).unlink()
    [reason] = JudgeTrust(files).missing(judge_in(tmp_path), "is short")
    assert reason.startswith("one.jsonl: this judge was never calibrated")


@pytest.mark.parametrize("named", ["rubric.md", "one/rubric.md", "./one/rubric.md"])
def test_a_rubric_is_the_file_and_not_its_name(tmp_path: Path, named: str) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "rubric.md").write_text(f"The rubric of {folder}.")
    trust = JudgeTrust([certified(tmp_path, "one/rubric.md")])
    assert trust.missing(judge_in(tmp_path, "one"), named) == ()
    assert trust.missing(judge_in(tmp_path, "two"), "rubric.md") != ()


def test_a_rubric_that_says_something_else_by_now_makes_it_untested(tmp_path: Path) -> None:
    rubric = tmp_path / "rubric.md"
    rubric.write_text("It is short.")
    files = [certified(tmp_path, "rubric.md")]
    assert JudgeTrust(files).missing(judge_in(tmp_path), "rubric.md") == ()
    rubric.write_text("It is long.")
    [reason] = JudgeTrust(files).missing(judge_in(tmp_path), "rubric.md")
    assert "its rubric, has changed" in reason
