"""Suites of short messages to a bank, drawn from a file of banking77 (Casanueva et al. 2020, CC BY 4.0)."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Mapping
from pathlib import Path

#: Longer messages only cost time.
LONGEST = 80

#: Cases of each split; of the first two also one more or one less, where the labels then are even.
SIZES = {"train": (24, 25), "validation": (16, 15), "heldout": (40,)}

PROMPT = """\
---
description: Sorts the messages of a bank's customers by topic, so that each reaches the right team.
max_tokens: 8
temperature: 0
---
Classify this customer's message. The categories are: {labels}.

{{{{ message }}}}
"""

TEST = """\
import json
import pathlib

import pytest

D = json.loads((pathlib.Path(__file__).parent / "cases.json").read_text(encoding="utf-8"))


def clean(answer):
    return answer.strip().strip(".\\"'*").lower()


@pytest.mark.prompt("../prompts/intent.md")
class TestIntent:
    @pytest.mark.parametrize(("message", "topic"), D["train"])
    def test_known(self, prompt, message, topic):
        assert clean(prompt(message=message)) == topic

    @pytest.mark.validation
    @pytest.mark.parametrize(("message", "topic"), D["validation"])
    def test_further(self, prompt, message, topic):
        assert clean(prompt(message=message)) == topic

    @pytest.mark.heldout
    @pytest.mark.parametrize(("message", "topic"), D["heldout"])
    def test_unseen(self, prompt, message, topic):
        assert clean(prompt(message=message)) == topic
"""

PROJECT = """\
[tool.pytest]
testpaths = ["tests"]
promptopt_model = "openai/smollm2"
promptopt_optimizer_model = "anthropic/claude-opus-5-5"
promptopt_concurrency = 8
"""


def labels_of(intents: str) -> dict[str, str]:
    """``card_arrival=delivery,lost_or_stolen_card`` as label words by intent; without one its last word.

    Raises `ValueError` when two intents have the same word.
    """
    pairs = [entry.strip().partition("=") for entry in intents.split(",")]
    words = {intent: word or intent.rpartition("_")[2] for intent, _, word in pairs}
    if len(set(words.values())) < len(pairs):
        raise ValueError(f"two of the intents have the same word: {words}; give others, like INTENT=WORD")
    return words


def draw(source: Path, words: Mapping[str, str], folder: Path, *, seed: int) -> None:
    """Write a suite into `folder`: for each intent equally many messages, none of them twice.

    Raises `ValueError` for an intent with too few short messages.
    """
    with source.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    rng = random.Random(seed)
    pools: dict[str, list[str]] = {}
    for intent in words:
        found = {row["text"].strip(): None for row in rows if row["category"] == intent}
        pools[intent] = [text for text in found if len(text) <= LONGEST and "\n" not in text]
        rng.shuffle(pools[intent])
    cases: dict[str, list[tuple[str, str]]] = {}
    for split, sizes in SIZES.items():
        size = next((size for size in sizes if size % len(words) == 0), sizes[0])
        turns = [list(words)[number % len(words)] for number in range(size)]
        if short := next((intent for intent in words if len(pools[intent]) < turns.count(intent)), ""):
            raise ValueError(f"{source}: too few messages of {short!r} with at most {LONGEST} characters")
        cases[split] = [(pools[intent].pop(), words[intent]) for intent in turns]
        rng.shuffle(cases[split])
    for name in ("prompts", "tests"):
        (folder / name).mkdir(parents=True)
    labels = ", ".join(words.values())
    (folder / "prompts/intent.md").write_text(PROMPT.format(labels=labels), encoding="utf-8")
    (folder / "tests/test_intent.py").write_text(TEST, encoding="utf-8")
    (folder / "pyproject.toml").write_text(PROJECT, encoding="utf-8")
    (folder / "tests/cases.json").write_text(
        json.dumps(cases, indent=1, ensure_ascii=False), encoding="utf-8"
    )
