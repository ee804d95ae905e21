"""Where the candidates of the search come from: asked for, merged, or cured of what does harm."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_promptopt.records import Overlay, Split
from pytest_promptopt.refine.ablation import Cut, culprit
from pytest_promptopt.refine.acceptance import compare
from pytest_promptopt.refine.attempts import Attempt, Version
from pytest_promptopt.refine.briefs import Briefing
from pytest_promptopt.refine.frame import SearchFrame
from pytest_promptopt.refine.halting import Phase
from pytest_promptopt.refine.proposer import Merging, Wanted
from pytest_promptopt.refine.race import FEW_BROKEN
from pytest_promptopt.refine.replies import Reply


class Workshop:
    """Makes candidates that are to follow an incumbent; all are checked before a call is paid for them."""

    def __init__(self, frame: SearchFrame, briefing: Briefing) -> None:
        self._frame = frame
        self._briefing = briefing

    def proposed(self, number: int, phase: Phase, incumbent: Version, *, escape: bool) -> list[Attempt]:
        """The optimizer's candidates of iteration `number`.

        :param escape: from a plateau: as many as are allowed, with bolder lines of attack.
        """
        around = self._frame.around
        briefs = self._briefing.briefs(number, phase, incumbent, escape=escape)
        replies = around.policies.propose(Wanted(briefs, around.settings.optimizer_model, number), around.ask)
        if len(replies) != len(briefs):
            raise ValueError(f"a proposer must return one reply per brief: {len(briefs)}, not {len(replies)}")
        return [
            self._frame.checked(
                Attempt(f"{number}.{position}", (brief.prompt.name,), brief.direction),
                incumbent,
                {brief.prompt.name: reply},
            )
            for position, (brief, reply) in enumerate(zip(briefs, replies, strict=True), 1)
        ]

    def merged(self, id: str, parts: Sequence[Attempt], incumbent: Version) -> Attempt | None:
        """One candidate that does what all `parts`, for the same prompt, do; None where nobody merges."""
        around = self._frame.around
        if len(parts) < 2 or around.policies.merge is None:
            return None
        (name,) = parts[0].prompts
        prompt = next(prompt for prompt in self._frame.group.prompts if prompt.name == name)
        wanted = Merging(
            prompt,
            incumbent.text(prompt),
            tuple(part.overlay[name] for part in parts),
            self._briefing.guarded(incumbent, prompt),
            around.settings.optimizer_model,
            int(id.partition(".")[0]),
        )
        (reply,) = around.policies.merge([wanted], around.ask)
        direction = f"Do what {', '.join(part.id for part in parts)} do."
        attempt = Attempt(id, parts[0].prompts, direction, made=True)
        return self._frame.checked(attempt, incumbent, {name: reply})

    def cured(self, id: str, attempt: Attempt, incumbent: Version) -> Attempt | None:
        """`attempt` without the passage that breaks what passed; None unless a single one is to blame."""
        broken = attempt.compared[Split.TRAIN].broken
        found = self._culprit(attempt.id, incumbent.overlay, attempt.overlay, broken)
        if found is None:
            return None
        texts = {**attempt.overlay, found.prompt: found.prose}
        return self._without(id, attempt, {name: texts[name] for name in attempt.prompts}, found, incumbent)

    def recovered(
        self, id: str, incumbent: Version, original: Version
    ) -> tuple[Attempt, tuple[str, ...]] | None:
        """The incumbent without the passage for which it fails what the original passes, and these cases."""
        broken = compare(original.results[Split.TRAIN], incumbent.standing(Split.TRAIN)).broken
        found = None
        if len(broken) >= FEW_BROKEN:
            found = self._culprit(incumbent.id, {}, incumbent.overlay, broken)
        if found is None:
            return None
        whole = Attempt(incumbent.id, (found.prompt,), "")
        return self._without(id, whole, {found.prompt: found.prose}, found, incumbent), broken

    def _culprit(self, id: str, before: Overlay, after: Overlay, broken: Sequence[str]) -> Cut | None:
        around = self._frame.around
        found = culprit(self._frame.group.prompts, before, after, broken, around.evaluator.evaluate)
        around.record("ablation", candidate=id, broken=broken, passage=found.passage if found else None)
        return found

    def _without(self, id: str, whole: Attempt, texts: Overlay, found: Cut, incumbent: Version) -> Attempt:
        direction = f"Do what {whole.id} does, without the passage that breaks cases."
        replies = {name: Reply(text, whole.reason) for name, text in texts.items()}
        attempt = Attempt(id, whole.prompts, direction, made=True)
        return self._frame.checked(attempt, incumbent, replies, known=set(texts) - {found.prompt})
