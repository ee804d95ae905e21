"""How requests tell of the examples that the tool has put before a text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from pytest_promptopt.optimizer.label_balance import spelled_parts
from pytest_promptopt.optimizer.proposal.quoting import MAX_SHOWN, quote_text
from pytest_promptopt.prompts.examples import Example
from pytest_promptopt.text import cut_middle

#: Answers of examples that are listed or counted, and examples that are shown, each with another answer.
MAX_ANSWERS = 12
MAX_EXAMPLES = 4

#: Counted answers where one line tells of a text that was tried.
FEW_ANSWERS = 4


def lines_of_examples(shown: Sequence[Example]) -> Iterator[str]:
    """Tells of the examples in the prompt, which belong to the tool: the writer must leave them."""
    if not shown:
        return
    yield (
        f"The tool has put {len(shown)} training cases with their answers before this text: each is "
        "this text with the case filled in, and then the answer. They stay; write the text that goes with "
        "them, which may be short."
    )
    if len(shown) <= MAX_ANSWERS:
        # Some models repeat the last answer, or the commonest one.
        yield "their answers, in this order: " + ", ".join(_answer(each) for each in shown)
    else:
        answers = [_answer(each) for each in shown]
        yield f"their answers: {_counted(answers, MAX_ANSWERS)}; the last one {answers[-1]}"
    first: dict[str, Example] = {}
    for each in shown:
        if each.inputs:
            first.setdefault(each.answer, each)
    for each in list(first.values())[:MAX_EXAMPLES]:
        given = cut_middle(" ".join(each.inputs.values()), MAX_SHOWN)
        yield f"{quote_text(given)}: {_answer(each)}"


def mix_of_examples(examples: Sequence[Example], current: Sequence[Example]) -> str:
    """In a few words which examples stood before a text that was tried; empty where no text has any.

    :param current: those before the text that is to be improved now.
    """
    if not examples:
        return "it had no examples" if current else ""
    if tuple(examples) == tuple(current):
        return "it had the current examples"
    parts = [spelled_parts(each.answer) for each in examples]
    fields = dict.fromkeys(field for each in parts for field in each)
    mixes = [
        mix for field in fields if (mix := _mix(field, [each[field] for each in parts if field in each]))
    ]
    return f"it had {len(examples)} examples" + f": {'; '.join(mixes)}" * bool(mixes)


def _mix(field: str, values: Sequence[str]) -> str:
    """How often each value stands in the examples; empty where these are many, or none comes again.

    :param field: the key of JSON answers that they are values of; empty for whole answers.
    """
    different = len(set(values))
    if different > FEW_ANSWERS or different == len(values) > 1:
        return ""
    told = [quote_text(value) for value in values]
    name = f"{quote_text(field)}: " if field else ""
    return f"{name}{_counted(told, FEW_ANSWERS)}; the last one {told[-1]}"


def _counted(answers: Sequence[str], most: int) -> str:
    common = sorted(Counter(answers).items(), key=lambda each: (-each[1], each[0]))
    return ", ".join(f"{answer} {count}" for answer, count in common[:most])


def _answer(example: Example) -> str:
    return quote_text(cut_middle(example.answer, MAX_SHOWN))
