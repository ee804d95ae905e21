"""``kill -9`` at random moments of a run against a local server: what it costs, and that nothing breaks.

    python -m tests.benchmarks.kills [--kills 100] [--latency 0.03] [--concurrency 8] [--seed 0]

Each killed run is continued with ``--optimize-resume`` until it ends, then a new one begins. Ends with exit
status 1 when a request was sent whose answer was in the journal, when there were more requests than those of
an uninterrupted run and those in flight at the kills, when the final prompt is another one, or when the
prompt file was ever anything but the old or the new text.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from tests.killing import Killing


def main() -> int:
    parser = argparse.ArgumentParser(description="kill -9 at random moments of a run")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--latency", type=float, default=0.03)
    parser.add_argument("--concurrency", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        killing = Killing(Path(folder), latency=args.latency, concurrency=args.concurrency, seed=args.seed)
        tally = killing.run(args.kills, say=partial(print, flush=True))
    print(
        f"{tally.kills} kills in {tally.runs} runs of {tally.unique} unique calls, "
        f"{time.monotonic() - start:.0f} s: {tally.requests} requests, {tally.allowed} allowed, "
        f"{tally.requests - tally.unique} paid again"
    )
    for wrong in tally.wrong:
        print(f"WRONG: {wrong}")
    return 1 if tally.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
