"""From a recorded request back to the inputs of a prompt: the variables, and the turns after it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pytest_promptopt.errors import PromptoptError
from pytest_promptopt.prompts import PromptFile
from pytest_promptopt.prompts.prompt_matching import NoMatch, PromptMatch, match_prompt, role_of
from pytest_promptopt.records import Message
from pytest_promptopt.text import join_words
from pytest_promptopt.traces.recorded_call import RecordedCall

NO_PROMPT = "they hold the text of none of the prompts"


@dataclass(frozen=True)
class PromptInputs:
    """What a case has to give for the prompt to ask the very same again.

    :param messages: turns of the conversation after the prompt.
    :param is_earlier: whether it was asked with an earlier text of the prompt.
    """

    prompt: PromptFile
    variables: Mapping[str, str]
    messages: tuple[Message, ...] = ()
    is_earlier: bool = False


@dataclass(frozen=True)
class NoInputs:
    """Why a request cannot be a case, in a sentence.

    :param prompt: the prompt that it belongs to; None where it belongs to none.
    :param example: the reason with what was recorded, for one of many requests of the same reason.
    """

    reason: str
    prompt: PromptFile | None = None
    example: str = ""


def inputs_of(
    call: RecordedCall, prompts: Sequence[PromptFile], earlier: Callable[[], Sequence[PromptFile]] = tuple
) -> list[PromptInputs | NoInputs]:
    """The prompts that a request holds, each with its inputs; or why it holds none.

    A request may hold two: one that is the system's message, and one that is the user's.

    :param earlier: the texts that `prompts` had before, for requests that hold none of now.
    """
    found = _matches(call.messages, prompts)
    if isinstance(found, NoMatch) and (texts := earlier()):
        before = _matches(call.messages, texts)
        found = found if isinstance(before, NoMatch) else before
    if isinstance(found, NoMatch):
        return [NoInputs(NO_PROMPT, None, found.reason)]
    now = {prompt.name: prompt for prompt in prompts}
    return [_inputs(call, match, now[match.prompt.name]) for match in found]


def _matches(messages: Sequence[Message], prompts: Sequence[PromptFile]) -> list[PromptMatch] | NoMatch:
    first = match_prompt(prompts, messages)
    if isinstance(first, NoMatch):
        return first
    found, taken = [first], {place.message for place in first.places}
    others = [prompt for prompt in prompts if prompt.name != first.prompt.name]
    if others and len(messages) > len(taken):
        second = match_prompt(others, messages)
        if isinstance(second, PromptMatch) and taken.isdisjoint(place.message for place in second.places):
            found.append(second)
    return found


def _inputs(call: RecordedCall, match: PromptMatch, prompt: PromptFile) -> PromptInputs | NoInputs:
    """:param prompt: as it is now; the match may be of an earlier text."""
    if call.incomplete:
        return NoInputs(call.incomplete, prompt)
    if match.unplaced:
        return NoInputs(next(iter(match.unplaced.values())), prompt)
    lacking = sorted(prompt.needed - match.variables.keys())
    if lacking:
        why = next((match.unread[name] for name in lacking if name in match.unread), "")
        names = join_words([f"`{name}`" for name in lacking])
        return NoInputs(why or f"the value of {names} is not in the request", prompt)
    turns = call.messages[max(place.message for place in match.places) + 1 :]
    if any(role_of(turn) not in ("user", "assistant") for turn in turns):
        return NoInputs("turns of other roles than user and assistant come after the prompt", prompt)
    turns = tuple(Message(role_of(turn), turn.content) for turn in turns if turn.content.strip())
    read = {name: text for name, text in match.variables.items() if name in match.prompt.variables}
    try:
        rendered = match.prompt.render(read, messages=turns)
    except PromptoptError as error:
        return NoInputs("the prompt cannot be rendered with what was read", prompt, str(error))
    if (difference := _difference(rendered, call.messages)) is not None:
        return NoInputs(difference, prompt)
    variables = {name: text for name, text in read.items() if name in prompt.variables}
    return PromptInputs(prompt, variables, turns, match.prompt.original != prompt.original)


def _difference(rendered: Sequence[Message], recorded: Sequence[Message]) -> str | None:
    """Why the prompt would ask something else than what was recorded; None where it would not.

    An application may strip or dedent what it renders, so blanks make no difference. A prompt alone may be
    sent as the system's message as well as the user's.
    """
    own, sent = _comparable(rendered), _comparable(recorded)
    if [text for _, text in own] != [text for _, text in sent]:
        return "more was sent than this prompt, its variables and the turns after it"
    if len(own) > 1 and own != sent:
        return f"its messages were sent in other roles: {', '.join(role for role, _ in sent)}"
    return None


def _comparable(messages: Sequence[Message]) -> list[tuple[str, str]]:
    texts = [(role_of(each), " ".join(each.content.split())) for each in messages]
    return [(role, text) for role, text in texts if text]
