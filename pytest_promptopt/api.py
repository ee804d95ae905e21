"""The public door: what scripts, hooks and plugins may import. Everything else may move between versions.

Names here follow semantic versioning: none goes, or changes its meaning, without a new major version.
"""

from __future__ import annotations

from pytest_promptopt.attachments import Document, Image
from pytest_promptopt.completion import Completion
from pytest_promptopt.errors import (
    ErrorKind,
    ModelError,
    PromptConflictError,
    PromptFileError,
    PromptoptError,
    RenderError,
    SettingsError,
)
from pytest_promptopt.failed_checks import CheckFailed
from pytest_promptopt.failures import FailedCase
from pytest_promptopt.loaded_prompt import LoadedPrompt, load_prompt
from pytest_promptopt.models import Model
from pytest_promptopt.optimizer.acceptance import Comparison, Verdict
from pytest_promptopt.optimizer.base_search import BaseSearch
from pytest_promptopt.optimizer.candidates import ACCEPTED, REFUSED, REJECTED, Candidate, EvaluatedCandidate
from pytest_promptopt.optimizer.halting import HaltReason, Phase, SearchProgress, Stop
from pytest_promptopt.optimizer.prompt_groups import PromptGroup
from pytest_promptopt.optimizer.proposal.proposer import ProposalRequest
from pytest_promptopt.optimizer.proposal.replies import InvalidReply, Reply
from pytest_promptopt.optimizer.proposal.requests import Brief
from pytest_promptopt.optimizer.protocols import Ask
from pytest_promptopt.optimizer.search_context import SearchContext
from pytest_promptopt.optimizer.search_state import SearchState
from pytest_promptopt.optimizer.strategy import GroupSearch, ScoringNeeds, Strategy
from pytest_promptopt.records import (
    Answer,
    CaseResult,
    Message,
    Outcome,
    Overlay,
    Request,
    Role,
    Split,
    StageGrade,
    Status,
    Usage,
)
from pytest_promptopt.records.content import ToolCall, ToolResult
from pytest_promptopt.results import CandidateResult, Confirmation, Iteration, PromptResult, RunResult
from pytest_promptopt.scripting.arguments import OptimizeArguments
from pytest_promptopt.scripting.given_cases import Case, Check
from pytest_promptopt.scripting.optimize import aoptimize, optimize
from pytest_promptopt.scripting.script_run import OptimizationInterrupted
from pytest_promptopt.strategies.refine.search import RefineSearch
from pytest_promptopt.suites.file_case import FileCase

__all__ = [
    "ACCEPTED",
    "REFUSED",
    "REJECTED",
    "Answer",
    "Ask",
    "BaseSearch",
    "Brief",
    "Candidate",
    "CandidateResult",
    "Case",
    "CaseResult",
    "Check",
    "CheckFailed",
    "Comparison",
    "Completion",
    "Confirmation",
    "Document",
    "ErrorKind",
    "EvaluatedCandidate",
    "FailedCase",
    "FileCase",
    "GroupSearch",
    "HaltReason",
    "Image",
    "InvalidReply",
    "Iteration",
    "LoadedPrompt",
    "Message",
    "Model",
    "ModelError",
    "OptimizationInterrupted",
    "OptimizeArguments",
    "Outcome",
    "Overlay",
    "Phase",
    "PromptConflictError",
    "PromptFileError",
    "PromptGroup",
    "PromptResult",
    "PromptoptError",
    "ProposalRequest",
    "RefineSearch",
    "RenderError",
    "Reply",
    "Request",
    "Role",
    "RunResult",
    "ScoringNeeds",
    "SearchContext",
    "SearchProgress",
    "SearchState",
    "SettingsError",
    "Split",
    "StageGrade",
    "Status",
    "Stop",
    "Strategy",
    "ToolCall",
    "ToolResult",
    "Usage",
    "Verdict",
    "aoptimize",
    "load_prompt",
    "optimize",
]
