"""How requests tell of the examples that the tool has put before a text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

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
        yield f"their answers: {_counted(shown, MAX_ANSWERS)}"
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
    # Where no two of many answers are the same, their counts tell nothing.
    if len({each.answer for each in examples}) > FEW_ANSWERS:
        return f"it had {len(examples)} examples"
    return f"it had {len(examples)} examples: {_counted(examples, FEW_ANSWERS)}"


def _counted(examples: Sequence[Example], most: int) -> str:
    counts = Counter(map(_answer, examples))
    common = sorted(counts.items(), key=lambda each: (-each[1], each[0]))
    told = ", ".join(f"{answer} {count}" for answer, count in common[:most])
    return f"{told}; the last one {_answer(examples[-1])}"


def _answer(example: Example) -> str:
    return quote_text(cut_middle(example.answer, MAX_SHOWN))
