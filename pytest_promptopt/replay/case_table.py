"""The cases of a run, whose prompt files and splits change while it goes on."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from pytest_promptopt.prompts import PromptFile
from pytest_promptopt.records import Case, Split
from pytest_promptopt.replay.searched_case import SearchedCase

#: What cases are called: pytest's items, numbers where workers have these, names in a script.
K = TypeVar("K")
S = TypeVar("S", bound=SearchedCase)


class CaseTable(Mapping[K, S]):
    """Each case as it is now. All who run cases or decide on them have the same table.

    A case is frozen; only the methods of the table put another one in its place.
    """

    def __init__(self, cases: Mapping[K, S]) -> None:
        self._cases = dict(cases)

    def __getitem__(self, item: K) -> S:
        return self._cases[item]

    def __iter__(self) -> Iterator[K]:
        return iter(self._cases)

    def __len__(self) -> int:
        return len(self._cases)

    @property
    def distinct(self) -> list[Case]:
        """Each case that counts once, also where several items are samples of one."""
        found = {case.case.id: case.case for case in self._cases.values()}
        return [case for case in found.values() if not case.reference]

    @property
    def references(self) -> dict[str, str]:
        """Of each case that counts its id with the model that a migration leaves."""
        cases = (case.case for case in self._cases.values())
        return {case.reference: case.id for case in cases if case.reference}

    def add(self, cases: Mapping[K, S]) -> None:
        """Further cases after those that there are."""
        self._cases |= cases

    def prompts_in(self, file_name: str) -> list[PromptFile]:
        """The prompts that stand in a file, each once."""
        files = (file for case in self._cases.values() for file in case.files.values())
        return list({file.name: file for file in files if file.file_name == file_name}.values())

    def use_file(self, file: PromptFile) -> None:
        """Have the cases of this prompt file use what it holds."""
        for item, case in self._cases.items():
            if any(each.name == file.name for each in case.files.values()):
                files = {
                    stage: file if each.name == file.name else each for stage, each in case.files.items()
                }
                self._put(item, files=files)

    def give_splits(self, splits: Mapping[str, Split]) -> None:
        """Give cases, by their ids, other splits."""
        for item, case in self._cases.items():
            split = splits.get(case.case.reference or case.case.id, case.case.split)
            if split is not case.case.split:
                self._put(item, case=replace(case.case, split=split))

    def give_calls(self, calls: Mapping[str, int]) -> None:
        """Tell cases, by their ids, how many calls a run was seen to make, where that are more than known."""
        for item, case in self._cases.items():
            if calls.get(case.case.id, 0) > case.case.calls_per_run:
                self._put(item, case=replace(case.case, seen_calls=calls[case.case.id]))

    def give_samples(self, samples: Mapping[str, int]) -> None:
        """Have cases, by their ids, run so many samples each."""
        for item, case in self._cases.items():
            if (count := samples.get(case.case.id)) is not None:
                self._put(item, case=replace(case.case, samples=count))

    def share_strictest_split(self, members: Collection[K]) -> None:
        """Give all `members`, and what repeats them, the strictest split among them."""
        strictest = max((self._cases[item].case.split for item in members), key=lambda each: each.strictness)
        self.give_splits({self._cases[item].case.id: strictest for item in members})

    def share_by_question(self, asked: Mapping[K, frozenset[str]]) -> None:
        """Cases that have any model request in common, directly or through others, share the strictest split.

        :param asked: the keys of the requests of each case, as far as they are known.
        """
        groups: dict[str, tuple[list[K], set[str]]] = {}
        for item, of_item in asked.items():
            pair = self._cases[item].case.pair  # one case has one split under all models
            keys = of_item | {f"case {pair}"} if pair else of_item
            found = {id(groups[key]): groups[key] for key in keys if key in groups}
            members, together = [item], set(keys)
            for items, others in found.values():
                members += items
                together |= others
            groups |= dict.fromkeys(together, (members, together))
        for members, _ in {id(group): group for group in groups.values()}.values():
            self.share_strictest_split(members)

    def _put(self, item: K, **changed: Any) -> None:
        self._cases[item] = replace(self._cases[item], **changed)
