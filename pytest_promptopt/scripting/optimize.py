"""`optimize` and `aoptimize`: improve prompts from a script or a notebook, without pytest."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable
from typing import Any, Unpack

from pytest_promptopt.results import RunResult
from pytest_promptopt.scripting.arguments import OptimizeArguments
from pytest_promptopt.scripting.given_cases import Case
from pytest_promptopt.scripting.script_run import Prompts, run_script


def optimize(
    prompts: Prompts, cases: Iterable[Case | Callable[..., Any]], **arguments: Unpack[OptimizeArguments]
) -> RunResult:
    """Improve prompt files by cases, as ``pytest --optimize`` does: search, confirm, score held-out cases.

    >>> from pytest_promptopt import Case, optimize
    >>> cases = [Case({"ticket": "Where is my refund?"}, "billing"), ...]
    >>> result = optimize("prompts/route.md", cases, model="demo", optimizer_model="demo", split="60/20/20")
    >>> result.prompts[0].outcome, result.prompts[0].after
    ('improved', 'Route the ticket ...')

    Nothing is written unless ``write=True``: `PromptResult.before` and `after` hold the texts. The run is
    kept in ``.promptopt/`` of `rootdir`, as one of pytest: ``pytest --promptopt-runs`` lists it and
    ``--promptopt-restore`` undoes it. Works inside a running event loop (a notebook) as well, which waits
    meanwhile; `aoptimize` does not let it wait.

    :param prompts: the path of a prompt file, or of a text in a file (``app/triage.py::PROMPT``), several
        of them, or a mapping from stages to them for a pipeline; relative to the current folder, else to
        `rootdir`.
    :param cases: `Case` objects, or functions that take ``prompt`` (``prompts`` for a pipeline) and assert.
    :param arguments: see `OptimizeArguments`: the options of pytest by their names, ``write=``, ``rootdir=``,
        ``progress=``, ``on_iteration=``, ``resolve_model=``, ``template=``.
    :returns: one `PromptResult` for each prompt, what was spent by role (calls, tokens, US dollars), seconds,
        and what went wrong in code of yours in `errors`.
    :raises SettingsError: an argument or a case is wrong; the message names it, what was given and what is
        accepted. Other `PromptoptError`: a prompt file or a model cannot be used. Both come before a first
        call is paid.
    :raises OptimizationInterrupted: Ctrl-C; a `KeyboardInterrupt` that holds the result.
    """
    return run_script(prompts, cases, arguments, threading.Event())


async def aoptimize(
    prompts: Prompts, cases: Iterable[Case | Callable[..., Any]], **arguments: Unpack[OptimizeArguments]
) -> RunResult:
    """`optimize` for asyncio: the event loop goes on meanwhile.

    The search and the cases run in a thread of their own, one case at a time. Cancelling ends the run as
    Ctrl-C does, without a file written, before the cancellation goes on.
    """
    loop = asyncio.get_running_loop()
    stop = threading.Event()
    ended: asyncio.Future[RunResult | BaseException] = loop.create_future()

    def beside() -> None:
        found: RunResult | BaseException
        try:
            found = run_script(prompts, cases, arguments, stop)
        except BaseException as error:
            found = error
        loop.call_soon_threadsafe(ended.set_result, found)

    threading.Thread(target=beside, name="promptopt-optimize", daemon=True).start()
    try:
        found = await asyncio.shield(ended)
    except asyncio.CancelledError:
        stop.set()
        await ended
        raise
    if isinstance(found, BaseException):
        raise found
    return found
