"""What a request says of tools: which the target has, and what is wrong with its calls of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_promptopt.failures import FailedCase
from pytest_promptopt.optimizer.proposal.quoting import quote_line, quote_value

#: Tools that are told with a case, where not every case has the same.
MAX_CASE_TOOLS = 5


def tool_section(tools: Sequence[str]) -> Iterator[str]:
    """The tools that every case has."""
    if tools:
        yield "The target model can call these; what stands here cannot be changed, only the prompt can."
        yield from map(quote_line, tools)


def tools_of_case(case: FailedCase) -> Iterator[str]:
    """Those that this case has besides."""
    return (f"tool: {quote_line(line)}" for line in case.tools[:MAX_CASE_TOOLS])


def tool_faults_of(case: FailedCase, *, whole: bool) -> Iterator[str]:
    """What is wrong with calls of tools, which says what was expected where it differs.

    :param whole: show all that was expected.
    """
    yield from (f"tool call: {quote_line(text)}" for text in case.faults)
    if whole and case.expected is not None:
        yield f"expected, whole: {quote_value(case.expected)}"
    yield f"actual: {quote_value(case.actual)}"
