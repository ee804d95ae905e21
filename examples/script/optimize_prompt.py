"""Improve a prompt from a script, without pytest: run it with `python optimize_prompt.py`, or with `--write`.

It takes the tickets of the example `support_routing`, asks the embedded model `demo`, and needs no key.
"""

import csv
import sys
from pathlib import Path

from pytest_promptopt import Case, load_prompt, optimize

HERE = Path(__file__).parent
TICKETS = HERE.parent / "support_routing" / "tests" / "tickets.csv"


def answer_is_short(prompt):
    """A case may be a function, as a test is: it calls the prompt and asserts."""
    answer = prompt(ticket="Please delete all data that you have about me.")
    assert len(answer.split()) == 1


def main():
    with TICKETS.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    cases = [Case({"ticket": row["ticket"]}, row["queue"], split=row["split"]) for row in rows]
    result = optimize(
        HERE / "prompts" / "route.md",
        [*cases, answer_is_short],
        model="demo",
        optimizer_model="demo",
        max_iterations=3,
        rootdir=HERE,
        write="--write" in sys.argv,
    )
    (prompt,) = result.prompts
    print(f"{prompt.outcome}: {prompt.why}")
    for score in prompt.scores:
        print(f"{score.split:>10}: {score.before:.0%} -> {score.after:.0%} of {score.cases} cases")
    calls = sum(spend.calls for spend in result.spend.values())
    print(f"{calls} calls, {result.elapsed:.1f} s, run {result.id}")
    print("---\n" + prompt.after)

    # What an application sends is rendered by the same code, from the same file.
    print("---\n" + load_prompt(HERE / "prompts" / "route.md").render(ticket="Where is my parcel?"))


if __name__ == "__main__":
    main()
