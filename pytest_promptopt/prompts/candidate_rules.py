"""What a rewritten text may hold, in sentences for the optimizer: it is prose, not a program."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from typing import TYPE_CHECKING

from pytest_promptopt.errors import PromptFileError, RenderError
from pytest_promptopt.prompts.examples import fault_of_examples, without_examples
from pytest_promptopt.prompts.kept_regions import changed_regions
from pytest_promptopt.prompts.layout import unify_newlines
from pytest_promptopt.prompts.placeholders import placeholder_objections, respelled
from pytest_promptopt.prompts.renderable_prose import listed
from pytest_promptopt.prompts.templates import Turn
from pytest_promptopt.records import Message

if TYPE_CHECKING:
    from pytest_promptopt.prompts.files import PromptFile

#: The name of the variable that a piece of template code is; None when it is more than one, or changed.
PlainVariable = Callable[[str], str | None]

#: How a section of Mustache begins; no other language has such code.
_SECTION = ("{{#", "{{^", "{{~#", "{{~^")


def objections_to(prompt: PromptFile, prose: str) -> tuple[str, ...]:
    """Why a candidate may not replace the prose of `prompt`, a sentence each; empty when it may.

    The region of its examples is the tool's own: it is outside the rules on length and chat roles.
    """
    prose = unify_newlines(prose).strip("\n")
    if prose.split() == prompt.prose.split():
        return ("It is the current text again.",)
    length = len(without_examples(prose))
    limit = min(length_limit(without_examples(prompt.prose_on_disk)), prompt.most_characters)
    if length > limit:
        return (f"It has {length:,} characters; at most {limit:,} are accepted.",)
    if prose.startswith("---\n") and not prompt.prose.startswith("---\n"):
        return ("It begins with front matter; only the text below the front matter may be rewritten.",)
    try:
        return tuple(_differences(prompt, prose))
    except PromptFileError as error:
        return (f"It is not a valid prompt: {str(error).rstrip('.')}.",)


def why_unsendable(prompt: PromptFile, prose: str, given: Iterable[Mapping[str, str]]) -> str | None:
    """Why a candidate without objections cannot be sent for a case, in a sentence; None when it can.

    :param given: what cases gave, as it is noted for their calls: variables, and turns by their role. What
        the current text cannot be rendered with either tells nothing of the candidate.
    """
    candidate = prompt.with_prose(prose)
    for noted in given:
        variables = {name: noted[name] for name in noted if name in prompt.variables}
        chat = [Message(n.partition(" ")[0], noted[n]) for n in noted if n not in prompt.variables]
        with suppress(RenderError):
            before = prompt.render(variables, messages=chat)
            try:
                after = candidate.render(variables, messages=chat)
            except RenderError as error:
                said = str(error).rstrip(".")
                return f"It cannot be sent for a case that the current text can be sent for: {said}."
            empty = [m.role for m in after if not m.content.strip()]
            if empty and all(m.content.strip() for m in before):
                return f"Its `{empty[0]}:` turn is empty for a case."
    return None


def has_lines(prose: str, entry: str) -> bool:
    """Whether these lines stand in a text as they are."""
    return f"\n{entry}\n" in f"\n{prose}\n"


def _differences(prompt: PromptFile, prose: str) -> Iterator[str]:
    if problem := fault_of_examples(prose, current=prompt.prose):
        yield problem  # and no further: it is not safe to compile
        return
    language, declared = prompt.language, prompt.variables
    current, body = without_examples(prompt.prose), without_examples(prose)
    was, turns = prompt.turns_of(current), prompt.turns_of(body)
    before, after = _code_in(prompt, was), _code_in(prompt, turns)
    yield from changed_sections(before, after)
    if code := tuple(added_code(before, after, language.plain_variable)):
        yield from code  # and no further: it is not safe to compile
        yield from added_variables(before, after, declared, language.plain_variable)
    else:
        had, used = prompt.prose_variables, prompt.with_prose(prose).prose_variables
        for name in sorted(had - used):
            yield f"It lost the variable {language.written(name)}."
        for name in sorted(used - declared):
            yield f"It uses the variable {language.written(name)}, which the tests do not give."
    yield from placeholder_objections(
        *map(language.without_code, (current, body)),
        variables=declared,
        doubled=language.name not in ("jinja2", "mustache"),
    )
    if prompt.guessed:
        yield from respelled(prompt.prose, body)
    yield from changed_regions(current, body)
    for entry in prompt.front.keep:
        if not has_lines(body, entry):
            yield f"It lost the line {entry!r}."
    roles, had_roles = (tuple(turn.role for turn in each if turn.role) for each in (turns, was))
    if roles != had_roles:
        yield f"It changed the chat roles from {listed(had_roles)} to {listed(roles)}."
    elif [turn.attributes for turn in turns] != [turn.attributes for turn in was]:
        yield "It changed what stands in brackets after a role."


def _code_in(prompt: PromptFile, turns: Iterable[Turn]) -> Counter[str]:
    read = prompt.language.constructs
    return sum((read(turn.source, name=prompt.name, line=turn.line) for turn in turns), Counter[str]())


def length_limit(original: str) -> int:
    """Characters a candidate may have.

    Every token is paid for on every call for ever, and models rewrite by adding: four times the text on disk,
    but 8,000 characters (two pages) even for a one-line prompt, which has to grow most.
    """
    return max(4 * len(original), 8_000)


def changed_sections(current: Counter[str], candidate: Counter[str]) -> Iterator[str]:
    """Sections of Mustache that are not there as they were: nobody has tried what they render as."""
    for section, count in current.items():
        if section.startswith(_SECTION) and candidate[section] != count:
            opening = section[: section.index("}}") + 2]
            yield f"It changed, lost or repeated the section {opening}, which must stay as it is."


def added_code(
    current: Counter[str], candidate: Counter[str], plain_variable: PlainVariable
) -> Iterator[str]:
    """Template code that was not there, plain variables aside."""
    for construct, count in candidate.items():
        # An expression may be used again; a statement (a loop within the same loop) or a comment may not.
        is_expression = not construct.startswith(("{%", "{#"))
        allowed = count if is_expression and current[construct] else current[construct]
        if count > allowed and plain_variable(construct) is None:
            yield f"It adds the template code {construct[:100]}; only plain variables may be added."


def added_variables(
    current: Counter[str],
    candidate: Counter[str],
    declared: AbstractSet[str],
    plain_variable: PlainVariable,
) -> Iterator[str]:
    """Plain variables that no call gives."""
    for construct in sorted(candidate.keys() - current.keys()):
        name = plain_variable(construct)
        if name is not None and name not in declared:
            yield f"It uses the variable {construct}, which the tests do not give."
