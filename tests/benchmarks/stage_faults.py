"""How rightly the stage at fault of a pipeline is named, what that costs, and where the requests go.

    python -m tests.benchmarks.stage_faults [--faults 200]

Each fault is one rule that is missing or wrong in one stage of a pipeline of two to five stages
(`tests/stage_world.py`). `first` is the share of the failing cases that need this rule whose stage is named
rightly before the first request of a search, `end` the same when it is over, `whole` the share of faults
whose stage is named of most failing cases in the end. `tries` are calls that were paid to find the stage, for
each failing case and stage; `judge` are requests to a judge, each for several cases; `mended` is the share of
faults whose stage was rewritten in the end.

The world's numbers are made up: they compare kinds of evidence; they say nothing of a real model.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from pytest_promptopt.settings import Accept
from tests.stage_world import RULES, Stages, WatchedSearch, chance

#: What a search may go by, besides runs. A judge is right in four of five cases, a poor one in two of five.
EVIDENCE: dict[str, dict[str, Any]] = {
    "runs only": {},
    "judge": {"judging": True},
    "poor judge": {"judging": True, "accuracy": 0.4},
    "grades": {"graded": True},
}


@dataclass
class Tally:
    """What the searches of one row came to."""

    cases: int = 0
    first: int = 0
    first_wrong: int = 0
    end: int = 0
    end_wrong: int = 0
    faults: int = 0
    whole: int = 0
    pairs: int = 0
    tries: int = 0
    judged: int = 0
    mended: int = 0
    kinds: Counter[str] = field(default_factory=Counter)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--faults", type=int, default=200)
    given = parser.parse_args()
    began = time.monotonic()
    for noise in (0.0, 0.1):
        print(
            row(f"noise {noise:.0%}", "first", "wrong", "end", "wrong", "whole", "tries", "judge", "mended")
        )
        for name, evidence in EVIDENCE.items():
            tally = Tally()
            for number in range(given.faults):
                count(tally, fault(number, noise, **evidence))
            print(figures(name, tally), flush=True)
    print()
    for noise in (0.0, 0.1):
        for name, evidence in EVIDENCE.items():
            print(shares(f"{name}, noise {noise:.0%}", given.faults // 4, noise, evidence), flush=True)
    print(frozen(given.faults // 4))
    print(f"\n{time.monotonic() - began:.0f} seconds")


def row(name: str, *cells: str) -> str:
    return f"{name:<16}" + "".join(cell.rjust(9) for cell in cells)


def fault(number: int, noise: float, *, stages: int | None = None, **settings: Any) -> Stages:
    """Search with fault `number`: pipelines of two to five stages in turn."""
    stages = stages or 2 + number % 4
    world = Stages(
        stages=stages,
        fault=int(chance(number, "stage") * stages),
        missing=int(chance(number, "rule") * RULES),
        wrong=chance(number, "wrong") < 0.3,
        noise=noise,
        seed=number,
        **settings,
    )
    # One call in all pays for no confirmation, and the best is written without one.
    world.run(seed=number, candidates=3, max_iterations=20, max_calls=1, accept=Accept.BEST)
    return world


def count(tally: Tally, world: Stages) -> None:
    search = world.search
    assert isinstance(search, WatchedSearch)
    stage = f"s{world.fault}.md"
    for named, which in ((search.first, "first"), (search.last, "end")):
        planted = [named[case] for case in named if world.planted(case)]
        right = sum(each.stage == stage for each in planted)
        wrong = sum(each.stage not in (stage, None) for each in planted)
        setattr(tally, which, getattr(tally, which) + right)
        setattr(tally, f"{which}_wrong", getattr(tally, f"{which}_wrong") + wrong)
        if which == "end":
            tally.cases += len(planted)
            tally.whole += most_named(named.values()) == stage
            tally.kinds.update(str(each.shown_by.kind) if each.shown_by else "others" for each in planted)
            tally.pairs += len(named) * world.stages
    tally.faults += 1
    tally.tries += world.tries
    tally.judged += world.requests_for["judge"]
    tally.mended += f"s{world.fault}.md" in world.written


def most_named(named: Any) -> str | None:
    counts = Counter(each.stage for each in named if each.stage)
    return counts.most_common(1)[0][0] if counts else None


def figures(name: str, tally: Tally) -> str:
    cases = max(1, tally.cases)
    told = [f"{value / cases:.1%}" for value in (tally.first, tally.first_wrong, tally.end, tally.end_wrong)]
    told += [f"{tally.whole / tally.faults:.1%}", f"{tally.tries / max(1, tally.pairs):.2f}"]
    told += [f"{tally.judged / tally.faults:.2f}", f"{tally.mended / tally.faults:.1%}"]
    return row(name, *told) + "   " + ", ".join(f"{kind} {n}" for kind, n in tally.kinds.most_common())


def shares(name: str, faults: int, noise: float, evidence: dict[str, Any]) -> str:
    """Where requests and target calls went: five stages, one at fault, one that repeats its input.

    Until the fault was mended: what fails after that fails by slips, of all stages alike.
    """
    requests, calls, repeating, late = Counter[str](), Counter[str](), 0, 0
    for number in range(faults):
        stage = int(chance(number, "stage") * 5)
        identity = (stage + 1 + int(chance(number, "identity") * 4)) % 5
        world = fault(number, noise, stages=5, identity=identity, **evidence)
        at_fault = f"s{world.fault}.md"
        for told, found in ((requests, world.requests_for), (calls, world.calls_for)):
            told["all"] += sum(n for each, n in found.items() if each != "judge")
            told["fault"] += found[at_fault]
        repeating += world.requests_for[f"s{identity}.md"] + world.late[f"s{identity}.md"]
        late += sum(world.late.values())
    parts = [f"{each['fault'] / max(1, each['all']):.0%} of {each['all']}" for each in (requests, calls)]
    return f"{name:<26} to the stage at fault: requests {parts[0]}, target calls {parts[1]}; " + (
        f"to the repeating stage {repeating / faults:.2f} a search; after it was mended {late} more"
    )


def frozen(faults: int) -> str:
    """What becomes of a fault in a stage that may not be rewritten, with grades."""
    requests, named, cases = 0, 0, 0
    for number in range(faults):
        stage = int(chance(number, "stage") * 5)
        world = fault(number, 0.0, stages=5, frozen=stage, graded=True)
        requests += world.requests_for[f"s{stage}.md"]
        assert world.search is not None
        named += sum(each.frozen and each.stage == f"s{stage}.md" for each in world.search.at_fault)
        cases += len(world.search.at_fault)
    return f"fault in a frozen stage: {requests} requests to it, named for {named} of {cases} failing cases"


if __name__ == "__main__":
    main()
