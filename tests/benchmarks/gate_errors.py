"""How often a gate by interval is wrong, and how often it decides, in simulated suites of known rates.

    python -m tests.benchmarks.gate_errors --runs 500

Each suite has cases whose chances to pass differ (half of them always pass, the others so often that the mean
is the rate) and is run once or several times; `1-8` is a run with `--promptopt-gate-samples=8`, which asks
again until it is decided, and `answers` is how many answers a case has then. Wrong is a gate that holds below
its threshold, or fails at or above it. Asked at a confidence of 95 %: at most 2.5 % of each.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter
from dataclasses import replace

from pytest_promptopt.gate_rule import GateRule, GateVerdict, decide, look_sizes
from pytest_promptopt.records import Case, CaseResult, Outcome, Split, Status
from pytest_promptopt.settings import GateMode

RULE = GateRule(GateMode.INTERVAL)
LOOKS = look_sizes(8)


def suite(rate: float, cases: int, samples: int, rng: random.Random) -> list[CaseResult]:
    """What one run of a suite measures."""
    results = []
    for number in range(cases):
        chance = 1.0 if number % 2 and rate >= 0.5 else 2 * rate - 1 if rate >= 0.5 else rate
        passed = [rng.random() < chance for _ in range(samples)]
        outcomes = tuple(
            Outcome(str(number), Status.PASSED if each else Status.FAILED, float(each), sample)
            for sample, each in enumerate(passed)
        )
        results.append(CaseResult(Case(str(number), ("p.md",), Split.TRAIN), outcomes))
    return results


def verdict_of(rate: float, cases: int, samples: int, rng: random.Random) -> tuple[GateVerdict, int]:
    """What a gate at 90 % says, and after how many samples of each case.

    :param samples: 0 for as many as it takes.
    """
    if samples:
        return decide(suite(rate, cases, samples, rng), 0.9, RULE).verdict, samples
    whole = suite(rate, cases, LOOKS[-1], rng)
    verdict = GateVerdict.UNDECIDED
    for size in LOOKS:
        seen = [CaseResult(result.case, result.outcomes[:size]) for result in whole]
        verdict = decide(seen, 0.9, replace(RULE, looks=len(LOOKS))).verdict
        if verdict is not GateVerdict.UNDECIDED:
            return verdict, size
    return verdict, LOOKS[-1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng, bad = random.Random(args.seed), False
    print(f"{args.cases} cases, a gate at 90 %, {args.runs} runs each: share of verdicts")
    print(f"{'true rate':>10}{'samples':>9}{'holds':>8}{'undecided':>11}{'failed':>8}{'answers':>9}")
    for rate in (0.80, 0.85, 0.88, 0.8999, 0.90, 0.92, 0.95, 0.98):
        for samples in (1, 3, 0):
            runs = [verdict_of(rate, args.cases, samples, rng) for _ in range(args.runs)]
            said = Counter(verdict for verdict, _ in runs)
            holds, undecided, failed = (said[verdict] / args.runs for verdict in GateVerdict)
            answers = sum(each for _, each in runs) / args.runs
            print(
                f"{rate:>10.2%}{samples or '1-8':>9}{holds:>8.1%}{undecided:>11.1%}{failed:>8.1%}"
                f"{answers:>9.1f}"
            )
            wrong = said[GateVerdict.FAIL] if rate >= 0.9 else said[GateVerdict.PASS]
            # Three standard errors above 2.5 %.
            bad = bad or wrong > args.runs * 0.025 + 3 * (args.runs * 0.025 * 0.975) ** 0.5
    print(
        "WRONG: a verdict errs more often than it says" if bad else "no verdict errs more often than it says"
    )
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
