"""The stages at fault in reports: in a sentence, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pytest_promptopt.optimizer.stage_faults.telling import faults_line
from pytest_promptopt.results import StageAtFault


def fault_json(fault: StageAtFault | None) -> dict[str, Any] | None:
    """The stage at fault of a case in what pytest's own loop measured."""
    if fault is None:
        return None
    return {"stage": fault.stage, "share": fault.share, "by": fault.by, "why": fault.why}


def fault_sentence(fault: StageAtFault) -> str:
    """``prompts/plan.md (80 %): its test graded it 0.4``."""
    if not fault.stage:
        return "unclear"
    frozen = ", frozen" * fault.frozen
    return f"{fault.stage} ({fault.share:.0%}{frozen}): {fault.why}"


def faults_sentence(faults: Sequence[StageAtFault]) -> str:
    """How many failing cases each stage is at fault of, on a line; empty where no stage is named."""
    if not any(fault.stage for fault in faults):
        return ""
    frozen = any(fault.frozen for fault in faults)
    return faults_line(faults) + "; the stage at fault is frozen" * (frozen and _is_most(faults))


def _is_most(faults: Sequence[StageAtFault]) -> bool:
    return 2 * sum(fault.frozen for fault in faults) > sum(bool(fault.stage) for fault in faults)
