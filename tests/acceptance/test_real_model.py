"""The runner for real models, against a model and a writer that are played by a server of ours."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pytest_promptopt.records import Split
from tests.benchmarks.bank import draw, labels_of
from tests.benchmarks.real_model import Bench, line, rows
from tests.benchmarks.relay import Relay, text_of
from tests.benchmarks.suites import Suite, Target
from tests.wire import Body, WireServer

WORDS = {"card_arrival": "delivery", "pin_blocked": "pin", "age_limit": "limit"}

BETTER = "<reason>it says the form</reason>\n<new_prompt>\nOne word.\n\n{{ message }}\n</new_prompt>"


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    source = tmp_path / "bank.csv"
    with source.open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["text", "category"])
        table.writerows(
            [f"Question {n} on {word}", intent] for intent, word in WORDS.items() for n in range(40)
        )
    draw(source, labels_of("card_arrival=delivery,pin_blocked=pin,age_limit"), tmp_path / "bank", seed=1)
    return Suite(tmp_path / "bank")


def target(body: Body) -> str:
    """Right where it was told the form, or sees it in examples; else it chats."""
    word = text_of(body["messages"][-1]["content"]).rpartition(" ")[2]
    told = "One word." in text_of(body["messages"][-1]["content"]) or len(body["messages"]) > 1
    return word.capitalize() if told else f"That is about {word}."


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    servers = []

    def start(answer: Callable[[Body], str]) -> str:
        server = WireServer(answer=answer)
        servers.append(server.__enter__())
        return server.url

    yield start
    for server in servers:
        server.__exit__(None, None, None)


def bench(
    suite: Suite, serve: Callable[..., str], replies: Path | None = None, *, writer: bool = True
) -> Bench:
    address = serve(target)
    asked = Target.of(suite.file, address, "openai/small", in_flight=4)
    wrote = serve(lambda _: BETTER) if writer else ""
    return Bench(suite, asked, "openai/small", wrote, replies, 300, None)


def test_a_suite_is_drawn_evenly_and_no_message_twice(suite: Suite) -> None:
    counts = {split: len(suite.of(split)) for split in Split}
    assert counts == {Split.TRAIN: 24, Split.VALIDATION: 15, Split.HELDOUT: 40}
    messages = [case.parameters["message"] for case in suite.cases]
    assert len({*messages}) == len(messages)
    topics = [case.parameters["topic"] for case in suite.of(Split.TRAIN)]
    assert {topics.count(word) for word in WORDS.values()} == {8}


def test_two_intents_with_one_word_are_refused() -> None:
    with pytest.raises(ValueError, match="same word"):
        labels_of("pending_transfer,failed_transfer")


def test_a_wanted_answer_passes_its_test(suite: Suite) -> None:
    case = suite.cases[0]
    assert case.wanted() == case.parameters["topic"]
    assert case.given() == {"message": case.parameters["message"]}


def test_each_row_is_scored_and_its_calls_are_counted(suite: Suite, serve: Callable[..., str]) -> None:
    made = {
        tries[0].row: tries for tries in rows(bench(suite, serve), ["original", "rewrite", "few-shot"], 2, 3)
    }
    (original,) = made["original"]
    assert (original.train, original.heldout, original.spent.calls) == (0.0, 0.0, 24 + 15)
    rewrite, again = made["rewrite"]
    assert (rewrite.train, rewrite.heldout) == (again.train, again.heldout) == (1.0, 1.0)
    assert rewrite.spent.calls == 24 + 1 + 24 + 15, "failing cases, the request, the new text"
    assert len(made["few-shot 8"]) == 3
    assert made["few-shot 8"][0].spent.calls == 24 - 8 + 15
    assert made["few-shot 8, best of 3"][0].spent.calls == 3 * (24 - 8 + 15)
    assert "| few-shot 8 | 3 | 100.0% | 100.0% | 100.0% |" in line(made["few-shot 8"])


def test_the_tool_runs_on_a_copy_and_its_file_is_scored_outside(
    suite: Suite, serve: Callable[..., str]
) -> None:
    pytest.importorskip("litellm")  # speaks the target's wire
    (tries,) = rows(bench(suite, serve), ["tool"], 1, 1)
    (score,) = tries
    assert score.said == "improved"
    assert (score.train, score.heldout) == (1.0, 1.0)
    assert score.spent.writer.calls >= 1
    assert 2 * (24 + 15) < score.spent.calls <= 300
    assert "One word." not in suite.file.path.read_text(encoding="utf-8"), "the suite itself stays"


def test_what_cannot_be_run_says_why(
    suite: Suite, serve: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert list(rows(bench(suite, serve, writer=False), ["tool", "rewrite"], 1, 1)) == []
    assert "tool: left out: there is no --writer" in capsys.readouterr().out


def test_a_request_that_was_answered_before_costs_no_writer(
    suite: Suite, serve: Callable[..., str], tmp_path: Path
) -> None:
    replies = tmp_path / "replies"
    (first,) = rows(bench(suite, serve, replies), ["rewrite"], 1, 1)
    (second,) = rows(bench(suite, serve, replies, writer=False), ["rewrite"], 1, 1)
    assert first[0].heldout == second[0].heldout == 1.0
    assert second[0].spent.writer == first[0].spent.writer, "it is counted as if it were asked"


def test_without_a_stored_answer_the_original_stays(
    suite: Suite, serve: Callable[..., str], tmp_path: Path
) -> None:
    (tries,) = rows(bench(suite, serve, tmp_path / "empty", writer=False), ["rewrite"], 1, 1)
    assert tries[0].heldout == 0.0
    assert "400" in line(tries)


def test_the_same_request_twice_in_a_run_has_two_answers(serve: Callable[..., str], tmp_path: Path) -> None:
    told = iter("abc")
    upstream = serve(lambda _: next(told))
    asked = {"model": "claude-opus-5-5", "max_tokens": 9, "system": "s"}
    body = json.dumps({**asked, "messages": [{"role": "user", "content": "hi"}]}).encode()

    def run(address: str) -> list[str]:
        relay = Relay(address, tmp_path)
        answers = [relay.answer("/v1/messages", {}, body) for _ in range(2)]
        return [text_of(json.loads(said)["content"]) for _, said in answers]

    assert run(upstream) == ["a", "b"]
    assert run("") == ["a", "b"]


def test_nobody_refuses_what_was_never_answered(tmp_path: Path) -> None:
    status, said = Relay("", tmp_path).answer("/v1/messages", {}, b'{"messages": []}')
    assert status == 400
    assert b"nobody answers" in said
