"""`Suite`: a file of cases with the prompts that they are for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_promptopt.suites.file_case import FileCase
from pytest_promptopt.thresholds import GateName


@dataclass(frozen=True)
class SkippedCase:
    """Something of a file that is not run: it is skipped where everybody sees it, and never passes.

    It is not supported, or nobody has said yet which answer is right.

    :param where: ``file:line``.
    """

    id: str
    reason: str
    where: str


@dataclass(frozen=True)
class Suite:
    """What a file of cases says.

    :param prompts: paths of prompt files, relative to the folder of `path`, then to rootdir; each case is
        asked with each of them.
    :param model: who answers; None leaves it to the prompt files and the settings.
    :param samples: how often each case is run; None leaves it to the settings.
    :param thresholds: what each prompt must reach.
    :param parameters: of the model.
    :param cases: in their order.
    :param skipped: what is not supported, and what is not reviewed.
    :param template: the template language of the prompts; empty when their files decide it.
    :param lines: of its keys, and of its parameters as ``parameters.NAME``, for messages.
    """

    path: Path
    prompts: tuple[str, ...]
    model: str | None = None
    samples: int | None = None
    thresholds: Mapping[GateName, float] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    cases: tuple[FileCase, ...] = ()
    skipped: tuple[SkippedCase, ...] = ()
    template: str = ""
    lines: Mapping[str, int] = field(default_factory=dict, compare=False, repr=False)
