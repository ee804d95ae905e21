"""Whether a judge may decide: by the certificates that lie beside the labels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from hashlib import sha256
from pathlib import Path

from pytest_promptopt.grading.certificates import (
    Certificate,
    JudgeFingerprint,
    certificate_for,
    certificate_path,
    missing,
    read_certificates,
)
from pytest_promptopt.grading.judge_setup import JudgeSetup
from pytest_promptopt.grading.label_reading import fingerprint_of, read_labels
from pytest_promptopt.grading.rubrics import Rubric
from pytest_promptopt.labels import AnyLabel, Kind
from pytest_promptopt.settings import JUDGE_FLOOR
from pytest_promptopt.text import quote


@dataclass(frozen=True)
class LabelFile:
    """A file of labels.

    :param criterion: of labels that name none.
    """

    path: Path
    rootdir: Path
    criterion: str = ""

    def labels(self) -> tuple[AnyLabel, ...]:
        """Raises `SettingsError` at file:line."""
        return read_labels(self.path, criterion=self.criterion, folders=(self.path.parent, self.rootdir))


def judge_fingerprint(
    judge: JudgeSetup, rubric: Rubric, kind: Kind, labels: Sequence[AnyLabel]
) -> JudgeFingerprint:
    """What decides the verdicts of `judge` on those of `labels` that are of this rubric and kind."""
    prompt = judge.prompt if kind == "answers" else judge.comparing
    asked = json.dumps([prompt.fingerprint, rubric.text])
    return JudgeFingerprint(
        prompt=sha256(asked.encode()).hexdigest(),
        model=judge.model,
        threshold=judge.threshold,
        labels=fingerprint_of(
            label for label in labels if label.criterion == rubric.name and label.kind == kind
        ),
    )


class JudgeTrust:
    """The certificates of a session's files of labels, read when first asked for.

    :param floor: what precision and recall must be shown to reach.
    """

    def __init__(self, files: Sequence[LabelFile], *, floor: float = JUDGE_FLOOR) -> None:
        self.files = files
        self._floor = floor
        self._read: dict[LabelFile, tuple[tuple[AnyLabel, ...], tuple[Certificate, ...]]] = {}
        self._found: dict[tuple[str, str, Kind], tuple[tuple[str, ...], str]] = {}

    def read(self) -> None:
        """Read all files. Raises `SettingsError` for one of labels or certificates that cannot be read."""
        for file in self.files:
            self._of(file)

    def missing(self, judge: JudgeSetup, criterion: str, kind: Kind = "answers") -> tuple[str, ...]:
        """Every reason why `judge` may not decide about `criterion`; none when it may.

        Raises `SettingsError` for files of labels, certificates and rubrics that cannot be read.
        """
        return self._looked_up(judge, criterion, kind)[0]

    def source(self, judge: JudgeSetup, criterion: str, kind: Kind = "answers") -> str:
        """The certificate that lets it decide, in short; empty where none does."""
        return self._looked_up(judge, criterion, kind)[1]

    def _looked_up(self, judge: JudgeSetup, criterion: str, kind: Kind) -> tuple[tuple[str, ...], str]:
        rubric = judge.rubric(criterion)
        key = (judge.fingerprint, rubric.name, kind)
        if key not in self._found:
            self._found[key] = self._look_up(judge, rubric, kind)
        return self._found[key]

    def _look_up(self, judge: JudgeSetup, rubric: Rubric, kind: Kind) -> tuple[tuple[str, ...], str]:
        reasons: tuple[str, ...] | None = None
        for file in self.files:
            labels, certificates = self._of(file)
            if not any(label.criterion == rubric.name and label.kind == kind for label in labels):
                continue
            found = certificate_for(certificates, rubric.name, kind)
            why = missing(found, judge_fingerprint(judge, rubric, kind, labels), floor=self._floor)
            if found is not None and not why:
                return (), f"{file.path.name}, {_summary(found)}"
            reasons = reasons or tuple(f"{file.path.name}: {each}" for each in why)
        return reasons or self._without_labels(rubric.name, kind), ""

    def _without_labels(self, criterion: str, kind: Kind) -> tuple[str, ...]:
        if not self.files:
            return (
                "there are no labels to test it by: name a file of labelled answers with "
                "@pytest.mark.judge_labels or the ini value promptopt_judge_labels",
            )
        names = ", ".join(file.path.name for file in self.files)
        found = dict.fromkeys(
            label.criterion for file in self.files for label in self._of(file)[0] if label.kind == kind
        )
        near = get_close_matches(criterion, found, n=1, cutoff=0.8)
        hint = f"; did you mean {quote(near[0], 80)}, which has labels?" if near else ""
        what = "labelled answer" if kind == "answers" else "labelled pair"
        return (f"no {what} in {names} is of this criterion{hint}",)

    def _of(self, file: LabelFile) -> tuple[tuple[AnyLabel, ...], tuple[Certificate, ...]]:
        if file not in self._read:
            self._read[file] = file.labels(), read_certificates(certificate_path(file.path))
        return self._read[file]


def _summary(certificate: Certificate) -> str:
    table = certificate.calibration.confusion
    precision, recall = table.precision, table.recall
    return (
        f"{table.labels} labels: precision {precision.value:.2f} (at least {precision.low:.2f}), "
        f"recall {recall.value:.2f} (at least {recall.low:.2f})"
    )
