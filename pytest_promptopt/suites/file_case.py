"""`FileCase`: one case of a file, and what its answer must be."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, ClassVar

from pytest_promptopt.completion import Completion
from pytest_promptopt.failed_checks import CheckFailed
from pytest_promptopt.records import Failure, Message
from pytest_promptopt.settings import NO_MODEL
from pytest_promptopt.suites.check_sources import test_source
from pytest_promptopt.suites.check_types import failure_of
from pytest_promptopt.suites.checks import Check, CheckContext, Judging
from pytest_promptopt.suites.similar_check import SIMILAR_TYPES, current_embedder
from pytest_promptopt.text import plural


@dataclass(frozen=True)
class FileCase:
    """A case as a file gives it; ``case["ticket"]`` is an input.

    :param id: as given, else made of its place in the file; no two cases of a file have the same.
    :param inputs: the prompt's variables.
    :param expected: what the answer is compared with, as far as the case says so.
    :param checks: what must hold for the answer, in their order.
    :param split: ``train``, ``validation`` or ``heldout``; None leaves it to the settings.
    :param weight: how much it counts in a pass rate.
    :param tags: words that ``-k`` selects it by.
    :param where: ``file:line``.
    :param messages: turns of a conversation after the prompt.
    """

    id: str
    inputs: Mapping[str, Any]
    expected: Any | None = None
    checks: tuple[Check, ...] = ()
    split: str | None = None
    weight: float = 1.0
    tags: tuple[str, ...] = ()
    where: str = field(default="", compare=False)
    messages: tuple[Message, ...] = ()

    #: What ``case["ticket"]`` in the source of a test means, for those who read it and run none of it.
    __stored_items__: ClassVar[str] = "inputs"

    def __getitem__(self, name: str) -> Any:
        __tracebackhide__ = True
        try:
            return self.inputs[name]
        except KeyError:
            known = ", ".join(self.inputs) or "none"
            raise KeyError(f"{self.where}: the case has no input {name!r}; its inputs are {known}") from None

    def __iter__(self) -> Iterator[str]:
        """So that ``prompt(**case)`` gives all inputs."""
        return iter(self.inputs)

    def keys(self) -> Sequence[str]:
        """The names of the inputs."""
        return tuple(self.inputs)

    def __hash__(self) -> int:
        return hash((self.id, self.where))

    @property
    def judged(self) -> bool:
        """Whether a judge is asked about its answer."""
        return any(check.type == "rubric" for check in self.checks)

    @property
    def is_compared(self) -> bool:
        """Whether its answer is compared by embeddings, where there is a model for that."""
        compared = (check for check in self.checks if check.type in SIMILAR_TYPES)
        return any(check.options.get("model") != NO_MODEL for check in compared)

    @property
    def answer(self) -> Any | None:
        """What the whole answer must be, or be like; None when the case does not say it."""
        whole = (check for check in self.checks if check.type in ("equals", "similar") and not check.negated)
        return next((check.value for check in whole), None)

    @property
    def checks_digest(self) -> str:
        """Changes with what is checked, and with nothing else."""
        parts = [
            [check.name, check.value, check.threshold, {**check.options, "file": ""}] for check in self.checks
        ]
        return sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]

    @property
    def source(self) -> str:
        """The case as a test function would say it."""
        return test_source(self.inputs, self.checks, self.expected)

    @property
    def identity(self) -> Mapping[str, Any]:
        """What makes it this case, wherever it stands: where it is in the file makes no difference."""
        turns = [[turn.role, turn.content] for turn in self.messages]
        return {**self.inputs, "expected": self.expected, **({"messages": turns} if turns else {})}

    def check(self, answer: str | Completion, judge: Judging | None = None) -> None:
        """Raises `CheckFailed` for the first check that does not hold; its message tells of all of them.

        :param judge: the fixture of this name, for checks of the type ``rubric``.
        """
        __tracebackhide__ = True
        context = CheckContext(self, judge, current_embedder())
        unmet = []
        for check in self.checks:  # no comprehension: it would be a line of ours in the user's traceback
            if (failure := failure_of(check, answer, context)) is not None:
                unmet.append(failure)
        if unmet:
            raise CheckFailed(self._told(unmet), unmet[0])

    def _told(self, unmet: Sequence[Failure]) -> str:
        lines = [f"{each.where}: {each.message}" for each in unmet]
        if len(unmet) > 1:
            lines.append(f"{len(unmet)} of {plural(len(self.checks), 'check')} do not hold")
        file = self.where.rpartition(":")[0]
        if not any(each.where.rpartition(":")[0] == file for each in unmet):
            lines.append(f"the case stands at {self.where}")
        return "\n".join(lines)
