"""How cases use their prompts, as far as anybody can see: what the user should know of those that do not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pytest_promptopt.pytest_engine.prompt_case import PromptCase
from pytest_promptopt.replay.run import Run
from pytest_promptopt.text import plural


@dataclass
class PromptUse:
    """Of the cases that were run to their end, in this process or in several."""

    #: Cases that have asked with their prompt's text.
    reached: set[str] = field(default_factory=set)
    #: Cases that read the prompt and ask a model by themselves.
    own_model: set[str] = field(default_factory=set)
    #: Cases whose calls hold no text of their prompt, and why one of these is not recognised.
    unrecognised: dict[str, str] = field(default_factory=dict)
    #: Cases without our fixtures that made no call which could be seen.
    silent: set[str] = field(default_factory=set)
    #: What cases have exchanged of what their calls need, and which cases did.
    exchanged: dict[str, set[str]] = field(default_factory=dict)

    def note(self, run: Run[PromptCase], *, to_its_end: bool = True) -> None:
        """:param to_its_end: whether the test function was run, and not skipped."""
        case = run.case.case.id
        if run.asked or (run.touched and run.asked_otherwise):
            self.reached.add(case)
        elif run.touched:
            self.own_model.add(case)
        elif run.not_recognised:
            self.unrecognised.setdefault(case, run.not_recognised)
        elif not to_its_end or run.error is not None or not run.case.intercepts:
            return
        elif not (run.case.asks or run.asked_otherwise):
            self.silent.add(case)

    @property
    def why_unrecognised(self) -> str:
        """Why a call is no call of its case's prompt; empty when there is no such call."""
        return next(iter(self._unrecognised().values()), "")

    @property
    def without_prompt(self) -> frozenset[str]:
        """Cases that no text of their prompt can change, as far as anybody can see."""
        return frozenset(self._unrecognised()) | self._silent()

    def _unrecognised(self) -> dict[str, str]:
        return {case: why for case, why in sorted(self.unrecognised.items()) if case not in self.reached}

    def _silent(self) -> set[str]:
        return self.silent - self.reached - self.unrecognised.keys()

    def to_json(self) -> dict[str, Any]:
        """For another process, which takes it in with `add`."""
        return {
            "reached": sorted(self.reached),
            "own_model": sorted(self.own_model),
            "unrecognised": self.unrecognised,
            "silent": sorted(self.silent),
            "exchanged": {what: sorted(cases) for what, cases in self.exchanged.items()},
        }

    def add(self, told: Mapping[str, Any]) -> None:
        """Take in what another process has seen."""
        self.reached |= set(told["reached"])
        self.own_model |= set(told["own_model"])
        self.unrecognised |= told["unrecognised"]
        self.silent |= set(told["silent"])
        for what, cases in told["exchanged"].items():
            self.exchanged.setdefault(what, set()).update(cases)

    def sentences(self) -> Iterator[str]:
        """What the user should know at the end."""
        if own := sorted(self.own_model):
            yield (
                f"{plural(len(own), 'case')} that read the prompt and ask a model by themselves ({own[0]}): "
                "their calls wait for each other and are neither cached nor counted"
            )
        if unrecognised := self._unrecognised():
            first, why = next(iter(unrecognised.items()))
            yield (
                f"{plural(len(unrecognised), 'case')} made model calls that are no calls of their "
                f"prompt ({first}): {why}"
            )
        if silent := sorted(self._silent()):
            yield (
                f"{plural(len(silent), 'case')} used no prompt and made no model call that could be seen "
                f"({silent[0]}): a mock may have answered; calls of another process, as a server's, cannot "
                "be intercepted, and are neither cached nor counted"
            )
        if self.exchanged:
            yield _of_exchanges(self.exchanged)


def _of_exchanges(exchanged: Mapping[str, set[str]]) -> str:
    count = len(set().union(*exchanged.values()))
    return (
        f"{plural(count, 'case')} put something else in the place of what their model's calls need "
        f"({', '.join(sorted(exchanged))}): their calls were made inside their own runs, and the "
        "answers are not stored"
    )
