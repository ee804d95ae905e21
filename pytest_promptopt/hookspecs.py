"""The hooks of pytest-promptopt; implement them in a ``conftest.py`` or a plugin.

Each hook names the classes that it receives and returns by the module to import them from.

A hook that raises, or returns something else, while prompts are optimized ends the search as a ceiling does:
what was found by then is confirmed and written, and the session fails with ``file:line`` of what was raised.
Before the first paid call it ends the session instead. A hook that only observes ends nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_promptopt.api import (
        Ask,
        Comparison,
        FailedCase,
        InvalidReply,
        Iteration,
        Model,
        ProposalRequest,
        Reply,
        RunResult,
        SearchProgress,
        Stop,
        Strategy,
        Verdict,
    )


@pytest.hookspec(firstresult=True)
def pytest_promptopt_resolve_model(name: str) -> Model | None:
    """Provide the model called `name` (``provider/model``, as the user wrote it).

    Called once for each model name in each process, before the first call to the model, in the thread of the
    tests or in that of the event loop. It is called again when a test mocks something that the model's calls
    need, and when a model that was given up is tried again. Return an object that satisfies
    `pytest_promptopt.api.Model`, or None to leave the name to other plugins and to the built-in providers.
    The model gets a `Request` and returns an `Answer`, or raises `ModelError`.

    A model for embeddings has ``async def embed(self, texts)``, which returns a vector (a list of numbers)
    for each text. One that does nothing else needs no `complete`.

    Example::

        from pytest_promptopt.api import Answer

        class Echo:
            async def complete(self, request):
                text = request.messages[-1].content
                return Answer(text, request.model, "end_turn", usage=None, cost=None, latency=0.0)

            async def aclose(self):
                pass

        def pytest_promptopt_resolve_model(name):
            if name.startswith("house/"):
                return Echo()
    """


@pytest.hookspec(firstresult=True)
def pytest_promptopt_categorize(case: FailedCase) -> str | None:
    """Name the category of a failed case; None leaves it to the built-in categories.

    `case`, a `pytest_promptopt.api.FailedCase`, has the inputs, the expected and the actual text, where
    they differ, and the category that the plugin would choose. The name is shown to people and to the
    optimizer, so make it say what is wrong.

    Example::

        def pytest_promptopt_categorize(case):
            if "internal use only" in case.actual.lower():
                return "leaks internal text"
    """


@pytest.hookspec(firstresult=True)
def pytest_promptopt_redact(text: str) -> str | None:
    r"""Take out of a text of a case what nobody else may see; None leaves it as it is.

    It is given every text of a case that goes to the optimizer or into a prompt as an example: inputs,
    answers, expected values, messages of failed asserts, one at a time. All implementations are asked, each
    with what the one before it returned. The hook is called once for equal texts, so it must return the same
    for them. The target model is asked with the texts as they are; only where a case stands in a prompt as an
    example, the model reads the redacted text of that case. What ``--promptopt-from-traces`` writes, and the
    contents of spans (``--promptopt-otel``), go through it as well.

    Example::

        import re

        def pytest_promptopt_redact(text):
            return re.sub(r"[\w.+-]+@[\w-]+\.[\w.]+", "someone@example.com", text)
    """


@pytest.hookspec(firstresult=True)
def pytest_promptopt_propose(request: ProposalRequest, ask: Ask) -> Sequence[Reply | InvalidReply] | None:
    """Write the candidates of an iteration; None leaves it to the built-in proposer.

    `request`, a `pytest_promptopt.api.ProposalRequest`, holds one `Brief` per candidate: the prompt's
    current text, the line of attack, the failing cases. `ask`, a `pytest_promptopt.api.Ask`, sends a list of
    `Request` at once, counted and bounded as all calls are, and gives an `Answer` or a `ModelError` for each.

    Return one `pytest_promptopt.api.Reply`, or `pytest_promptopt.api.InvalidReply`, per brief, in order.
    A text that loses a variable, repeats an earlier candidate or copies cases is refused afterwards, as one
    of the built-in proposer is.

    Example::

        from pytest_promptopt.api import Reply

        def pytest_promptopt_propose(request, ask):
            texts = [brief.prose + "\\nThink step by step." for brief in request.briefs]
            return [Reply(text, reason="models are better at steps") for text in texts]
    """


@pytest.hookspec(firstresult=True)
def pytest_promptopt_accept(comparison: Comparison) -> Verdict | None:
    """Decide whether a candidate may replace the incumbent; None leaves it to the adaptive rule.

    `comparison`, a `pytest_promptopt.api.Comparison`, is paired: both pass rates over the cases that have
    a result under both texts, and which cases were fixed and broken. A candidate that is clearly better
    is not run on every training case: `unrun` of the `cases` are estimated. Return a
    `pytest_promptopt.api.Verdict`.

    Some candidates are rejected before, without a call of this hook: those that fix none of the failing
    training cases that they were run on (except in the attempt to leave a plateau); in the validation phase
    those that do worse on training cases than the best text; and those that --promptopt-no-regressions
    forbids.

    Example: never accept a candidate that breaks a case::

        from pytest_promptopt.api import Verdict

        def pytest_promptopt_accept(comparison):
            if comparison.broken:
                return Verdict(False, "breaks " + ", ".join(comparison.broken))
    """


@pytest.hookspec(firstresult=True)
def pytest_promptopt_halt(progress: SearchProgress) -> Stop | None:
    """End the search of a prompt, with a name and a sentence; None leaves it to the built-in rules.

    Asked before the first iteration of the training and of the validation phase, and after each iteration.
    `progress` is a `pytest_promptopt.api.SearchProgress`; return a `pytest_promptopt.api.Stop`.

    Example::

        from pytest_promptopt.api import Stop

        def pytest_promptopt_halt(progress):
            if progress.rates[-1] >= 0.9 and progress.iterations >= 3:
                return Stop("good enough", "90% after three iterations")
    """


@pytest.hookspec
def pytest_promptopt_strategies() -> Mapping[str, Strategy] | None:
    """Offer ways to search of your own, by the name that ``--promptopt-strategy`` takes.

    A `pytest_promptopt.api.Strategy` is called with a `pytest_promptopt.api.PromptGroup`, prompts that share
    cases, and a `pytest_promptopt.api.SearchContext`, all that a search works with; it returns a
    `pytest_promptopt.api.GroupSearch`. Both hold training and validation cases only: asking for another case
    ends the search with an error. The easiest is a class that inherits `pytest_promptopt.api.BaseSearch`,
    which measures the original, checks candidates, asks the halting rules and keeps the journal. What a
    strategy needs of the run, such as a model that writes, it may declare as `scoring_needs`, a
    `pytest_promptopt.api.ScoringNeeds`. A text that could not be put into its file is refused: under it every
    case is errored, without a call. Confirmation, held-out cases and writing come after the search and are
    the same for all strategies. A name of yours goes before a built-in one.

    Example: one candidate an iteration, written without a look at the failures::

        from pytest_promptopt.api import ACCEPTED, REJECTED, BaseSearch, Candidate
        from pytest_promptopt.api import Phase, Split

        class Steps(BaseSearch):
            def step(self):
                if stop := self.halted(Phase.TRAINING, self.best):
                    return stop
                prompt, number = self.group.prompts[0], self.number
                text = prompt.prose + "\\nThink." * number
                candidate = Candidate(f"{number}.1", (prompt.name,), "think", overlay={prompt.name: text})
                self.journal_candidate(candidate)
                (results,) = self.evaluate([candidate.overlay], self.group.ids(Split.TRAIN))
                candidate = candidate.ran(results)
                found = candidate.to_evaluated()
                better = self.best_of([self.best, found]) is found
                candidate = candidate.decided(ACCEPTED if better else REJECTED, "counted")
                self.best = found if better else self.best
                self.finish_iteration(Phase.TRAINING, [candidate], self.best)
                return None

            def finalists(self):
                return [self.best]

        def pytest_promptopt_strategies():
            return {"steps": Steps}
    """


@pytest.hookspec
def pytest_promptopt_iteration_finished(iteration: Iteration) -> None:
    """Called after each iteration; observers cannot steer.

    `iteration`, a `pytest_promptopt.api.Iteration`, has the candidates and what became of them.

    Example::

        def pytest_promptopt_iteration_finished(iteration):
            print(iteration.number, [candidate.verdict for candidate in iteration.candidates])
    """


@pytest.hookspec
def pytest_promptopt_run_finished(result: RunResult) -> None:
    """Called once after a run, when the prompt files are written and before pytest's own loop.

    `result` is a `pytest_promptopt.api.RunResult`. When strategies were compared its `prompts` is empty,
    and its `compared` has the result of each.

    Example::

        def pytest_promptopt_run_finished(result):
            for prompt in result.prompts:
                print(prompt.prompt, prompt.outcome, prompt.why)
    """
