"""What a judge was found to be worth, stored beside its labels, and whether that still holds."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from pathlib import Path
from typing import Any

from pytest_promptopt.errors import SettingsError
from pytest_promptopt.file_writing import replace_file
from pytest_promptopt.grading.agreement import Estimate, enough_for_kappa, enough_for_share
from pytest_promptopt.grading.calibration import Calibration
from pytest_promptopt.grading.judge_bias import BIAS_ALPHA, BiasTest
from pytest_promptopt.labels import Kind
from pytest_promptopt.settings import JUDGE_FLOOR
from pytest_promptopt.text import plural

#: Raised when a certificate means something else than before; those of other versions do not hold.
VERSION = 1

LEAST_LABELS = 50
LEAST_OF_EACH = 15


@dataclass(frozen=True)
class JudgeFingerprint:
    """Everything that decides a judge's verdicts on a file of labels.

    :param prompt: sha256 of the judge's prompt, its rubric and parameters.
    :param labels: sha256 of the labels, see `label_reading.fingerprint_of`.
    """

    prompt: str
    model: str
    threshold: float
    labels: str


@dataclass(frozen=True)
class Certificate:
    """A stored calibration, and of which judge it is."""

    judge: JudgeFingerprint
    calibration: Calibration

    @property
    def criterion(self) -> str:
        return self.calibration.criterion

    @property
    def kind(self) -> Kind:
        return self.calibration.kind

    def to_json(self) -> dict[str, Any]:
        data = {**self.calibration.to_json(), "judge": asdict(self.judge)}
        return {**data, "sha256": _digest(data)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Certificate:
        """Raises KeyError, TypeError or ValueError, also when a figure was changed by hand."""
        if data["sha256"] != _digest({name: value for name, value in data.items() if name != "sha256"}):
            raise ValueError("it was changed after it was written")
        judge = data["judge"]
        texts = {name: str(judge[name]) for name in ("prompt", "model", "labels")}
        fingerprint = JudgeFingerprint(**texts, threshold=float(judge["threshold"]))
        return cls(fingerprint, Calibration.from_json(data))


def _digest(data: Mapping[str, Any]) -> str:
    return sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def certificate_path(labels: Path) -> Path:
    """``labels.jsonl`` -> ``labels.certificate.json``, in the same folder."""
    return labels.with_name(f"{labels.stem}.certificate.json")


def read_certificates(path: Path) -> tuple[Certificate, ...]:
    """The certificates in a file; none when there is no such file, or it is of another version.

    :raises SettingsError: when the file cannot be read.
    """
    try:
        data = json.loads(path.read_bytes())
        if data["version"] != VERSION:
            return ()
        return tuple(map(Certificate.from_json, data["certificates"]))
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise SettingsError(f"{path}: the certificate cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise SettingsError(
            f"{path}: it is not a certificate as --promptopt-calibrate writes it ({error}); delete the file "
            "and run pytest --promptopt-calibrate again"
        ) from error


def write_certificates(path: Path, certificates: Iterable[Certificate]) -> None:
    """Store certificates; those of other criteria in the file stay.

    The same certificates make the same bytes. Raises `SettingsError` as `read_certificates`, and OSError.
    """
    stored = {(each.criterion, each.kind): each for each in (*read_certificates(path), *certificates)}
    data = {"version": VERSION, "certificates": [stored[key].to_json() for key in sorted(stored)]}
    text = json.dumps(data, indent=2, sort_keys=True, ensure_ascii=True, allow_nan=False)
    replace_file(path, f"{text}\n".encode())


def check_writable(path: Path) -> None:
    """Before anything is paid for what is to stand there: raises `SettingsError` where it cannot."""
    read_certificates(path)
    if not os.access(path.parent, os.W_OK):
        raise SettingsError(f"{path}: the certificate cannot be stored: {path.parent} cannot be written to")


def certificate_for(
    certificates: Iterable[Certificate], criterion: str, kind: Kind = "answers"
) -> Certificate | None:
    """The certificate of this criterion, if there is one."""
    return next((each for each in certificates if (each.criterion, each.kind) == (criterion, kind)), None)


def missing(
    certificate: Certificate | None, judge: JudgeFingerprint, *, floor: float = JUDGE_FLOOR
) -> tuple[str, ...]:
    """Every reason why this judge may not decide, a sentence each, with how many labels would do.

    Empty when it may: at least `LEAST_LABELS` labels with `LEAST_OF_EACH` of each class, the lower bounds of
    precision and recall at `floor` or above, that of kappa above 0, no bias shown, and nothing has changed.
    """
    if certificate is None:
        return (
            "this judge was never calibrated: run pytest --promptopt-calibrate, with at least "
            f"{LEAST_LABELS} labels, {LEAST_OF_EACH} of each class",
        )
    calibration = certificate.calibration
    return (
        *_changes(certificate.judge, judge),
        *_too_few(calibration),
        *_too_uncertain(calibration, floor),
        *(_bias(test, calibration.kind) for test in calibration.biases if test.rejects),
    )


def _changes(then: JudgeFingerprint, now: JudgeFingerprint) -> Iterator[str]:
    """Changed parts; what the judge does now is not known, so no number of labels would do without a run."""
    names = {"prompt": "prompt of the judge, or its rubric,", "labels": "labels"}
    for name in (field.name for field in fields(then)):
        before, after = getattr(then, name), getattr(now, name)
        if before != after:
            values = "" if name in names else f" from {before} to {after}"
            verb = "have" if name == "labels" else "has"
            yield (
                f"the {names.get(name, name)} {verb} changed{values} since the judge was calibrated: run "
                "pytest --promptopt-calibrate again, with the labels that are there"
            )


def _too_few(calibration: Calibration) -> Iterator[str]:
    table = calibration.confusion
    if table.labels < LEAST_LABELS:
        lack = LEAST_LABELS - table.labels
        yield f"{plural(table.labels, 'label')}, at least {LEAST_LABELS} are needed: {lack} more would do"
    for positive, count in ((True, table.positive), (False, table.negative)):
        if count >= LEAST_OF_EACH:
            continue
        lack = LEAST_OF_EACH - count
        if calibration.kind == "answers":
            what = f"{plural(count, 'answer')} labelled {'good' if positive else 'bad'}"
            remedy = f"{lack} more would do"
        else:
            what = f"{plural(count, 'pair')} with {'a' if positive else 'b'} as the better answer"
            remedy = f"{lack} more would do, or swap a and b in as many others"
        yield f"{what}, at least {LEAST_OF_EACH} are needed: {remedy}"


def _too_uncertain(calibration: Calibration, floor: float) -> Iterator[str]:
    table = calibration.confusion
    for name, figure, of in (
        ("precision", table.precision, table.tp + table.fp),
        ("recall", table.recall, table.positive),
    ):
        if of == 0:  # without a positive label there are too few, which is said
            if name == "precision":
                yield "it calls none of them good, so its precision is not known: the judge must get better"
        elif figure.low < floor:
            enough = enough_for_share(table.tp, of, floor)
            # Of all labels only some count for a share.
            labels = enough and -(-enough * table.labels // of)
            seen = f"{name} is {_shown(figure)} ({table.tp} of {of})"
            remedy = _would_do(labels, is_hopeless=figure.value <= floor)
            yield f"{seen}; its lower bound must reach {floor:.2f}: {remedy}"
    if table.kappa.low <= 0:
        remedy = _would_do(enough_for_kappa(table), is_hopeless=table.kappa.value <= 0)
        yield f"kappa is {_shown(table.kappa)}; its lower bound must be above 0: {remedy}"


def _shown(figure: Estimate) -> str:
    # Rounded outwards, so that no bound seems to reach what it does not.
    low, high = math.floor(100 * figure.low) / 100, math.ceil(100 * figure.high) / 100
    return f"{figure.value:.2f}, 95 % interval {low:.2f} to {high:.2f}"


def _would_do(labels: int | None, *, is_hopeless: bool) -> str:
    if is_hopeless:
        return "no number of labels would do, the judge must get better"
    if labels is None:
        return "not even tens of thousands of labels would do, the judge must get better"
    return f"about {labels:,} labels in all would do"


def _bias(test: BiasTest, kind: Kind) -> str:
    first, second = test.shares
    odds = f"(p = {test.p:.2g}, below {BIAS_ALPHA})"
    end = f"{odds}: no number of labels would do, its prompt must say that this does not count"
    if test.direction in ("first", "second"):
        return (
            f"it prefers the answer that is shown {test.direction}: in {first} pairs it chose the first and "
            f"in {second} the second, whatever stood there {end}"
        )
    if kind == "pairs":
        return (
            f"it prefers {test.direction} answers: it missed the better one in {first} pairs where that is "
            f"the shorter one, and in {second} where it is the longer one {end}"
        )
    return (
        f"it prefers {test.direction} answers among those that people call alike: {first} longer ones pass, "
        f"and {second} shorter ones {end}"
    )
