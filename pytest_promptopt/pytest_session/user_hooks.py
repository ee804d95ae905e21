"""What the user's hooks decide in a run: its strategies, and the `SearchHooks` of the loop."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache, partial

import pytest

from pytest_promptopt.optimizer import acceptance, halting
from pytest_promptopt.optimizer.acceptance import Comparison, Verdict
from pytest_promptopt.optimizer.halting import SearchProgress, Stop
from pytest_promptopt.optimizer.proposal import proposer
from pytest_promptopt.optimizer.proposal.proposer import ProposalRequest
from pytest_promptopt.optimizer.proposal.replies import InvalidReply, Reply
from pytest_promptopt.optimizer.protocols import Ask
from pytest_promptopt.optimizer.redaction import keep_text
from pytest_promptopt.optimizer.search_hooks import SearchHooks
from pytest_promptopt.optimizer.strategy import Strategy
from pytest_promptopt.pytest_session.hook_calls import HookError, ask_hook, categorize, redact, tell_hook
from pytest_promptopt.results import Iteration
from pytest_promptopt.strategies import load_strategy
from pytest_promptopt.text import MAX_QUOTE, plural, safe_repr


def chosen_strategies(config: pytest.Config, names: Iterable[str]) -> dict[str, Strategy]:
    """The strategies of these names, the user's before the built-in ones.

    Raises `SettingsError` for a name that there is not, or whose library is not installed.
    """
    hook = "pytest_promptopt_strategies"
    offered: dict[str, Strategy] = {}
    for answer in reversed(ask_hook(config, hook, returns=list)):
        if not isinstance(answer, Mapping) or not all(map(callable, answer.values())):
            raise HookError(
                f"{hook} returned {safe_repr(answer)[:MAX_QUOTE]}; "
                "accepted: a mapping of names to strategies, or None"
            )
        offered.update(answer)
    return {name: load_strategy(name, offered) for name in names}


def user_search_hooks(config: pytest.Config) -> SearchHooks:
    """Each decision as the user's hook makes it, else as the default does; raises `HookError` when asked."""
    hook = config.hook
    return SearchHooks(
        # Without one all names are built-in ones, which may be told of cases that are not shown.
        categorize=partial(categorize, config) if hook.pytest_promptopt_categorize.get_hookimpls() else None,
        propose=partial(_propose, config),
        # A proposer of one's own may have no model at hand to merge with.
        merge=None if hook.pytest_promptopt_propose.get_hookimpls() else proposer.merge_texts,
        accept=partial(_accept, config),
        halt=partial(_halt, config),
        # The texts of the cases come again in every iteration.
        redact=cache(partial(redact, config)) if hook.pytest_promptopt_redact.get_hookimpls() else keep_text,
        iteration_finished=partial(_iteration_finished, config),
    )


def _propose(config: pytest.Config, request: ProposalRequest, ask: Ask) -> list[Reply | InvalidReply]:
    hook = "pytest_promptopt_propose"
    replies: Sequence[Reply | InvalidReply] | None
    replies = ask_hook(config, hook, returns=Sequence, request=request, ask=ask)
    if replies is None:
        return proposer.propose_texts(request, ask)
    if len(replies) != len(request.briefs) or not all(isinstance(r, Reply | InvalidReply) for r in replies):
        raise HookError(
            f"{hook} returned {safe_repr(replies)[:MAX_QUOTE]}; "
            f"accepted: a Reply or an InvalidReply for each of {plural(len(request.briefs), 'brief')}, or "
            "None"
        )
    return list(replies)


def _accept(config: pytest.Config, comparison: Comparison) -> Verdict:
    verdict: Verdict | None
    verdict = ask_hook(config, "pytest_promptopt_accept", returns=Verdict, comparison=comparison)
    return acceptance.accept_adaptively(comparison) if verdict is None else verdict


def _halt(config: pytest.Config, progress: SearchProgress) -> Stop | None:
    stop: Stop | None = ask_hook(config, "pytest_promptopt_halt", returns=Stop, progress=progress)
    return halting.halt_by_default(progress) if stop is None else stop


def _iteration_finished(config: pytest.Config, iteration: Iteration) -> None:
    tell_hook(config, "pytest_promptopt_iteration_finished", iteration=iteration)
