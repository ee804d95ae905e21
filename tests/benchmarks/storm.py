"""A run in a storm: a fifth of all requests fails, and what that changes.

    python -m tests.benchmarks.storm [--cases 1000] [--latency 1.0] [--share 0.2] [--concurrency 50]

Two whole pytest processes with the anthropic SDK against a server started here, one in fair weather and one
in which a share of the requests, evenly of seven kinds, is refused with 429, 500 or 529, reset, cut in the
middle of the body, answered with truncated JSON, or never answered. The same cases must pass and
fail in both, none may be errored, and the storm may take three times as long. Exits 1 when that does not
hold.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from tests.wire import Body, Storm, WireServer

#: How much longer the storm may take.
SLOWER = 3.0

#: What junit calls a case that did not pass.
BAD = ("failure", "error", "skipped")

#: Every third case fails, whatever the weather.
TESTS = """
import pytest

@pytest.mark.prompt("say.md", max_tokens=20)
@pytest.mark.parametrize("number", range({cases}))
def test_say(prompt, number):
    assert prompt(number=number) == ("other" if number % 3 == 0 else str(number))
"""


class Passage(NamedTuple):
    """What came of one run."""

    seconds: float
    verdicts: Mapping[str, str]
    requests: int


def sail(storm: Storm, *, cases: int, latency: float, concurrency: int) -> Passage:
    """Run the suite in a fresh folder."""

    def answer(body: Body) -> str:
        return str(body["messages"][-1]["content"]).split()[-1]

    with (
        tempfile.TemporaryDirectory() as name,
        WireServer(answer=answer, latency=latency, weather=storm) as server,
    ):
        folder = Path(name)
        (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        (folder / "say.md").write_text("Say {{ number }}", encoding="utf-8")
        (folder / "test_say.py").write_text(TESTS.format(cases=cases), encoding="utf-8")
        key = {"ANTHROPIC_API_KEY": "sk-storm-0123456789", "ANTHROPIC_BASE_URL": server.url}
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "--tb=no",
            "-p",
            "no:asyncio",
            "--junitxml=junit.xml",
        ]
        command += ["--promptopt-model=claude-haiku-4-5", f"--promptopt-concurrency={concurrency}"]
        started = time.perf_counter()
        subprocess.run(command, cwd=folder, env={**os.environ, **key}, stdout=subprocess.DEVNULL, check=False)
        seconds = time.perf_counter() - started
        return Passage(seconds, verdicts(folder / "junit.xml"), len(server.requests))


def verdicts(junit: Path) -> dict[str, str]:
    """``passed``, ``failure`` or ``error`` by case."""
    cases = ElementTree.parse(junit).getroot().iter("testcase")
    return {
        str(case.get("name")): next((part.tag for part in case if part.tag in BAD), "passed")
        for case in cases
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--latency", type=float, default=1.0, help="seconds of a regular answer")
    parser.add_argument("--share", type=float, default=0.2, help="of the requests that fail")
    parser.add_argument("--concurrency", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    size = {"cases": given.cases, "latency": given.latency, "concurrency": given.concurrency}
    storm = Storm(given.share, seed=given.seed)
    fair, foul = sail(Storm(0.0, seed=0), **size), sail(storm, **size)
    changed = sorted(case for case in fair.verdicts if fair.verdicts[case] != foul.verdicts.get(case))
    ratio = foul.seconds / fair.seconds
    print(f"fair weather: {fair.seconds:.1f} s, {fair.requests} requests")
    print(
        f"storm:        {foul.seconds:.1f} s, {foul.requests} requests, {storm.seen.total()} of them failed"
    )
    print(f"              {', '.join(f'{count} {name}' for name, count in sorted(storm.seen.items()))}")
    print(
        f"verdicts:     {len(fair.verdicts)} cases, {len(changed)} changed {changed[:3] if changed else ''}"
    )
    print(f"time:         x {ratio:.2f} (at most x {SLOWER:g})")
    return int(bool(changed) or len(fair.verdicts) != given.cases or ratio > SLOWER)


if __name__ == "__main__":
    sys.exit(main())
