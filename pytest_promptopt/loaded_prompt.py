"""`load_prompt`: production code sends what the tests have checked, rendered by the same code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_promptopt.errors import RenderError
from pytest_promptopt.prompts import PromptFile
from pytest_promptopt.prompts.sources import Address
from pytest_promptopt.prompts.template_languages import language_named
from pytest_promptopt.records import Message


class LoadedPrompt:
    """A prompt file as `load_prompt` has read it; safe for threads, never written to."""

    def __init__(self, file: PromptFile) -> None:
        self._file = file

    def __repr__(self) -> str:
        return f"<LoadedPrompt {self._file.name}>"

    @property
    def text(self) -> str:
        """The text below the front matter, as it stands in the file."""
        return self._file.prose

    @property
    def path(self) -> Path:
        """The file, absolute."""
        return self._file.path

    @property
    def variables(self) -> frozenset[str]:
        """The names that a call gives; those that the text makes optional may be left out."""
        return self._file.variables

    @property
    def model(self) -> str | None:
        """``model`` of the front matter, such as ``anthropic/claude-haiku-4-5``; None when not given."""
        return self._file.front.model

    @property
    def parameters(self) -> dict[str, Any]:
        """What the front matter sets for the model, by name, only what is given: ``temperature``,
        ``max_tokens`` (tokens), ``stop`` (a list of strings), and whatever else it passes on.
        """
        front = self._file.front
        found = dict(front.parameters)
        if front.max_tokens is not None:
            found["max_tokens"] = front.max_tokens
        if front.stop:
            found["stop"] = list(front.stop)
        return found

    def messages(
        self, /, *, messages: Sequence[Mapping[str, Any] | Message] = (), **variables: object
    ) -> list[dict[str, Any]]:
        """The chat to send: mappings with ``role`` (``system``, ``user`` or ``assistant``) and ``content``.

        A system message comes first, if there is one. As ``prompt(...)`` in a test: one turn for each role
        line of the file, examples included; without role lines the text is the user message, or the system
        message when a conversation is given as `messages`, which comes last; of it a turn that holds more
        than a text is handed on as it was given.

        >>> load_prompt("prompts/route.md").messages(ticket="Where is my refund?")
        [{'role': 'user', 'content': 'Route this ticket: Where is my refund?'}]

        :raises RenderError: a variable is missing or unknown, or the template fails on a value.
        """
        rendered = self._file.render(variables, messages=messages)
        own = [{"role": turn.role, "content": turn.content} for turn in rendered]
        last = list(messages)
        for index, given in enumerate(last, start=len(own) - len(last)):
            if rendered[index].parts and isinstance(given, Mapping):
                own[index] = dict(given)
        return own

    def render(self, /, **variables: object) -> str:
        """The text to send, for a prompt that is one user message.

        >>> load_prompt("prompts/route.md").render(ticket="Where is my refund?")
        'Route this ticket: Where is my refund?'

        :raises RenderError: as `messages` does; also when the prompt has a system message or several turns.
        """
        turns = self._file.render(variables)
        if [turn.role for turn in turns] != ["user"]:
            roles = ", ".join(turn.role for turn in turns)
            said = f"it is a chat of {len(turns)} turns ({roles}), not one text: use messages(...)"
            raise RenderError(self._file.name, None, said)
        return turns[0].content


def load_prompt(path: str | Path, *, template: str | None = None) -> LoadedPrompt:
    """Read a prompt for use in an application: a file, or a text in one, ``config/app.yaml::triage.text``.

    >>> prompt = load_prompt("prompts/route.md")
    >>> client.chat.completions.create(
    ...     model="gpt-4o", messages=prompt.messages(ticket=ticket), **prompt.parameters
    ... )

    :param path: relative to the current folder; better an absolute one, such as
        ``Path(__file__).with_name("route.md")``.
    :param template: its template language (``jinja2``, ``format``, ``percent``, ``template``, ``mustache``,
        ``nunjucks`` or ``none``); None has the file say so, or what is in the text.
    :raises SettingsError: there is no such template language.
    :raises PromptFileError: there is no such file, or it is not a usable prompt; reads ``file:line: what``.
    """
    address = Address.parse(path).below(Path.cwd())
    language = None if template is None else language_named(template, "load_prompt(template=...)")
    return LoadedPrompt(PromptFile.load(address, rootdir=address.path.parent, language=language))
