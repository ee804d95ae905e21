"""Every choice of the user as one frozen value; built once by `plugin`, passed down, never changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

#: The optimizer model when none is named. A test holds that the installed SDK lists it.
DEFAULT_OPTIMIZER_MODEL = "anthropic/claude-opus-5-5"

#: rootdir of each pytest session of this process, the innermost last: for code that runs while tests are
#: collected and has no other way to it.
ROOTS: list[Path] = []

#: In the place of a model that nobody is to ask. Without an optimizer model nobody writes, and only examples
#: drawn from training cases are tried; without an embedding model texts are compared by their letters.
NO_MODEL = "none"


#: With what a comparison begins that is with prompts of a commit, not with a file.
GIT = "git:"

#: Where a baseline is written to when no file is named, from rootdir.
BASELINE_FILE = "promptopt-baseline.json"


def home_of(rootdir: Path) -> Path:
    """Where runs, cache and reports of a project live."""
    return rootdir / ".promptopt"


class Mode(StrEnum):
    """What the session does with the prompts."""

    CHECK = "check"
    OPTIMIZE = "optimize"
    DRY_RUN = "dry-run"
    CALIBRATE = "calibrate"
    MUTATE = "mutate"


class Breaking(StrEnum):
    """How an instruction is broken, to see whether a test notices it."""

    DELETE = "delete"
    WEAKEN = "weaken"
    NEGATE = "negate"


class CacheMode(StrEnum):
    """`REFRESH` asks again and stores; `OFF` neither reads nor writes the disk."""

    USE = "use"
    REFRESH = "refresh"
    OFF = "off"


class CritiqueMode(StrEnum):
    """When a model reads the worst answers: `AUTO` where most failures do not say what would be right."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"


class Accept(StrEnum):
    """What may be written: `IMPROVED` a gain that fresh answers confirm, `BEST` also one they do not show.

    What they, or held-out cases, show to be worse is never written.
    """

    IMPROVED = "improved"
    BEST = "best"


class GateMode(StrEnum):
    """What is held against the threshold: the measured `RATE`, or the `INTERVAL` around it."""

    RATE = "rate"
    INTERVAL = "interval"


class GatePopulation(StrEnum):
    """What a rate is about, and so what is random about it.

    `ANSWERS`: these very cases; only the model's answers differ from time to time. `CASES`: all the cases
    that these were drawn from.
    """

    ANSWERS = "answers"
    CASES = "cases"


class GateSplit(StrEnum):
    """Which cases decide."""

    ALL = "all"
    HELDOUT = "heldout"


class FailOn(StrEnum):
    """What in a comparison fails the session: `SIGNIFICANT` a loss that is shown, `ANY` broken case."""

    SIGNIFICANT = "significant"
    ANY = "any"


class Undecided(StrEnum):
    """What a gate does that cannot be decided."""

    FAIL = "fail"
    PASS = "pass"


@dataclass(frozen=True)
class Intercept:
    """Which requests of the code under test are handled: those to a language model, unless said otherwise.

    :param also: hosts all whose POSTs are handled.
    :param without: hosts none of whose requests is.
    """

    on: bool = True
    also: tuple[str, ...] = ()
    without: tuple[str, ...] = ()


#: From this score on a verdict is true: `verdicts.THRESHOLD`, whose module a session without a judge does
#: not import.
JUDGE_THRESHOLD = 0.7

#: A judge's precision and recall must be shown to reach this before it may decide anything.
JUDGE_FLOOR = 0.7

#: Examples in a prompt at most: beyond, every call pays for more than it learns.
MAX_EXAMPLES = 16


@dataclass(frozen=True)
class Settings:
    """Settings of one session.

    Rates are shares from 0 to 1; money is US dollars, time seconds; None means no limit.

    :param model: the one that answers the prompts; None when none is named, or several are.
    :param models: several that answer the prompts of every case that names none itself; empty otherwise.
    :param from_model: the model that prompts are migrated from, to `model`; None without a migration.
    :param least_gain: points of the pass rate for 100 calls; a search ends when its next iteration is
        expected to win less.
    :param learn: whether a search begins with what earlier runs of the same cases taught.
    :param alpha: a change counts as shown from this p-value down.
    :param prompt: the path of the prompt file of the tables that the command line names.
    :param examples: how many training cases may stand in a prompt as examples at most; 0 for none.
    :param embedding_model: whose vectors of two texts say how similar they are; `NO_MODEL` has their letters
        compared.
    :param max_cost_per_case: US dollars that a run of a case may cost on average; `p95_latency` the seconds
        within which 95 of 100 answers must come.
    :param gate: what is held against a pass rate that a prompt must reach; `undecided` what becomes of a gate
        whose interval holds it.
    :param gate_samples: how many samples a case of an undecided gate may have; None where none are added.
    :param gate_margin: points below the threshold that are good enough for a gate by interval.
    :param gate_confidence: of that interval; `gate_population` what it is about, `gate_split` the cases that
        decide; `gate_partial` whether they do where the command line has only some of them run.
    :param save_baseline: the file that what was measured is written to; `compare` the file, or ``git:REF``,
        that it is held against; `fail_on` which loss fails the session, none where None; `compare_margin` the
        points that may be lost.
    :param pr_body: the file for the body of a pull request, where one is asked for.
    :param judge_prompt: the path of the judge's prompt file, from `rootdir`; None for the package's own.
    :param judge_labels: paths, from `rootdir`, of files with answers and what people say of them.
    :param trust_judge: whether a judge decides that was not shown to be right.
    :param otel: whether what the session does is told to OpenTelemetry.
    :param critique: whether candidates are asked for after a model has said what is wrong with the worst
        answers.
    :param mutate_by: the ways in which ``--promptopt-mutate`` breaks instructions, one after the other.
    :param resume: the id of the run to continue; empty for a new one.
    :param options: field -> text of what was given on the command line, now or when that run was begun.
    """

    rootdir: Path
    mode: Mode = Mode.CHECK
    model: str | None = None
    models: tuple[str, ...] = ()
    from_model: str | None = None
    prompt: str | None = None
    optimizer_model: str = DEFAULT_OPTIMIZER_MODEL
    strategy: tuple[str, ...] = ("refine",)
    candidates: int = 3
    examples: int = MAX_EXAMPLES
    max_iterations: int = 20
    plateau: int = 5
    target: float = 1.0
    least_gain: float = 1.0
    learn: bool = True
    accept: Accept = Accept.IMPROVED
    alpha: float = 0.05
    max_calls: int | None = None
    max_tokens: int | None = None
    max_cost: float | None = None
    max_time: float | None = None
    concurrency: int = 50
    samples: int = 1
    seed: int = 0
    no_regressions: bool = False
    cache: CacheMode = CacheMode.USE
    min_pass_rate: float | None = None
    max_cost_per_case: float | None = None
    p95_latency: float | None = None
    gate: GateMode = GateMode.RATE
    gate_samples: int | None = None
    gate_confidence: float = 0.95
    gate_margin: float = 0.0
    gate_population: GatePopulation = GatePopulation.ANSWERS
    gate_split: GateSplit = GateSplit.ALL
    undecided: Undecided = Undecided.FAIL
    gate_partial: bool = False
    save_baseline: Path | None = None
    compare: str | None = None
    fail_on: FailOn | None = None
    compare_margin: float = 0.0
    split: tuple[float, float, float] | None = None
    reports: tuple[Path, ...] = ()
    pr_body: Path | None = None
    judge_model: str | None = None
    embedding_model: str = NO_MODEL
    judge_prompt: str | None = None
    judge_labels: tuple[str, ...] = ()
    judge_threshold: float = JUDGE_THRESHOLD
    judge_floor: float = JUDGE_FLOOR
    trust_judge: bool = False
    otel: bool = False
    critique: CritiqueMode = CritiqueMode.OFF
    resume: str = ""
    intercept: Intercept = Intercept()
    ignore_fields: tuple[str, ...] = ()
    foreign_suites: tuple[str, ...] = ()
    mutate_by: tuple[Breaking, ...] = (Breaking.DELETE,)
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def comparing(self) -> bool:
        """Whether several strategies are run side by side."""
        return len(self.strategy) > 1

    @property
    def writing(self) -> bool:
        """Whether a model is asked for candidates."""
        return self.optimizer_model != NO_MODEL

    @property
    def embedder(self) -> str | None:
        """Whose embeddings are compared; None where letters are."""
        return None if self.embedding_model == NO_MODEL else self.embedding_model

    @property
    def optimizing(self) -> bool:
        return self.mode in (Mode.OPTIMIZE, Mode.DRY_RUN)

    @property
    def measuring(self) -> bool:
        """Whether it is kept, or compared, what every case was measured with."""
        return self.save_baseline is not None or self.compare is not None

    @property
    def most_gate_samples(self) -> int | None:
        """How many samples a case may have until its gate is decided; None where the session adds none."""
        by_interval = self.gate is GateMode.INTERVAL and self.gate_population is GatePopulation.ANSWERS
        return self.gate_samples if by_interval and self.mode is Mode.CHECK else None

    @property
    def runs_ahead(self) -> bool:
        """Whether cases run before pytest's own loop: under xdist its workers then ask by the controller."""
        return self.optimizing or self.most_gate_samples is not None or self.earlier_ref is not None

    @property
    def earlier_ref(self) -> str | None:
        """The commit whose prompts are answered as well, to be compared with; None without one."""
        compared = self.compare or ""
        return compared.removeprefix(GIT) if compared.startswith(GIT) else None

    @property
    def migrating(self) -> bool:
        """Whether prompts are rewritten for another model than the one that they were for."""
        return self.optimizing and self.from_model is not None

    @property
    def home(self) -> Path:
        return home_of(self.rootdir)
