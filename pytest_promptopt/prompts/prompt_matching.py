"""Which prompt do the messages of a request belong to?

The messages are those that an application sends, whatever rendered them. What a wire format calls a system
instruction is a message of role ``system``; the result of a tool is one of role ``tool``, never ``user``.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache

from pytest_promptopt.prompts.files import PromptFile
from pytest_promptopt.prompts.passages import shape_of
from pytest_promptopt.prompts.template_languages import JINJA2, Fixed, Part, TemplateLanguage
from pytest_promptopt.prompts.template_languages.parts import joined
from pytest_promptopt.prompts.unrendering import NotFound, Rendered, find_rendered, taken_whole
from pytest_promptopt.records import Message

#: Letters and digits of fixed text that a prompt must have. Two or three words; fewer stand in the messages
#: of other calls by chance, and a call that is taken for another prompt's is worse than one that is not seen.
MIN_FIXED = 12

#: Other names of the roles that a prompt file knows.
_ROLES = {"developer": "system", "human": "user", "ai": "assistant", "model": "assistant"}

#: What an application may do to a template before it renders it; a candidate gets the same.
Form = Callable[[str], str]


def as_it_is(source: str) -> str:
    """The form of a template that is rendered as it was written."""
    return source


def _with_blocks_trimmed(source: str) -> str:
    """As Jinja2 reads it with its options ``trim_blocks`` and ``lstrip_blocks``."""
    return re.sub(r"(?m)^[ \t]+(?=\{[%#])|(?<=[%#]\})\n", "", source)


def _indented_by_dspy(source: str) -> str:
    """As DSPy reads instructions, and its adapters put them into the system message."""
    return ("\n" + " " * 8).join(textwrap.dedent(inspect.cleandoc(source)).splitlines())


_FORMS: tuple[Form, ...] = (as_it_is, textwrap.dedent, inspect.cleandoc, _indented_by_dspy)
_JINJA_FORMS: tuple[Form, ...] = (*_FORMS, _with_blocks_trimmed)

#: The parts of each turn.
TurnParts = tuple[tuple[Part, ...], ...]


@dataclass(frozen=True)
class Place:
    """Where one turn of a prompt stands: ``messages[message].content[start:end]``.

    :param has_edges: whether the empty lines around the prompt in its file stand there too.
    """

    turn: int
    message: int
    reading: Rendered = field(repr=False)
    has_edges: bool = False

    @property
    def start(self) -> int:
        return self.reading.start

    @property
    def end(self) -> int:
        return self.reading.end


@dataclass(frozen=True)
class PromptMatch:
    """The prompt that messages belong to.

    :param places: for each turn its place, in order; a prompt without role lines has one for each message
        that holds it. A turn whose message cannot be told has none: see `unplaced`.
    :param variables: the values as they arrived; of several messages, those of the last.
    :param unread: variable -> why its value is not known, in a sentence.
    :param if_alone: variables whose texts are right if their message holds nothing but the prompt; mostly
        one that ends it, so that whatever comes after it is taken for a part of the value.
    :param fixed_length: letters and digits of the fixed text that was found.
    :param unplaced: turn -> why its message cannot be told, in a sentence.
    :param form: what the application has done to the template before it rendered it.
    """

    prompt: PromptFile
    places: tuple[Place, ...]
    variables: Mapping[str, str]
    unread: Mapping[str, str]
    if_alone: frozenset[str]
    fixed_length: int
    unplaced: Mapping[int, str]
    system: Rendered | None = field(default=None, repr=False)
    form: Form = field(default=as_it_is, repr=False)

    def readings(self, *, besides: Place | None) -> tuple[Rendered, ...]:
        """What was read at other places that holds for this one too."""
        several = bool(self.prompt.roles) or besides is None
        read = tuple(place.reading for place in reversed(self.places) if several and place is not besides)
        return (*read, self.system) if self.system else read


@dataclass(frozen=True)
class NoMatch:
    """Why messages belong to none of the prompts.

    :param closest: the prompt of which most was found, if anything was.
    """

    reason: str
    closest: PromptFile | None = None


def why_unrecognisable(prompt: PromptFile) -> str | None:
    """Why no call can be recognised as one of this prompt, in a sentence; None when one can."""
    count = _fixed_length(prompt) + shape_of(_system_parts(prompt)).fixed_length
    if count >= MIN_FIXED:
        return None
    return (
        f"{prompt.name}: no call can be recognised as one of this prompt: it has {count} letters and digits "
        f"besides its variables; at least {MIN_FIXED} are needed, since fewer stand in other texts by chance"
    )


def _fixed_length(prompt: PromptFile) -> int:
    return sum(shape_of(parts).fixed_length for parts in _variants(_Cached.of(prompt))[0][1])


def match_prompt(prompts: Sequence[PromptFile], messages: Sequence[Message]) -> PromptMatch | NoMatch:
    """The prompt that `messages` belong to: of several, the one of which most fixed text is there.

    Prompts that are equal are one: the first of them.
    """
    found: list[PromptMatch] = []
    missed: list[_Miss] = []
    seen: list[PromptFile] = []
    for prompt in prompts:
        if any(_are_equal(prompt, other) for other in seen):
            continue
        seen.append(prompt)
        result = _match(prompt, messages)
        if isinstance(result, _Miss):
            missed.append(result)
        else:
            found.append(result)
    if not found:
        return _no_match(missed)
    found.sort(key=_rank, reverse=True)
    others = [match for match in found[1:] if _rank(match) == _rank(found[0])]
    if any(match.prompt.name != found[0].prompt.name for match in others):
        names = " and ".join(dict.fromkeys(match.prompt.name for match in (found[0], *others)))
        return NoMatch(f"the messages hold as much fixed text of {names}, so they belong to none of them")
    return found[0]


def _rank(match: PromptMatch) -> tuple[int, int]:
    """The letters that were found, and where two prompts have as many, all their characters."""
    parts = (part for turn in turn_parts(match.prompt, match.form) for part in turn)
    return match.fixed_length, sum(len(part.text) for part in parts if isinstance(part, Fixed))


def turn_parts(prompt: PromptFile, form: Form = as_it_is) -> TurnParts:
    """The parts of each turn."""
    return tuple(_parts(prompt.language, form(turn.source), prompt.name, turn.line) for turn in prompt.turns)


def with_edges(parts: tuple[Part, ...], prompt: PromptFile) -> tuple[Part, ...]:
    """With the empty lines around a prompt in its file."""
    before, after = prompt.edges
    return joined([Fixed(before), *parts, Fixed(after)])


def role_of(message: Message) -> str:
    """The role of a message as prompt files call it."""
    return _ROLES.get(message.role, message.role)


@lru_cache(maxsize=512)
def _parts(language: TemplateLanguage, source: str, name: str, line: int) -> tuple[Part, ...]:
    return language.read(source, name=name, line=line).parts


# ------------------------------------------------------------------------------------------------- one prompt


@dataclass(frozen=True)
class _Miss:
    """Why one prompt is not in the messages.

    :param told: the sentence, where it is known already.
    :param missed: message -> what of the prompt is in it; `which` turn was looked for.
    """

    prompt: PromptFile
    told: str = ""
    missed: Mapping[int, NotFound] = field(default_factory=dict)
    roles: tuple[str, ...] = ()
    which: str = ""

    @cached_property
    def matched(self) -> int:
        """Letters and digits that were found."""
        return max((each.matched for each in self.missed.values()), default=0)

    @property
    def reason(self) -> str:
        if self.told:
            return self.told
        if not self.missed:
            roles = ", ".join(dict.fromkeys(self.roles)) or "none"
            return f"{self.which}no message has that role; there are: {roles}"
        number = max(self.missed, key=lambda number: self.missed[number].matched)
        return f"{self.which}message {number + 1} ({self.roles[number]}) {self.missed[number].reason}"


def _match(prompt: PromptFile, messages: Sequence[Message]) -> PromptMatch | _Miss:
    if why := why_unrecognisable(prompt):
        return _Miss(prompt, why.removeprefix(f"{prompt.name}: "))
    results = (_match_as(prompt, form, parts, messages) for form, parts in _variants(_Cached.of(prompt)))
    first = next(results)
    return next((each for each in (first, *results) if isinstance(each, PromptMatch)), first)


@dataclass(frozen=True)
class _Cached:
    """A prompt by all that decides its parts."""

    key: tuple[object, ...]
    prompt: PromptFile = field(compare=False)

    @classmethod
    def of(cls, prompt: PromptFile) -> _Cached:
        return cls((prompt.name, prompt.original, prompt.prose, prompt.language), prompt)


@lru_cache(maxsize=256)
def _variants(cached: _Cached) -> tuple[tuple[Form, TurnParts], ...]:
    """The forms that an application may give the prompt, each with the parts of its turns."""
    prompt = cached.prompt
    forms = _JINJA_FORMS if prompt.language is JINJA2 else _FORMS
    if prompt.is_dspy:  # of one line all forms are equal; a candidate may have several
        forms = (_indented_by_dspy, *forms)
    different: dict[tuple[str, ...], Form] = {}
    for form in forms:
        different.setdefault(tuple(form(turn.source) for turn in prompt.turns), form)
    return tuple((form, turn_parts(prompt, form)) for form in different.values())


def _match_as(
    prompt: PromptFile, form: Form, parts: TurnParts, messages: Sequence[Message]
) -> PromptMatch | _Miss:
    if _fixed_length(prompt) < MIN_FIXED:
        placed = _after_system(prompt, parts, messages)
    elif prompt.roles:
        placed = _in_turns(prompt, prompt.roles, parts, messages)
    else:
        placed = _anywhere(prompt, parts, messages)
    if isinstance(placed, _Miss):
        return placed
    places, unplaced, unread, fixed_length = placed
    system = _system_in(prompt, messages)
    readings = [place.reading for place in (places if prompt.roles else places[-1:])]
    readings += [system] if system else []
    texts: dict[tuple[str, ...], str] = {}
    for reading in readings:
        for key, text in reading.texts.items():
            if texts.setdefault(key, text) != text:
                names = " and ".join(f"`{item[1:]}`" for item in key)
                said = f"its turns are there, but with different texts for {names}"
                return _Miss(prompt, said)
    variables = {name: text for reading in readings for name, text in reading.variables.items()}
    unread = {**unread, **{name: why for each in readings for name, why in each.unread.items()}}
    sure = {name for each in readings for name in each.variables.keys() - each.if_alone}
    assumed = frozenset().union(*(each.if_alone for each in readings))
    return PromptMatch(
        prompt,
        places,
        variables,
        {name: why for name, why in unread.items() if name not in variables},
        assumed - sure,
        fixed_length + (system.fixed_length if system else 0),
        unplaced,
        system,
        form,
    )


_Placed = tuple[tuple[Place, ...], Mapping[int, str], Mapping[str, str], int]


def _anywhere(prompt: PromptFile, parts: TurnParts, messages: Sequence[Message]) -> _Placed | _Miss:
    """The messages that hold a prompt without role lines."""
    found = [_with_or_without_edges(prompt, parts[0], message.content) for message in messages]
    places = [
        Place(0, n, each, has_edges)
        for n, (each, has_edges) in enumerate(found)
        if isinstance(each, Rendered)
    ]
    if places:
        return tuple(places), {}, {}, places[0].reading.fixed_length
    return _missed(prompt, messages, {n: each for n, (each, _) in enumerate(found)}, "")


def _with_or_without_edges(
    prompt: PromptFile, parts: tuple[Part, ...], text: str
) -> tuple[Rendered | NotFound, bool]:
    """What is read, and whether the empty lines around the prompt in its file were sent as well."""
    if any(prompt.edges):
        read = find_rendered(with_edges(parts, prompt), text)
        if isinstance(read, Rendered) and not any(read.cut):
            return read, True
    return find_rendered(parts, text), False


def _after_system(prompt: PromptFile, parts: TurnParts, messages: Sequence[Message]) -> _Placed | _Miss:
    """The turns of a prompt that only the front matter's `system` tells from others."""
    roles = ("system", *(prompt.roles or ("user",)))
    placed = _in_turns(prompt, roles, (_system_parts(prompt), *parts), messages)
    if isinstance(placed, _Miss):
        return placed
    places, unplaced, unread, length = placed
    system = sum(place.reading.fixed_length for place in places if not place.turn)
    return (
        tuple(replace(place, turn=place.turn - 1) for place in places if place.turn),
        {turn - 1: why for turn, why in unplaced.items()},
        unread,
        length - system,  # which is counted with the system message
    )


def _in_turns(
    prompt: PromptFile, roles: Sequence[str], parts: TurnParts, messages: Sequence[Message]
) -> _Placed | _Miss:
    """The messages that are the turns of a prompt, in order."""
    found: list[dict[int, Rendered]] = []
    for role, turn in zip(roles, parts, strict=True):
        results = {
            number: taken_whole(turn, message.content)
            for number, message in enumerate(messages)
            if role_of(message) == _ROLES.get(role, role)
        }
        options = {n: each for n, each in results.items() if isinstance(each, Rendered)}
        if not options:
            return _missed(prompt, messages, results, f"its `{role}:` turn: ")
        found.append(options)
    left, right = _first_in_order(found), _first_in_order([_mirrored(each) for each in reversed(found)])
    if left is None or right is None:
        return _Miss(prompt, "its turns are there, but not in their order")
    places, unplaced, unread = [], dict[int, str](), dict[str, str]()
    for number, (first, last) in enumerate(zip(left, [-place for place in reversed(right)], strict=True)):
        if first == last:
            places.append(Place(number, first, found[number][first]))
            continue
        said = f"its `{roles[number]}:` turn may be message {first + 1} as well as message {last + 1}"
        unplaced[number] = said
        unread |= {name: said for name in found[number][first].variables}
    length = sum(options[place].fixed_length for options, place in zip(found, left, strict=True))
    return tuple(places), unplaced, unread, length


def _first_in_order(options: Sequence[Mapping[int, Rendered]]) -> list[int] | None:
    """For each turn its first message after that of the turn before."""
    chosen: list[int] = []
    for each in options:
        place = next((n for n in each if not chosen or n > chosen[-1]), None)
        if place is None:
            return None
        chosen.append(place)
    return chosen


def _mirrored(options: Mapping[int, Rendered]) -> dict[int, Rendered]:
    return {-place: options[place] for place in reversed(list(options))}


def _system_in(prompt: PromptFile, messages: Sequence[Message]) -> Rendered | None:
    """The front matter's `system`, where the application sends it: it is never rewritten."""
    parts = _system_parts(prompt)
    found = (find_rendered(parts, each.content) for each in messages if parts and role_of(each) == "system")
    return next((each for each in found if isinstance(each, Rendered)), None)


def _system_parts(prompt: PromptFile) -> tuple[Part, ...]:
    front = prompt.front
    return _parts(JINJA2, front.system, prompt.name, front.lines["system"]) if front.system else ()


# ----------------------------------------------------------------------------------------------- none of them


def _missed(
    prompt: PromptFile,
    messages: Sequence[Message],
    found: Mapping[int, Rendered | NotFound],
    which: str,
) -> _Miss:
    missed = {number: each for number, each in found.items() if isinstance(each, NotFound)}
    return _Miss(prompt, "", missed, tuple(message.role for message in messages), which)


def _no_match(missed: Sequence[_Miss]) -> NoMatch:
    if not missed:
        return NoMatch("there is no prompt that the messages could belong to")
    closest = max(missed, key=lambda miss: miss.matched)
    name = closest.prompt.name
    if len(missed) == 1:
        return NoMatch(f"the messages are no call of {name}: {closest.reason}", closest.prompt)
    said = f"the messages are a call of none of the {len(missed)} prompts; the closest is {name}"
    return NoMatch(f"{said}: {closest.reason}", closest.prompt)


def _are_equal(prompt: PromptFile, other: PromptFile) -> bool:
    def deciding(each: PromptFile) -> tuple[object, ...]:
        return each.prose, each.front.system, each.language

    return deciding(prompt) == deciding(other)
