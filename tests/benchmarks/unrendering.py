"""What recognising a call costs: a prompt of 20 kB with six variables, against `str.find` of its passages.

    python -m tests.benchmarks.unrendering [--rounds 5]

Each row is the best of some rounds, as a ratio to looking for the passages alone in the same text; the last
rows have twice and four times the text, whose ratio to the first says how the time grows.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import timeit
from collections.abc import Callable
from pathlib import Path

from pytest_promptopt.prompts import PromptFile
from pytest_promptopt.prompts.prompt_matching import match_prompt
from pytest_promptopt.prompts.template_languages import FORMAT
from pytest_promptopt.prompts.unrendering import find_rendered
from pytest_promptopt.records import Message

VARIABLES = 6


def prose(generator: random.Random, length: int) -> str:
    words = ["".join(generator.choices("abcdefghijklmnop", k=generator.randint(2, 9))) for _ in range(length)]
    return " ".join(words)[:length]


def request(size: int) -> tuple[str, list[str], str]:
    """A template, its passages, and what an application makes of it: `size` characters in all."""
    generator = random.Random(size)
    passages = [prose(generator, size * 6 // 7 // (VARIABLES + 1)) for _ in range(VARIABLES + 1)]
    values = [prose(generator, size // 7 // VARIABLES) for _ in range(VARIABLES)]
    source, text = passages[0], passages[0]
    for number, (value, passage) in enumerate(zip(values, passages[1:], strict=True)):
        source, text = f"{source}{{v{number}}}{passage}", text + value + passage
    return source, passages, text


def microseconds(action: Callable[[], object], rounds: int) -> float:
    return min(timeit.repeat(action, number=100, repeat=rounds)) / 100 * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    base = 0.0
    for size in (20_000, 40_000, 80_000):
        source, passages, text = request(size)
        parts = FORMAT.read(source, name="prompt", line=1).parts
        found = microseconds(lambda: [text.find(p) for p in passages], rounds)  # noqa: B023
        taken = microseconds(lambda: find_rendered(parts, text), rounds)  # noqa: B023
        base = base or taken
        print(f"{size:,} characters: {taken:.1f} us, {taken / found:.2f}x of the passages alone, ", end="")
        print(f"{taken / base:.2f}x of the first")
    source, _, text = request(20_000)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "prompt.md")
        path.write_text(source, encoding="utf-8")
        prompt = PromptFile.load(path, rootdir=Path(folder), language=FORMAT)
    other = prose(random.Random(0), 20_000)
    for name, message in (("a call of it", Message("user", text)), ("another", Message("user", other))):
        taken = microseconds(lambda: match_prompt([prompt], [message]), rounds)  # noqa: B023
        print(f"{name}: {taken:.1f} us, {taken / base:.2f}x")


if __name__ == "__main__":
    main()
