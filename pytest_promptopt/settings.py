"""Every choice of the user as one frozen value; built once by `plugin`, passed down, never changed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

#: The optimizer model when none is named. A test holds that the installed SDK lists it.
DEFAULT_OPTIMIZER_MODEL = "anthropic/claude-opus-5-5"


class Mode(StrEnum):
    """What the session does with the prompts."""

    CHECK = "check"
    OPTIMIZE = "optimize"
    DRY_RUN = "dry-run"


class CacheMode(StrEnum):
    """`REFRESH` asks again and stores; `OFF` neither reads nor writes the disk."""

    USE = "use"
    REFRESH = "refresh"
    OFF = "off"


class Accept(StrEnum):
    """What may be written: `IMPROVED` a gain that fresh answers confirm, `BEST` also one they do not show.

    What they, or held-out cases, show to be worse is never written.
    """

    IMPROVED = "improved"
    BEST = "best"


@dataclass(frozen=True)
class Settings:
    """Settings of one session. Rates are shares from 0 to 1; money is US dollars; None means no limit.

    :param alpha: a change counts as shown from this p-value down.
    """

    rootdir: Path
    mode: Mode = Mode.CHECK
    model: str | None = None
    optimizer_model: str = DEFAULT_OPTIMIZER_MODEL
    strategy: tuple[str, ...] = ("refine",)
    candidates: int = 3
    max_iterations: int = 20
    plateau: int = 5
    target: float = 1.0
    accept: Accept = Accept.IMPROVED
    alpha: float = 0.05
    max_calls: int | None = None
    max_cost: float | None = None
    concurrency: int = 50
    samples: int = 1
    seed: int = 0
    no_regressions: bool = False
    cache: CacheMode = CacheMode.USE
    min_pass_rate: float | None = None
    split: tuple[float, float, float] | None = None
    reports: tuple[Path, ...] = ()

    @property
    def comparing(self) -> bool:
        """Whether several strategies are run side by side."""
        return len(self.strategy) > 1

    @property
    def optimizing(self) -> bool:
        return self.mode is not Mode.CHECK

    @property
    def home(self) -> Path:
        """Where runs, cache and reports of this project live."""
        return self.rootdir / ".promptopt"
