"""What controller and workers tell each other, as JSON-like data and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple
from typing import Any

from pytest_promptopt.errors import ErrorKind, ModelError
from pytest_promptopt.models.call_records import CallResult, PaidCall
from pytest_promptopt.optimizer.protocols import Trial
from pytest_promptopt.records import Answer, Request, Role, Spend


def result_to_json(result: CallResult) -> dict[str, Any]:
    return {
        "answer": None if result.answer is None else result.answer.to_json(),
        "error": None if result.error is None else error_to_json(result.error),
        "cached": result.cached,
    }


def result_from_json(data: Mapping[str, Any]) -> CallResult:
    answer = None if data["answer"] is None else Answer.from_json(data["answer"])
    error = None if data["error"] is None else error_from_json(data["error"])
    return CallResult(answer, error, data["cached"])


def error_to_json(error: ModelError) -> dict[str, Any]:
    return {"kind": error.kind, "message": str(error), "model": error.model, "status": error.status}


def error_from_json(data: Mapping[str, Any]) -> ModelError:
    return ModelError(ErrorKind(data["kind"]), data["message"], model=data["model"], status=data["status"])


def paid_to_json(paid: PaidCall) -> dict[str, Any]:
    return {
        "request": paid.request.to_json(),
        "role": paid.role,
        "result": result_to_json(CallResult(paid.answer, paid.error, cached=False)),
        "attempts": paid.attempts,
        "spend": astuple(paid.spend),
    }


def paid_from_json(data: Mapping[str, Any]) -> PaidCall:
    result = result_from_json(data["result"])
    return PaidCall(
        Request.from_json(data["request"]),
        Role(data["role"]),
        result.answer,
        result.error,
        data["attempts"],
        Spend(*data["spend"]),
    )


def trial_to_json(trial: Trial) -> dict[str, Any]:
    return {
        "overlay": dict(trial.overlay),
        "cases": list(trial.cases),
        "samples": None if trial.samples is None else list(trial.samples),
        "answers": dict(trial.answers),
    }


def trial_from_json(data: Mapping[str, Any]) -> Trial:
    samples: Sequence[int] | None = data["samples"]
    numbers = None if samples is None else tuple(samples)
    return Trial(data["overlay"], tuple(data["cases"]), numbers, data["answers"])
