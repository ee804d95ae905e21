"""What the tool reaches with a real model, beside simple ways of spending the same calls.

    python -m tests.benchmarks.real_model SUITE --target http://127.0.0.1:8088 [--model openai/smollm2]
        [--writer http://127.0.0.1:8099] [--replies DIR] [--max-calls 600] [--seeds 3]
        [--draws 3] [--counts 4,8,12] [--rows original,rewrite,few-shot,gepa,tool,examples] [--keep DIR]
    python -m tests.benchmarks.real_model --make-bank CSV --intents card_arrival=delivery,pin_blocked=pin
        --folder DIR [--seed 0]

SUITE is a folder with a pytest project of one prompt; `suites.py` says what its tests look like. The target
speaks OpenAI's wire, the writer, who answers the optimizer's requests, Anthropic's. With `--replies` the
writer's answers are kept by request, and a run that asks the same again gets them for nothing; the folder may
then stand in for a writer.

| row | what |
|---|---|
| original | the prompt as it is |
| rewrite | one request to the writer with failing training cases; its text |
| few-shot K | K training cases before the prompt as turns of a chat; `best of` takes the draw that is best on
|            | the training and validation cases that it does not show |
| gepa | the tool with `--promptopt-strategy=gepa` |
| tool | `pytest --optimize` |
| examples | `pytest --optimize` without a writer: `--promptopt-optimizer-model=none` |

`calls` are all that a row made but those for the held-out cases, which are scored here, without the plugin,
with the file that was written. Rates are means over seeds or draws, with the least and the most held-out.

`--make-bank` draws a suite from a file of banking77 with the columns `text` and `category`.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path

from pytest_promptopt.errors import PromptFileError
from pytest_promptopt.prompts import PromptFile
from pytest_promptopt.records import Split
from pytest_promptopt.settings import Settings
from tests.benchmarks.bank import draw, labels_of
from tests.benchmarks.relay import PATIENCE, Relay, Tally
from tests.benchmarks.suites import Render, Suite, SuiteCase, Target, Turns, rate

ROWS = ("original", "rewrite", "few-shot", "gepa", "tool", "examples")

#: Failing cases that the request for one rewrite shows.
SHOWN = 10

REWRITE = """\
Below is the prompt of a language model, and what went wrong on some of its inputs.

<task>{task}</task>
<prompt>
{prompt}
</prompt>
<failures>
{failures}
</failures>

Write a better prompt. Keep every {{{{ variable }}}} as it is. Reply with the prompt between \
<new_prompt> and </new_prompt>."""


@dataclass(frozen=True)
class Spent:
    """What one try of a row paid before it was scored on held-out cases."""

    calls: int
    target_tokens: int
    writer: Tally
    seconds: float


@dataclass(frozen=True)
class Score:
    """What one try of a row reached and paid; `said` is its outcome in words."""

    row: str
    train: float
    validation: float
    heldout: float
    spent: Spent
    said: str = ""

    @property
    def searched(self) -> float:
        return (self.train + self.validation) / 2


@dataclass(frozen=True)
class Bench:
    """A suite with its models.

    :param writer: the address of the writer; empty for none.
    :param replies: a folder of the writer's answers by request; None to keep none.
    :param keep: a folder that gets the projects as the tool left them; None to drop them.
    """

    suite: Suite
    target: Target
    model: str
    writer: str
    replies: Path | None
    ceiling: int
    keep: Path | None

    # -------------------------------------------------------------------------------------- rows of our own

    def original(self, _seed: int) -> Score:
        began = self._start()
        return self._scored("original", self.suite.file.render, began)

    def few_shot(self, count: int, number: int) -> Score:
        began = self._start()
        turns = Turns.drawn(self.suite, count, number)
        return self._scored(f"few-shot {count}", turns, began, but=turns.examples)

    def rewrite(self, seed: int) -> Score:
        """One request, and its text; the original where the text is no prompt any more."""
        began, file, said = self._start(), self.suite.file, ""
        training = self.suite.of(Split.TRAIN)
        answers = self.target.score(training, file.render)
        failed = [(case, text) for case, (passed, text) in zip(training, answers, strict=True) if not passed]
        random.Random(seed).shuffle(failed)
        relay = Relay(self.writer, self.replies)
        try:
            with relay.serving() as address:
                text = self._written(address, failed[:SHOWN])
            found = re.search(r"<new_prompt>\n?(.*?)</new_prompt>", text, re.DOTALL)
            file = self.suite.written(found[1] if found else "")
            said = "; ".join(self.suite.file.objections(file.prose))
        except (PromptFileError, OSError) as error:  # no prompt, or no answer at all
            said = str(error)
        if file.variables != self.suite.file.variables:
            file = self.suite.file
        return self._scored("rewrite", file.render, began, writer=relay.tally, said=said)

    def _written(self, address: str, failed: Sequence[tuple[SuiteCase, str]]) -> str:
        failures = "\n".join(
            f"input: {json.dumps(case.given(), ensure_ascii=False)}\n"
            f"answer: {text!r}\nexpected: {case.wanted()!r}\n"
            for case, text in failed
        )
        file = self.suite.file
        asked = REWRITE.format(task=file.front.description, prompt=file.prose, failures=failures)
        body = {
            "model": "writer",
            "max_tokens": 4096,
            "messages": [{"role": "user", "content": asked}],
        }
        headers = {"Content-Type": "application/json", "x-api-key": "x", "anthropic-version": "2023-06-01"}
        request = urllib.request.Request(f"{address}/v1/messages", json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            return "".join(part.get("text", "") for part in json.load(response)["content"])

    def _start(self) -> float:
        self.target.start()
        return time.monotonic()

    def _scored(
        self,
        row: str,
        render: Render,
        began: float,
        *,
        but: Sequence[SuiteCase] = (),
        writer: Tally | None = None,
        said: str = "",
    ) -> Score:
        """Score all splits; the held-out cases last, when the bill is closed."""
        training = [case for case in self.suite.of(Split.TRAIN) if case not in but]
        train = rate(self.target.score(training, render))
        validation = rate(self.target.score(self.suite.of(Split.VALIDATION), render))
        writer = writer or Tally()
        calls, tokens = len(self.target.counted), sum(self.target.counted.values())
        spent = Spent(calls + writer.calls, tokens, writer, time.monotonic() - began)
        heldout = rate(self.target.score(self.suite.of(Split.HELDOUT), render))
        return Score(row, train, validation, heldout, spent, said)

    # ------------------------------------------------------------------------------------- rows of the tool

    def tool(self, row: str, seed: int, *options: str, writer: str | None = None) -> Score:
        """`pytest --optimize` on a copy of the suite without its held-out cases.

        :param writer: another address than the bench's; empty for one that refuses everything.
        """
        began = time.monotonic()
        target = Relay(self.target.address)
        optimizer = Relay(self.writer if writer is None else writer, self.replies if writer is None else None)
        with self._copy(f"{row}-{seed}") as folder, target.serving() as one, optimizer.serving() as two:
            command = [sys.executable, "-m", "pytest", "--optimize", "-qq", "-p", "no:cacheprovider"]
            command += ["-m", "not heldout", f"--promptopt-model={self.model}", f"--promptopt-seed={seed}"]
            command += [f"--promptopt-max-calls={self.ceiling}", "--promptopt-report=report.json", *options]
            done = subprocess.run(
                command, cwd=folder, env=_environment(one, two), capture_output=True, text=True
            )
            (folder / "output.txt").write_text(done.stdout + done.stderr, encoding="utf-8")
            spent = Spent(
                target.tally.calls + optimizer.tally.calls,
                target.tally.tokens,
                optimizer.tally,
                time.monotonic() - began,
            )
            said = _outcome(folder / "report.json") if done.returncode in (0, 1) else _last_line(done)
            file = PromptFile.load(folder / self.suite.file.name, rootdir=folder)
        train, validation, heldout = (
            rate(self.target.score(self.suite.of(split), file.render)) for split in Split
        )
        return Score(row, train, validation, heldout, spent, said)

    @contextmanager
    def _copy(self, name: str) -> Iterator[Path]:
        with tempfile.TemporaryDirectory() as temporary:
            place = (self.keep or Path(temporary)) / self.suite.folder.name / name
            shutil.copytree(
                self.suite.folder, place, ignore=shutil.ignore_patterns(".promptopt", "__pycache__")
            )
            yield place


def _environment(target: str, writer: str) -> dict[str, str]:
    """Of a pytest that asks these two; the plugin is the one of this repository."""
    return {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "OPENAI_BASE_URL": f"{target}/v1",
        "OPENAI_API_KEY": "x",
        "ANTHROPIC_BASE_URL": writer,
        "ANTHROPIC_API_KEY": "x",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    }


def _outcome(report: Path) -> str:
    (prompt,) = json.loads(report.read_text(encoding="utf-8"))["run"]["prompts"]
    return str(prompt["outcome"])


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    lines = (done.stdout + done.stderr).strip().splitlines() or [""]
    return f"exit status {done.returncode}: {lines[-1]}"


# ----------------------------------------------------------------------------------------------- the table


def rows(
    bench: Bench, wanted: Sequence[str], seeds: int, draws: int, counts: Sequence[int] = (4, 8, 12)
) -> Iterator[list[Score]]:
    """The tries of each row; a row that cannot be run says so.

    :param counts: examples of the rows on few-shot.
    """
    tries: dict[str, Callable[[int], Score]] = {
        "original": bench.original,
        "rewrite": bench.rewrite,
        "gepa": lambda seed: bench.tool("gepa", seed, "--promptopt-strategy=gepa"),
        "tool": lambda seed: bench.tool("tool", seed),
        "examples": lambda seed: bench.tool("examples", seed, "--promptopt-optimizer-model=none"),
    }
    for row in wanted:
        if why := _missing(bench, row):
            print(f"{row}: left out: {why}", flush=True)
        elif row == "few-shot":
            for count in counts:
                drawn = [bench.few_shot(count, number) for number in range(draws)]
                yield drawn
                yield [_best(drawn)]
        else:
            yield [tries[row](seed) for seed in range(1 if row == "original" else seeds)]


def _missing(bench: Bench, row: str) -> str:
    """Why a row cannot be run; empty when it can."""
    if row in ("rewrite", "gepa", "tool") and not (bench.writer or bench.replies):
        return "there is no --writer and there are no --replies"
    if row == "gepa" and importlib.util.find_spec("gepa") is None:
        return "gepa is not installed"
    if row == "examples" and "examples" not in {field.name for field in fields(Settings)}:
        return "this version of the tool draws no examples"
    return ""


def _best(drawn: Sequence[Score]) -> Score:
    """The draw that is best before the held-out cases; all are paid."""
    best = max(drawn, key=lambda score: score.searched)
    spent = Spent(
        sum(score.spent.calls for score in drawn),
        sum(score.spent.target_tokens for score in drawn),
        Tally(),
        sum(score.spent.seconds for score in drawn),
    )
    return Score(f"{best.row}, best of {len(drawn)}", best.train, best.validation, best.heldout, spent)


COLUMNS = (
    "row",
    "tries",
    "train",
    "validation",
    "held-out",
    "from - to",
    "calls",
    "tokens",
    "requests",
    "writer's tokens",
    "seconds",
    "outcomes",
)


def line(tries: Sequence[Score]) -> str:
    """A row of the table."""
    spent = [score.spent for score in tries]
    heldout = [score.heldout for score in tries]
    said = {score.said: sum(other.said == score.said for other in tries) for score in tries if score.said}
    cells = [
        tries[0].row,
        str(len(tries)),
        f"{statistics.mean(score.train for score in tries):.1%}",
        f"{statistics.mean(score.validation for score in tries):.1%}",
        f"{statistics.mean(heldout):.1%}",
        f"{min(heldout):.1%} - {max(heldout):.1%}",
        f"{statistics.mean(each.calls for each in spent):.0f}",
        f"{statistics.mean(each.target_tokens for each in spent):.0f}",
        f"{statistics.mean(each.writer.calls for each in spent):.0f}",
        f"{statistics.mean(each.writer.tokens for each in spent):.0f}",
        f"{statistics.mean(each.seconds for each in spent):.0f}",
        ", ".join(f"{count} x {text}" for text, count in said.items()),
    ]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("suite", type=Path, nargs="?")
    parser.add_argument("--target", help="the address of a server that speaks OpenAI's wire")
    parser.add_argument("--model", default="openai/smollm2")
    parser.add_argument("--writer", default="", help="the address of one that speaks Anthropic's")
    parser.add_argument("--replies", type=Path)
    parser.add_argument("--max-calls", type=int, default=600)
    parser.add_argument("--in-flight", type=int, default=8, help="requests of the rows that are not the tool")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--counts", default="4,8,12", help="examples of the rows on few-shot")
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--make-bank", type=Path, metavar="CSV")
    parser.add_argument("--intents", default="")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if given.make_bank:
        if not given.intents or not given.folder:
            parser.error("--make-bank takes --intents and --folder")
        try:
            draw(given.make_bank, labels_of(given.intents), given.folder, seed=given.seed)
        except (OSError, ValueError) as error:
            parser.error(str(error))
        return
    if given.suite is None or not given.target:
        parser.error("a suite and --target are needed")
    wanted = given.rows.split(",")
    if unknown := [row for row in wanted if row not in ROWS]:
        parser.error(f"--rows: {', '.join(unknown)}; there are {', '.join(ROWS)}")
    suite = Suite(given.suite.resolve())
    target = Target.of(suite.file, given.target, given.model, in_flight=given.in_flight)
    bench = Bench(suite, target, given.model, given.writer, given.replies, given.max_calls, given.keep)
    print("| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|", flush=True)
    counts = list(map(int, given.counts.split(",")))
    for tries in rows(bench, wanted, given.seeds, given.draws, counts):
        print(line(tries), flush=True)


if __name__ == "__main__":
    main()
