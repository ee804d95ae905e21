"""DSPy's own cache of answers, which stays out of a case.

It looks at a request before a candidate is put into it. So it would answer for a text that is not asked with,
and would keep the answer to a candidate, on the disk too, as one to the text that the program has.
"""

from __future__ import annotations

from functools import wraps
from typing import Any

from pytest_promptopt.interception.gate import case_is_going_on


def patch(module: Any) -> None:
    """Have the cache of `dspy.clients.cache` know nothing and keep nothing during a case."""
    cache = module.Cache
    cache.get, cache.put = _outside_of_cases(cache.get), _outside_of_cases(cache.put)


def _outside_of_cases(method: Any) -> Any:
    @wraps(method)
    def called(self: Any, *args: Any, **named: Any) -> Any:
        return None if case_is_going_on() else method(self, *args, **named)

    return called
