"""What came of breaking the instructions of prompts. Frozen and plain."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pytest_promptopt.rate_interval import clopper_pearson
from pytest_promptopt.settings import Breaking
from pytest_promptopt.statistics import wilson_interval


class Notice(StrEnum):
    """Whether the tests notice that an instruction is broken."""

    NOTICED = "noticed"
    UNNOTICED = "not noticed"
    CANNOT_TELL = "cannot tell"
    NOT_TRIED = "not tried"


@dataclass(frozen=True)
class Finding:
    """One instruction, broken.

    :param line: of the file, from 1.
    :param way: by which it was noticed; else the last one that was tried, None when none was.
    :param ways: all that were tried.
    :param run: how many cases were run without it; `failed`: how many of these failed.
    :param asked_again: how many of those that failed were asked again, to tell luck apart; `failed_again`:
        how many of them failed more often than not.
    :param p: the exact one-sided p-value of the fresh answers, 1 without any.
    :param failing: ids of cases that failed, the first ones.
    :param why: what kept it from being tried; else empty.
    """

    text: str
    line: int
    verdict: Notice
    way: Breaking | None = None
    ways: tuple[Breaking, ...] = ()
    run: int = 0
    failed: int = 0
    asked_again: int = 0
    failed_again: int = 0
    p: float = 1.0
    failing: tuple[str, ...] = ()
    why: str = ""

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the share of cases that notice it; of one that none notices from 0 on."""
        if self.verdict is Notice.NOTICED:
            return wilson_interval(self.failed / self.run if self.run else 0.0, self.run)
        return 0.0, clopper_pearson(self.failed_again, self.run, 2 * 0.05).high if self.run else 1.0


@dataclass(frozen=True)
class PromptFindings:
    """The instructions of one prompt.

    :param cases: all that use it; `usable`: those that pass with the prompt as it is, so that they can notice
        something; `failing`: those that fail already; `unanswered`: the others, which have no verdict.
    :param left: how many instructions were left as they are: they hold a variable or are frozen.
    """

    prompt: str
    cases: int
    usable: int
    failing: int
    unanswered: int
    findings: tuple[Finding, ...]
    left: int = 0

    @property
    def counts(self) -> tuple[int, int]:
        """How many no test notices, of how many that were tried."""
        return len(self.unnoticed), sum(each.verdict is not Notice.NOT_TRIED for each in self.findings)

    @property
    def unnoticed(self) -> tuple[Finding, ...]:
        """Those that the tests leave unguarded."""
        return tuple(each for each in self.findings if each.verdict is Notice.UNNOTICED)


@dataclass(frozen=True)
class MutationResult:
    """One session of ``--promptopt-mutate``.

    :param runs: of cases, under broken prompts and as they are; known answers included.
    :param runs_per_case: of these how many for each case and instruction; None where nothing was tried.
    :param stopped: what ended it before its time, in a sentence; else empty.
    """

    prompts: tuple[PromptFindings, ...] = ()
    runs: int = 0
    runs_per_case: float | None = None
    stopped: str = ""
