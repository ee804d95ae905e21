"""How the calls of an application are counted: in advance, by several workers, and in the last lines."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.acceptance.application_shop import Shop
from tests.acceptance.desk import GOOD, HELDOUT, TESTS, TRAIN, VALIDATION, WEAK
from tests.acceptance.doc_pages import ROOT
from tests.wire import refused

#: Its second call is of no prompt.
TWICE = """
import os
from pathlib import Path
import anthropic

PROMPT = Path("prompts/sort.md").read_text()
client = anthropic.Anthropic(base_url=os.environ["WIRE"], api_key=os.environ["SECRET"])


def ask(text):
    messages = [{"role": "user", "content": text}]
    return client.messages.create(model="claude-haiku-4-5", max_tokens=50, messages=messages).content[0].text


def sort(message):
    ask("Name the language of: " + message)
    return ask(PROMPT.replace("{{ message }}", message))
"""

ONCE = TWICE.replace('    ask("Name the language of: " + message)\n', "")

#: The second call is the same for all cases.
SHARED = TWICE.replace('"Name the language of: " + message', '"Which languages are there?"')

SORTING = "import pytest\nfrom application import sort\n" + TESTS.replace("prompt, ", "").replace(
    "prompt(message=message)", "sort(message)"
).format(train=TRAIN, validation=VALIDATION, heldout=HELDOUT[:1])

PLAIN = """
import pytest
from application import sort

@pytest.mark.prompt("prompts/sort.md")
@pytest.mark.parametrize("number", range(8))
def test_sort(number):
    assert "card_arrival" in sort(f"my card number {number} has not arrived")
"""


@pytest.fixture
def shop(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    with Shop.open(pytester, monkeypatch, ROOT) as found:
        yield found.write("prompts/sort.md", WEAK)


class TestTheCeilingIsPlannedWithTheCallsThatCasesMake:
    TOO_LOW = (
        "running the train and validation cases once takes 12 calls and an iteration about 9, so 21 is the "
        "least; raise it or deselect some"
    )

    @pytest.mark.parametrize("options", [["-n0"], ["-n2", "--promptopt-cache=off"]], ids=" ".join)
    def test_a_case_that_asks_twice_is_seen_to_before_all_are_run(
        self, shop: Shop, options: list[str]
    ) -> None:
        shop.write("application.py", TWICE).write("test_it.py", SORTING)
        result = shop.run("--optimize", *options, "--tb=no", "--promptopt-max-calls=20")
        assert self.TOO_LOW in " ".join(shop.shown.split())
        assert "1 iteration" not in shop.shown
        assert shop.read("prompts/sort.md") == WEAK
        assert len(shop.requests) <= 14, "pytest's own loop has run all 7 cases, none of them twice"
        assert result.ret == 1

    def test_what_is_bought_counts_all_calls(self, shop: Shop) -> None:
        shop.write("application.py", TWICE).write("test_it.py", SORTING)
        shop.run("--optimize", "--tb=no", "--promptopt-max-calls=200")
        assert "of the calls 12 run the prompt as it is" in shop.shown
        assert "4 for scoring the held-out cases (all)" in shop.shown
        assert shop.read("prompts/sort.md") == GOOD

    def test_answers_that_are_known_cost_none(self, shop: Shop) -> None:
        shop.write("application.py", TWICE).write("test_it.py", SORTING)
        shop.run("--tb=no")
        result = shop.run("--optimize", "--tb=no", "--promptopt-max-calls=8")
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        assert "an iteration about 9, so 9 is the least; raise it" in shop.shown
        assert shop.requests == [], "it was told before anything was paid"
        shop.run("--optimize", "--tb=no", "--promptopt-max-calls=9")
        assert "is the least" not in shop.shown

    def test_one_that_was_counted_goes_on_as_it_began(self, shop: Shop) -> None:
        shop.write("application.py", TWICE).write("test_it.py", SORTING)
        shop.run("--optimize", "--tb=no", "--promptopt-cache=off", "--promptopt-max-calls=40")
        made = len(shop.requests)
        assert 12 <= made <= 40
        shop.run(
            "--optimize-resume", "--tb=no", "--promptopt-max-calls=200", "--promptopt-report=report.json"
        )
        assert shop.read("prompts/sort.md") == GOOD
        assert shop.report()["run"]["spend"]["target"]["calls"] == len(shop.server.requests)


@pytest.mark.parametrize("application", [ONCE, TWICE, SHARED], ids=["once", "twice", "shared"])
def test_workers_make_the_calls_of_one_process_also_without_a_cache(shop: Shop, application: str) -> None:
    shop.write("application.py", application).write("test_it.py", SORTING)
    arguments = ("--optimize", "--tb=no", "--promptopt-cache=off", "--promptopt-max-calls=150")
    shop.run(*arguments)
    assert shop.read("prompts/sort.md") == GOOD
    alone = Counter(map(str, shop.requests))
    shutil.rmtree(shop.pytester.path / ".promptopt")
    shop.write("prompts/sort.md", WEAK).run(*arguments, "-n2")
    assert shop.read("prompts/sort.md") == GOOD
    assert Counter(map(str, shop.requests)) == alone


class TestWhereNoCallIsThePrompts:
    @pytest.mark.parametrize("workers", ["-n0", "-n2"])
    def test_one_sentence_says_so_and_nothing_advises_to_optimize(self, shop: Shop, workers: str) -> None:
        shop.write("application.py", ONCE.replace("PROMPT.replace", "PROMPT.upper().replace"))
        shop.write("test_it.py", PLAIN)
        shop.run("--tb=no", workers).assert_outcomes(failed=8)
        assert shop.shown.count("made model calls that are no calls of their prompt") == 1
        assert "8 cases made model calls that are no calls of their prompt" in shop.shown
        for said in ("why prompts fail", "cases pass", "pytest --optimize"):
            assert said not in shop.shown

    @pytest.mark.parametrize("workers", ["-n0", "-n2"])
    def test_cases_without_a_call_are_counted_over_all_workers(self, shop: Shop, workers: str) -> None:
        shop.write("application.py", "def sort(message):\n    return message[15:16] and 'nothing'\n")
        skipped = (
            "\n@pytest.mark.skip\n@pytest.mark.prompt('prompts/sort.md')\ndef test_skipped():\n    pass\n"
        )
        shop.write("test_it.py", PLAIN + skipped)
        shop.run("--tb=no", workers).assert_outcomes(failed=8, skipped=1)
        assert shop.shown.count("used no prompt and made no model call") == 1
        assert "8 cases used no prompt" in shop.shown
        assert "pytest --optimize" not in shop.shown

    def test_a_prompt_that_any_case_uses_is_told_of_as_ever(self, shop: Shop) -> None:
        other = "\n@pytest.mark.prompt('prompts/sort.md')\ndef test_other():\n    assert not 'other'\n"
        shop.write("application.py", ONCE).write("test_it.py", PLAIN + other)
        shop.run("--tb=no").assert_outcomes(passed=8, failed=1)
        assert "prompts/sort.md: 8/9 cases pass" in shop.shown
        assert "run: pytest --optimize" in shop.shown

    @pytest.mark.parametrize("workers", ["-n0", "-n2"])
    def test_optimize_names_the_closest_passage(self, shop: Shop, workers: str) -> None:
        shop.write("application.py", ONCE.replace("PROMPT.replace", "PROMPT.upper().replace"))
        shop.write("test_it.py", PLAIN).run("--tb=no", "--optimize", workers)
        said = "no candidate can reach the code under test: its model calls are no calls of a prompt"
        assert said in " ".join(shop.shown.split())


class TestTheLineOfCalls:
    @pytest.mark.parametrize("workers", ["-n0", "-n2"])
    def test_requests_that_had_to_be_repeated_are_told(self, shop: Shop, workers: str) -> None:
        shop.write("application.py", ONCE).write("test_it.py", PLAIN)
        shop.server.script(refused(429, retry_after="0"), refused(500))
        shop.run(workers).assert_outcomes(passed=8)
        assert len(shop.requests) == 10
        assert "8 model calls, 0 of them from the cache; " in shop.shown
        assert "; 2 of 10 requests repeated another" in shop.shown

    def test_other_calls_count_and_what_cases_share_counts_once(self, shop: Shop) -> None:
        shop.write("application.py", SHARED).write("test_it.py", PLAIN)
        for workers, made in (("-n0", 9), ("-n2", 9)):
            shutil.rmtree(shop.pytester.path / ".promptopt", ignore_errors=True)
            shop.run(workers).assert_outcomes(passed=8)
            assert len(shop.requests) == made
            assert "9 model calls, 0 of them from the cache; 90 input and 45 output tokens" in shop.shown
            shop.run(workers)
            assert "9 model calls, 9 of them from the cache: nothing was paid" in shop.shown
