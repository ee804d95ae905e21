"""Runs Python code that a model wrote in a process of its own: a guard against accidents, not a jail.

The process has an empty folder, an empty environment and no packages, and limits on its CPU time, its memory
and the size of the files that it writes. Code that means harm can still read the user's files and use the
network: run that in a container or a virtual machine.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

#: Seconds of CPU time, after which the system ends the code.
CPU_SECONDS = 2

#: Seconds of waiting, for code that sleeps, and where the system has no limits.
TIMEOUT = 30

#: Python needs this one on Windows.
ENVIRONMENT = {name: os.environ[name] for name in ("SYSTEMROOT",) if name in os.environ}

#: Sets its own limits, where the system has them, and only then reads the code.
CHILD = """
import contextlib, json, sys

given = json.load(sys.stdin)
with contextlib.suppress(ImportError):  # Windows has no limits
    import resource

    half_gibibyte, mebibyte = 1 << 29, 1 << 20
    limits = [
        (resource.RLIMIT_CPU, given["seconds"]),
        (resource.RLIMIT_AS, half_gibibyte),
        (resource.RLIMIT_FSIZE, mebibyte),
    ]
    for limit, most in limits:
        with contextlib.suppress(ValueError, OSError):  # macOS refuses some
            resource.setrlimit(limit, (most, most))

code, names = given["code"], {"values": given["values"]}
try:
    expression = compile(code, "code", "eval")
except SyntaxError:
    exec(compile(code, "code", "exec"), names)
    result = names["solve"](given["values"])
else:
    result = eval(expression, names)
print("\\n" + json.dumps(result))
"""


def problem_of(code: str, values: list[Any], expected: Any) -> str:
    """What is wrong with the code, in a sentence; empty when it makes `expected` of `values`.

    :param code: an expression about `values`, or a function `solve(values)`.
    """
    found = _run(json.dumps({"code": code, "values": values, "seconds": CPU_SECONDS}))
    if isinstance(found, str):
        return f"with {values}: {found}"
    return "" if found == [expected] else f"with {values} it makes {found[0]!r}, not {expected!r}"


@functools.cache  # the same code with the same values does the same
def _run(given: str) -> list[Any] | str:
    """A list with the result, or why there is none."""
    command = [sys.executable, "-I", "-S", "-c", CHILD]
    with tempfile.TemporaryDirectory() as folder:
        said, complaint = Path(folder, "out"), Path(folder, "err")
        # Into files, whose size is limited: a pipe would take all that an endless loop prints.
        with said.open("wb") as out, complaint.open("wb") as err:
            try:
                ended = subprocess.run(
                    command,
                    input=given.encode(),
                    stdout=out,
                    stderr=err,
                    cwd=folder,
                    env=ENVIRONMENT,
                    timeout=TIMEOUT,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                return f"it did not end within {TIMEOUT} seconds"
        if ended.returncode:
            lines = complaint.read_text(encoding="utf-8", errors="replace").splitlines()
            return lines[-1] if lines else f"stopped at a limit (exit status {ended.returncode})"
        try:
            return [json.loads(said.read_text(encoding="utf-8").splitlines()[-1])]
        except (IndexError, ValueError):
            return "it ended without a result"
