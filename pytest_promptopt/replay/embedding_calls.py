"""The embeddings of a run's texts: calls of the run, as a judge's are, and never the answer under test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from pytest_promptopt.errors import ErrorKind, ModelError, PromptoptError, UnusableVerdict
from pytest_promptopt.models.client import ModelClient
from pytest_promptopt.models.embedding import cosine, embedding_request, vector_in
from pytest_promptopt.records import Answer, Call, Request, Role
from pytest_promptopt.replay.run import Run
from pytest_promptopt.replay.run_calls import RunCalls
from pytest_promptopt.text import plural

#: These say that one text has no embedding, not that the model has none.
_OF_THE_TEXT = (ErrorKind.BAD_REQUEST, ErrorKind.TOO_LARGE)


@dataclass(frozen=True)
class RunEmbedder:
    """Compares texts for the checks of a run, which is suspended until their embeddings are there.

    :param run: None for a case that another plugin runs by itself; then each call simply blocks.
    :param model: makes them where a check does not say it; None where letters are compared then.
    """

    run: Run[Any] | None
    client: ModelClient
    model: str | None

    def cosine(self, one: str, two: str, model: str) -> float:
        """Of the angle between the vectors of both texts.

        Raises why there is none, or the run's suspension.
        """
        __tracebackhide__ = True
        requests = {request.key: request for request in (embedding_request(model, t) for t in (one, two))}
        try:
            first, *other = map(vector_in, self._answers(tuple(requests.values())))
            return cosine(first, other[0] if other else first)
        except ValueError as error:
            self._fail(ModelError(ErrorKind.MALFORMED, f"{model}: {error}", model=model))
        except ModelError as error:
            if error.kind not in _OF_THE_TEXT:
                self._fail(error)
            # Such a case is in no rate. A text that makes its answers so must not be taken for a better one.
            self._fail(UnusableVerdict(f"the answer cannot be compared by embeddings: {error}"))

    def _answers(self, requests: Sequence[Request]) -> list[Answer]:
        __tracebackhide__ = True
        run = self.run
        if run is None:
            return [self.client.ask(request, Role.EMBEDDING) for request in requests]
        run.embedding_keys.update(request.key for request in requests)
        for request in requests:
            run.asked_of_judge.append((f"the embedding of {request.model}", {"text": _text(request)}))
        answers = []
        name = requests[0].model
        for request, known in zip(requests, RunCalls(run, name, Role.EMBEDDING).ask(requests), strict=True):
            assert known.answer is not None
            call = Call.of(known.answer, name, {}, request.key, cached=known.cached)
            numbers = len(known.answer.text) * 3 // 16  # four bytes each, in base64
            run.other_calls.append(
                replace(call, text=f"a vector of {plural(numbers, 'number')}", embeds=True)
            )
            answers.append(known.answer)
        return answers

    def _fail(self, error: PromptoptError) -> NoReturn:
        """What is not compared is an error of the case, also where the test swallows it."""
        __tracebackhide__ = True
        if self.run is not None:
            self.run.error, self.run.failed_role = error, Role.EMBEDDING
        raise error.with_traceback(None) from None


def _text(request: Request) -> str:
    return request.messages[0].content
