"""Prompts that share cases are refined together, since each decides about the other's cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pytest_promptopt.optimizer.protocols import Prompt
from pytest_promptopt.records import Case, Split

#: The splits that a search may see.
SEARCHED = (Split.TRAIN, Split.VALIDATION)


@dataclass(frozen=True)
class PromptGroup:
    """Prompts connected by cases, and all cases that use any of them."""

    prompts: tuple[Prompt, ...]
    cases: tuple[Case, ...]

    def ids(self, *splits: Split) -> tuple[str, ...]:
        """The ids of the cases of `splits`, in order."""
        return tuple(case.id for case in self.cases if case.split in splits)

    def searched(self) -> PromptGroup:
        """The same prompts with the cases that a search may see."""
        return replace(self, cases=tuple(case for case in self.cases if case.split in SEARCHED))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its prompts; no two groups have a name in common."""
        return tuple(prompt.name for prompt in self.prompts)

    @property
    def calls_per_run(self) -> int:
        """Calls of one run of a case, as far as they are known before all are run."""
        return max((case.calls_per_run for case in self.cases), default=1)


def connected_groups(prompts: Sequence[Prompt], cases: Sequence[Case]) -> list[PromptGroup]:
    """Split `prompts` into groups, in the order given; a prompt that shares no case stands alone."""
    label = {prompt.name: number for number, prompt in enumerate(prompts)}
    for case in cases:
        joined = {label[name] for name in case.prompts if name in label}
        label |= {name: min(joined) for name, number in label.items() if number in joined}
    return [
        PromptGroup(
            tuple(prompt for prompt in prompts if label[prompt.name] == number),
            tuple(case for case in cases if any(label.get(name) == number for name in case.prompts)),
        )
        for number in sorted(set(label.values()))
    ]
