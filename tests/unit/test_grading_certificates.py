"""A judge is tested on labels; what comes out is stored, and says whether the judge may decide."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_promptopt.errors import SettingsError
from pytest_promptopt.grading.agreement import Confusion
from pytest_promptopt.grading.calibration import (
    Calibration,
    LabelledPreference,
    LabelledScore,
    calibrate,
)
from pytest_promptopt.grading.certificates import (
    Certificate,
    JudgeFingerprint,
    certificate_for,
    certificate_path,
    missing,
    read_certificates,
    write_certificates,
)
from pytest_promptopt.grading.judge_bias import BiasTest, Share
from pytest_promptopt.labels import Label, PairLabel
from pytest_promptopt.verdicts import Better

JUDGE = JudgeFingerprint(prompt="p1", model="demo", threshold=0.7, labels="l1")
NO_BIAS = BiasTest("", 1.0, (Share(0, 0), Share(0, 0)))


def graded(good: bool, score: float, *, repeated: Sequence[float] = (), answer: str = "x") -> LabelledScore:
    label = Label(answer, "is polite", good, None, None, None, "labels.jsonl:1", "id")
    return LabelledScore(label, score, tuple(repeated))


def compared(better: str, orders: tuple[Better, Better]) -> LabelledPreference:
    side = PairLabel("short", "a longer one", "is polite", "a", None, None, None, "labels.jsonl:1", "id")
    return LabelledPreference(replace(side, better="a" if better == "a" else "b"), orders)


def certificate(table: Confusion, **changes: object) -> Certificate:
    calibration = Calibration("is polite", "answers", 0.7, table, 0, NO_BIAS, None, Share(0, 0))
    return Certificate(JUDGE, replace(calibration, **changes))  # type: ignore[arg-type]


GOOD_JUDGE = certificate(Confusion(48, 4, 4, 44))


class TestCalibration:
    def test_scores_are_counted_against_labels(self) -> None:
        verdicts = [
            graded(True, 0.9),
            graded(True, 0.7),
            graded(True, 0.6),
            graded(False, 0.8),
            graded(False, 0),
        ]
        (calibration,) = calibrate(verdicts, threshold=0.7)
        assert calibration.confusion == Confusion(tp=2, fp=1, fn=1, tn=1)
        assert (calibration.kind, calibration.position, calibration.ties) == ("answers", None, 0)

    def test_the_farthest_off_comes_first_among_disagreements(self) -> None:
        near, far = graded(True, 0.6), graded(False, 1.0)
        (calibration,) = calibrate([near, graded(True, 1.0), far], threshold=0.7)
        assert calibration.disagreements == (far, near)

    def test_of_two_orders_that_contradict_each_other_none_counts(self) -> None:
        verdicts = [compared("a", ("a", "a")), compared("b", ("b", "b")), compared("a", ("a", "b"))]
        verdicts += [compared("b", ("a", "b")), compared("b", ("a", "a")), compared("a", ("tie", "a"))]
        (calibration,) = calibrate(verdicts, threshold=0.7)
        assert calibration.confusion == Confusion(tp=1, fp=2, fn=2, tn=1)
        assert calibration.ties == 3
        assert calibration.position is not None
        assert calibration.position.shares == (Share(2, 6), Share(0, 6))
        assert calibration.disagreements[0] == verdicts[4]

    def test_repeatability_is_whether_the_verdict_stays(self) -> None:
        (calibration,) = calibrate(
            [graded(True, 0.9, repeated=[0.7, 0.6]), graded(False, 0.1)], threshold=0.7
        )
        assert calibration.repeats == Share(1, 2)
        assert calibration.repeatability.value == 0.5

    def test_criteria_are_calibrated_apart_and_pairs_apart_from_answers(self) -> None:
        other = graded(True, 1.0)
        other = replace(other, label=replace(other.label, criterion="is short"))
        found = calibrate([graded(True, 1.0), other, compared("a", ("a", "a"))], threshold=0.7)
        assert [(each.criterion, each.kind) for each in found] == [
            ("is polite", "answers"),
            ("is short", "answers"),
            ("is polite", "pairs"),
        ]

    def test_long_answers_that_pass_are_seen(self) -> None:
        verdicts = [
            graded(good, float(length > 25), answer="x" * length)
            for length in range(50)
            for good in (True, False)
        ]
        (calibration,) = calibrate(verdicts, threshold=0.7)
        assert (calibration.length.direction, calibration.length.rejects) == ("long", True)


class TestWhatIsMissing:
    def test_nothing_where_all_holds(self) -> None:
        assert missing(GOOD_JUDGE, JUDGE) == ()

    def test_a_judge_that_was_never_calibrated(self) -> None:
        (reason,) = missing(None, JUDGE)
        assert reason == (
            "this judge was never calibrated: run pytest --promptopt-calibrate, with at least 50 labels, "
            "15 of each class"
        )

    @pytest.mark.parametrize(
        ("judge", "said"),
        [
            (replace(JUDGE, prompt="p2"), "the prompt of the judge, or its rubric, has changed since"),
            (replace(JUDGE, model="other"), "the model has changed from demo to other since"),
            (replace(JUDGE, threshold=0.5), "the threshold has changed from 0.7 to 0.5 since"),
            (replace(JUDGE, labels="l2"), "the labels have changed since"),
        ],
    )
    def test_what_has_changed_since(self, judge: JudgeFingerprint, said: str) -> None:
        (reason,) = missing(GOOD_JUDGE, judge)
        assert reason.startswith(said)
        assert "--promptopt-calibrate" in reason

    def test_labels_and_how_many_more(self) -> None:
        assert missing(certificate(Confusion(24, 0, 0, 25)), JUDGE) == (
            "49 labels, at least 50 are needed: 1 more would do",
        )
        assert missing(certificate(Confusion(24, 0, 0, 26)), JUDGE) == ()

    def test_both_classes(self) -> None:
        (reason,) = missing(certificate(Confusion(60, 0, 0, 14)), JUDGE)
        assert reason == "14 answers labelled bad, at least 15 are needed: 1 more would do"
        pairs = certificate(Confusion(60, 0, 0, 14), kind="pairs")
        (reason,) = missing(pairs, JUDGE)
        assert reason == (
            "14 pairs with b as the better answer, at least 15 are needed: 1 more would do, or swap a and "
            "b in as many others"
        )

    def test_an_interval_that_reaches_below_the_floor_and_the_labels_that_would_do(self) -> None:
        (reason,) = missing(certificate(Confusion(25, 2, 5, 28)), JUDGE)
        assert reason == (
            "recall is 0.83, 95 % interval 0.65 to 0.95 (25 of 30); its lower bound must reach 0.70: "
            "about 106 labels in all would do"
        )
        assert missing(certificate(Confusion(25, 2, 5, 28)), JUDGE, floor=0.65) == ()

    def test_with_that_many_labels_it_holds(self) -> None:
        more = Confusion(*(round(cell * 106 / 60) for cell in (25, 2, 5, 28)))
        assert missing(certificate(more), JUDGE) == ()

    def test_a_bound_is_never_shown_as_if_it_reached_the_floor(self) -> None:
        table = Confusion(25, 2, 5, 28)
        reasons = missing(certificate(table), JUDGE, floor=table.recall.low + 1e-6)
        assert "interval 0.65 to 0.95" in " ".join(reasons)

    def test_a_judge_that_is_worse_than_the_floor(self) -> None:
        reasons = missing(certificate(Confusion(20, 10, 10, 20)), JUDGE)
        assert len(reasons) == 2
        assert all("no number of labels would do, the judge must get better" in reason for reason in reasons)

    def test_a_judge_that_passes_everything(self) -> None:
        (reason,) = missing(certificate(Confusion(170, 30, 0, 0)), JUDGE)
        assert reason.startswith(
            "kappa is 0.00, 95 % interval 0.00 to 0.00; its lower bound must be above 0: no"
        )

    def test_a_bias(self) -> None:
        long = BiasTest("long", 0.002, (Share(30, 50), Share(10, 50)))
        (reason,) = missing(certificate(GOOD_JUDGE.calibration.confusion, length=long), JUDGE)
        assert reason.startswith(
            "it prefers long answers among those that people call alike: 30 of 50 longer ones"
        )
        first = BiasTest("first", 0.009, (Share(12, 100), Share(2, 100)))
        both = certificate(GOOD_JUDGE.calibration.confusion, kind="pairs", length=long, position=first)
        assert [reason.split(":")[0] for reason in missing(both, JUDGE)] == [
            "it prefers long answers",
            "it prefers the answer that is shown first",
        ]
        assert (
            missing(certificate(GOOD_JUDGE.calibration.confusion, length=replace(long, p=0.01)), JUDGE) == ()
        )


class TestTheFile:
    def test_it_lies_beside_the_labels(self) -> None:
        assert certificate_path(Path("tests/labels.jsonl")) == Path("tests/labels.certificate.json")

    def test_none_where_there_is_no_file(self, tmp_path: Path) -> None:
        assert read_certificates(tmp_path / "none.json") == ()

    def test_other_criteria_stay_and_the_order_is_stable(self, tmp_path: Path) -> None:
        path = tmp_path / "labels.certificate.json"
        other = certificate(Confusion(1, 2, 3, 4), criterion="a first one")
        write_certificates(path, [GOOD_JUDGE])
        write_certificates(path, [other])
        both = path.read_bytes()
        assert read_certificates(path) == (other, GOOD_JUDGE)
        assert both.endswith(b"}\n")
        path.unlink()
        write_certificates(path, [GOOD_JUDGE, other])
        assert path.read_bytes() == both

    def test_a_new_one_replaces_the_old_one(self, tmp_path: Path) -> None:
        path = tmp_path / "labels.certificate.json"
        write_certificates(path, [GOOD_JUDGE])
        newer = replace(GOOD_JUDGE, judge=replace(JUDGE, model="other"))
        write_certificates(path, [newer])
        assert certificate_for(read_certificates(path), "is polite") == newer
        assert certificate_for(read_certificates(path), "is polite", "pairs") is None

    def test_figures_are_there_to_read(self, tmp_path: Path) -> None:
        path = tmp_path / "labels.certificate.json"
        write_certificates(path, [certificate(Confusion(20, 10, 10, 20))])
        data = json.loads(path.read_text(encoding="utf-8"))
        figures = data["certificates"][0]["figures"]
        assert figures["recall"]["value"] == pytest.approx(2 / 3, abs=1e-6)

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ('"tp": 48', '"tp": 480'),
            ('"tp": 48', '"tp": ' + "9" * 400),
            ('"low": 0.8', '"low": 0.9'),
            ('"model": "', '"model": "other/'),
            ('"threshold": 0.7', '"threshold": 0.6'),
        ],
    )
    def test_figures_that_were_changed_by_hand_do_not_hold(
        self, tmp_path: Path, before: str, after: str
    ) -> None:
        path = tmp_path / "labels.certificate.json"
        write_certificates(path, [GOOD_JUDGE])
        text = path.read_text(encoding="utf-8")
        assert before in text
        path.write_text(text.replace(before, after), encoding="utf-8")
        with pytest.raises(SettingsError, match="it was changed after it was written"):
            read_certificates(path)

    @pytest.mark.parametrize(
        "content", ["", "{", "[]", "{}", '{"version": 1}', '{"version": 1, "certificates": [{}]}', "\xff"]
    )
    def test_one_that_cannot_be_read_is_named(self, tmp_path: Path, content: str) -> None:
        path = tmp_path / "labels.certificate.json"
        path.write_bytes(content.encode("latin-1"))
        with pytest.raises(SettingsError, match=r"labels\.certificate\.json: it is not a certificate"):
            read_certificates(path)

    def test_counts_that_are_none_are_not_read(self) -> None:
        data = GOOD_JUDGE.calibration.to_json()
        data["confusion"]["tp"] = -1
        with pytest.raises(ValueError, match="-1 is no count"):
            Calibration.from_json(data)

    def test_one_of_another_version_does_not_hold(self, tmp_path: Path) -> None:
        path = tmp_path / "labels.certificate.json"
        path.write_text('{"version": 99, "certificates": "?"}', encoding="utf-8")
        assert read_certificates(path) == ()


counts = st.integers(0, 400)
shares = st.builds(Share, counts, counts)
tests = st.builds(
    BiasTest,
    st.sampled_from(["long", "short", "first", "second", ""]),
    st.floats(0, 1),
    st.tuples(shares, shares),
)
calibrations = st.builds(
    Calibration,
    criterion=st.text(st.characters(exclude_categories=["Cs"]), max_size=10),
    kind=st.sampled_from(["answers", "pairs"]),
    threshold=st.floats(0, 1),
    confusion=st.builds(Confusion, *[st.integers(0, 30)] * 4),
    ties=counts,
    length=tests,
    position=st.none() | tests,
    repeats=st.builds(lambda same, more: Share(same, same + more), counts, counts),
    disagreements=st.just(()),
)
certificates = st.builds(
    Certificate,
    st.builds(JudgeFingerprint, st.text("abc"), st.text("xyz"), st.floats(0, 1), st.text("12")),
    calibrations,
)


@pytest.mark.filterwarnings("ignore")
@given(certificates)
def test_what_is_written_is_read(each: Certificate) -> None:
    assert Certificate.from_json(json.loads(json.dumps(each.to_json()))) == each
