"""promptfoo's configurations, run by promptfoo and by pytest side by side, on the provider `echo`.

    python -m tests.benchmarks.promptfoo_configs FOLDER -- node .../promptfoo/dist/src/main.js

FOLDER holds configurations (``*promptfooconfig*.yaml``), in folders of their own. Each is copied, its
providers are exchanged for `echo`, and both programs run it. Every cell of its table (a test, with one
combination of its variables, and a prompt) is compared with the case of pytest: passed, failed, or skipped.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from pytest_promptopt.prompts import PromptFile
from pytest_promptopt.prompts.sources.address import Address
from pytest_promptopt.prompts.template_languages import NUNJUCKS
from pytest_promptopt.suites.promptfoo.config_file import ConfigFile
from pytest_promptopt.suites.promptfoo.not_supported import NotSupported
from pytest_promptopt.suites.promptfoo.reading import read_promptfoo
from pytest_promptopt.suites.promptfoo.test_cases import tests_of
from pytest_promptopt.suites.promptfoo.variables import combinations

SECONDS = 300

_PROVIDERS = re.compile(r"^(?:providers|targets)\s*:.*\n(?:(?:[ \t#-].*)?\n)*", re.MULTILINE)


@dataclass
class Outcome:
    """What both programs say of one configuration.

    :param cells: text -> how the verdicts of a cell compare.
    """

    config: str
    verdicts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    different: list[str] = field(default_factory=list)
    crashed: str = ""
    theirs: str = ""


@dataclass(frozen=True)
class Cell:
    """A cell of promptfoo's table: whether it passed, and what was answered."""

    verdict: str
    answer: str


def with_echo(text: str) -> str:
    """A configuration whose providers are exchanged."""
    if not text.endswith("\n"):
        text += "\n"
    return _PROVIDERS.sub("", text) + "\nproviders:\n  - echo\n"


def promptfoo_cells(config: Path, command: Sequence[str], home: Path) -> dict[tuple[int, int], Cell] | str:
    """What promptfoo says, by number of test and of prompt; a text when it says nothing."""
    out = home / "out.json"
    out.unlink(missing_ok=True)
    environment = os.environ | {
        "PROMPTFOO_DISABLE_TELEMETRY": "1",
        "PROMPTFOO_DISABLE_UPDATE": "1",
        "PROMPTFOO_CONFIG_DIR": str(home),
        "PROMPTFOO_PYTHON": sys.executable,
        "NODE_NO_WARNINGS": "1",
    }
    options = "--no-cache --no-write --no-table --no-progress-bar".split()  # noqa: SIM905
    try:
        ran = subprocess.run(
            [*command, "eval", "-c", config.name, *options, "-o", str(out)],
            cwd=config.parent, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return "it does not end"
    if not out.exists():
        lines = [line for line in (ran.stdout + ran.stderr).splitlines() if line.strip()]
        return "it writes no result: " + " ".join(lines[-3:])[:200]
    rows = json.loads(out.read_text(encoding="utf-8"))["results"]["results"]
    return {(row["testIdx"], row["promptIdx"]): _cell(row) for row in rows}


def _cell(row: Mapping[str, Any]) -> Cell:
    answer = (row.get("response") or {}).get("output", "")
    verdict = "passed" if row["success"] else "error" if row["failureReason"] == 2 else "failed"
    return Cell(verdict, answer if isinstance(answer, str) else json.dumps(answer))


Verdicts = Mapping[str, tuple[str, str]]


def our_verdicts(root: Path, configs: Sequence[str]) -> dict[str, Verdicts] | str:
    """What pytest says of each configuration, by the name of the test; a text when it crashed."""
    report = root / "junit.xml"
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--noconftest", "-q"]
    command += [f"--junitxml={report}", f"--rootdir={root}", "-c", "/dev/null"]
    ran = subprocess.run(
        [*command, "--continue-on-collection-errors", *configs],
        cwd=root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "INTERNALERROR" in ran.stdout or not report.exists():
        wrong = [line for line in ran.stdout.splitlines() if line.startswith(("E ", "INTERNALERROR"))]
        return (" ".join(wrong[-5:]) or ran.stdout[-500:] + ran.stderr[-500:])[:1000]
    found: dict[str, dict[str, tuple[str, str]]] = {name.replace("/", "."): {} for name in configs}
    for case in ElementTree.parse(report).iter("testcase"):
        kinds = {child.tag: child.get("message", "") for child in case}
        kind = next((tag for tag in ("error", "failure", "skipped") if tag in kinds), "passed")
        verdict = {"failure": "failed"}.get(kind, kind)
        of_file = found.setdefault(case.get("classname", "") or case.get("name", ""), {})
        of_file[case.get("name", "")] = (verdict, kinds.get(kind, ""))
    return {name: found[name.replace("/", ".")] for name in configs}


def starts(config: ConfigFile) -> list[int | None]:
    """The number of promptfoo's first test for each of ours; None from where it is not known."""
    found: list[int | None] = []
    place: int | None = 0
    for test in tests_of(config):
        found.append(place)
        if isinstance(test, NotSupported):
            place = None
        elif place is not None:
            try:
                place += len(list(combinations(config, test.variables, test.where)))
            except NotSupported:
                place = None
    return found


@dataclass(frozen=True)
class OurCase:
    """A case of ours: its test's name, its place in promptfoo's table if it is known, what is asked."""

    name: str
    place: tuple[int | None, int]
    asked: str


def our_cases(config: Path, rootdir: Path) -> Iterator[OurCase]:
    """The cases that pytest runs."""
    read = ConfigFile.read(config, rootdir)
    firsts = starts(read)
    for each in read_promptfoo(config, rootdir):
        if not each.suite.prompts:
            continue
        address = Address.parse(each.suite.prompts[0]).below(config.parent)
        file = PromptFile.load(address, rootdir=rootdir, language=NUNJUCKS)
        for case in each.suite.cases:
            number = re.match(r"(\d+)(?:.*?\.(\d+)$)?", case.id)
            assert number is not None
            first = firsts[int(number[1]) - 1]
            test = None if first is None else first + int(number[2] or 1) - 1
            asked = "".join(turn.content for turn in file.render(dict(case.inputs)))
            yield OurCase(f"{each.name}[{case.id}]", (test, each.prompt), asked)


def compare(config: Path, name: str, root: Path, ours: Verdicts, command: Sequence[str]) -> Outcome:
    """Run promptfoo, and compare with what pytest has said."""
    outcome = Outcome(name)
    if not ours or any("collection failure" in message for _, message in ours.values()):
        outcome.crashed = " ".join(message for _, message in ours.values()) or "nothing was collected"
        return outcome
    for verdict, reason in ours.values():
        if verdict == "skipped":
            outcome.reasons[_kind_of(reason)] += 1
    outcome.verdicts["skipped by ours"] = sum(verdict == "skipped" for verdict, _ in ours.values())
    if all(verdict == "skipped" for verdict, _ in ours.values()):
        return outcome
    with tempfile.TemporaryDirectory() as home:
        theirs = promptfoo_cells(config, command, Path(home))
    if isinstance(theirs, str):
        outcome.theirs = theirs
        outcome.verdicts["promptfoo says nothing"] = sum(verdict != "skipped" for verdict, _ in ours.values())
        return outcome
    left = dict(theirs)
    for case in our_cases(config, root):
        verdict, message = ours[case.name]
        place = next(iter(_places(case, left)), None)
        if verdict == "error":
            outcome.verdicts[_without_judge(case, left.pop(place, None) if place else None)] += 1
            outcome.reasons["error: " + message[:80]] += 1
            continue
        if place is None:
            outcome.different.append(f"{case.name}: promptfoo has no such cell: {case.asked[:80]!r}")
            outcome.verdicts["DIFFERENT text"] += 1
            continue
        cell = left.pop(place)
        if cell.answer != case.asked:
            outcome.verdicts["DIFFERENT text"] += 1
            outcome.different.append(f"{case.name}: {case.asked[:200]!r} and {cell.answer[:200]!r}")
        elif cell.verdict == verdict:
            outcome.verdicts["equal: " + verdict] += 1
        else:
            outcome.verdicts["DIFFERENT verdict"] += 1
            outcome.different.append(f"{case.name}: {verdict}, promptfoo: {cell.verdict}; {message[:200]}")
    return outcome


def _without_judge(case: OurCase, cell: Cell | None) -> str:
    """How a case compares that needs a judge, whom nobody has."""
    if cell is None or not cell.answer:  # promptfoo tells no answer of a case that ended with an error
        return "needs a judge"
    return "needs a judge, equal text" if cell.answer == case.asked else "DIFFERENT text"


def _places(case: OurCase, cells: Mapping[tuple[int, int], Cell]) -> Iterator[tuple[int, int]]:
    """Where a case stands in promptfoo's table: by its number, else by what was asked."""
    test, prompt = case.place
    if test is not None and (test, prompt) in cells and cells[test, prompt].answer == case.asked:
        yield test, prompt
    for place, cell in cells.items():
        if cell.answer == case.asked:
            yield place
    if test is not None and (test, prompt) in cells:
        yield test, prompt


def _kind_of(reason: str) -> str:
    """A reason without its place and its details."""
    said = re.sub(r"^\S+:\d+: ", "", reason)
    return re.sub(r"\s+", " ", said)[:70]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pattern", default="*promptfooconfig*.y*ml")
    parser.add_argument("--only", default="", help="configurations whose path holds this text")
    parser.add_argument("--jobs", type=int, default=2, help="configurations at a time")
    parser.add_argument("--json", type=Path, help="where the outcomes are written")
    parser.add_argument("command", nargs="+", help="how promptfoo is started")
    given = parser.parse_args()
    folder: Path = given.folder.resolve()
    total, reasons, configs = Counter[str](), Counter[str](), Counter[str]()
    told = []
    with tempfile.TemporaryDirectory() as temporary, ThreadPoolExecutor(given.jobs) as pool:
        root = Path(temporary, "configs")
        shutil.copytree(folder, root, ignore=shutil.ignore_patterns("node_modules"))
        paths = [path for path in sorted(root.rglob(given.pattern)) if given.only in str(path)]
        for path in paths:
            path.write_text(with_echo(path.read_text(encoding="utf-8")), encoding="utf-8")
        names = [path.relative_to(root).as_posix() for path in paths]
        ours = our_verdicts(root, names)
        if isinstance(ours, str):
            sys.exit(f"pytest crashed: {ours}")

        def compared(name: str) -> Outcome:
            return compare(root / name, name, root, ours[name], given.command)

        for outcome in pool.map(compared, names):
            total.update(outcome.verdicts)
            reasons.update(outcome.reasons)
            configs[_kind(outcome)] += 1
            told.append(vars(outcome))
            said = [text for text in (outcome.crashed, outcome.theirs, *outcome.different) if text]
            print(outcome.config, dict(outcome.verdicts), *said, sep="\n  ", flush=True)
    print("\nconfigurations", dict(configs))
    print("cells", dict(total))
    print("skipped, by reason")
    for reason, count in reasons.most_common():
        print(f"  {count:5} {reason}")
    if given.json:
        given.json.write_text(json.dumps(told, indent=1), encoding="utf-8")


def _kind(outcome: Outcome) -> str:
    if outcome.crashed:
        return "refused or crashed"
    ran = any(name.startswith(("equal", "DIFFERENT", "needs a judge")) for name in outcome.verdicts)
    if outcome.theirs:
        return "promptfoo says nothing"
    if ran:
        return "run, something skipped" if outcome.verdicts["skipped by ours"] else "run"
    return "skipped by name"


if __name__ == "__main__":
    main()
