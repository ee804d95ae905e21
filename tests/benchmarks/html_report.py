"""The HTML report of 5,000 cases and 60 candidates: how large it is, and how fast a browser shows it.

    python -m tests.benchmarks.html_report                      # size, and the time to make it
    python -m tests.benchmarks.html_report /usr/bin/chromium    # what a reader waits for as well
    python -m tests.benchmarks.html_report /usr/bin/chromium shots   # and pictures of it in that folder

It is to be under 5 MB, to be seen within 1 s, and to answer within 100 ms.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

from pytest_promptopt.failures import describe
from pytest_promptopt.gate import check_prompts
from pytest_promptopt.records import (
    Call,
    Case,
    CaseResult,
    Failure,
    Outcome,
    Role,
    Spend,
    Split,
    Status,
    Usage,
)
from pytest_promptopt.reports.html_report import html
from pytest_promptopt.reports.session_report import SessionCalls, SessionReport
from pytest_promptopt.results import (
    CandidateResult,
    CandidateVerdict,
    Confirmation,
    ConfirmationVerdict,
    Iteration,
    PromptOutcome,
    PromptResult,
    RunResult,
    SplitScore,
)
from pytest_promptopt.settings import Mode, Settings
from pytest_promptopt.thresholds import GateName, Threshold
from tests.browser import Page, browser

PROMPT = "prompts/triage.md"
LABELS = ("billing", "refund", "delivery", "returns", "account", "defect", "sales", "privacy", "other")
TEXT = """
the parcel order was charged twice and nobody answered my last message about account invoice since
Monday please help me cancel subscription refund money back wrong size shoes broken screen login
password does not work any more delivery address changed courier left it with neighbours contract
renewal price notebook discount school offer privacy data delete newsletter unsubscribe error page
upload file empty
"""
WORDS = TEXT.split()
CHECK = "def test_triage(prompt, ticket, label):\n    assert prompt(ticket=ticket).text == label\n"
SPLITS = (Split.TRAIN, Split.TRAIN, Split.TRAIN, Split.VALIDATION, Split.HELDOUT)


def text_of(chance: random.Random, words: int) -> str:
    return " ".join(chance.choices(WORDS, k=words)).capitalize() + "."


def outcome(chance: random.Random, case: str, sample: int, ticket: str, label: str, hard: bool) -> Outcome:
    wrong = chance.random() < (0.7 if hard else 0.04)
    said = chance.choice(LABELS) if wrong else label
    long = "" if chance.random() < 0.8 else " " + text_of(chance, 60)
    failure = None
    if said + long != label:
        failure = Failure(
            "AssertionError",
            f"AssertionError: assert {said + long!r} == {label!r}\n  - {label}\n  + {said + long}",
            "tests/test_triage.py:14",
            "==",
            label,
            said + long,
            check="assert prompt(ticket=ticket).text == label",
        )
    call = Call(
        PROMPT,
        {"ticket": ticket},
        f"{case}-{sample}",
        said + long,
        "end",
        Usage(300 + len(ticket) // 4, 5 + len(long) // 4),
        0.0004 + chance.random() / 5_000,
        0.4 + chance.expovariate(2.0),
        chance.random() < 0.3,
    )
    return Outcome(
        case,
        Status.FAILED if failure else Status.PASSED,
        0.0 if failure else 1.0,
        sample,
        failure,
        calls=(call,),
        expected=label,
        parameters={"ticket": ticket, "label": label},
        check=CHECK,
    )


def results(count: int, samples: int) -> list[CaseResult]:
    chance = random.Random(7)
    found = []
    for number in range(count):
        label = LABELS[number % len(LABELS)]
        case = Case(
            f"tests/test_triage.py::test_triage[{label}-line{number + 2}]",
            (PROMPT,),
            SPLITS[number % len(SPLITS)],
            samples=samples,
            where="tests/test_triage.py:12",
            models=("anthropic/claude-sonnet-5",),
        )
        ticket, hard = text_of(chance, chance.randint(15, 60)), chance.random() < 0.2
        outcomes = tuple(outcome(chance, case.id, n, ticket, label, hard) for n in range(samples))
        if number % 400 == 17:
            outcomes = (Outcome(case.id, Status.ERRORED, 0.0, error="timeout: no answer within 60 s"),)
        found.append(CaseResult(case, outcomes))
    return found


def run_of(ids: list[str], candidates: int) -> RunResult:
    chance = random.Random(11)
    before = "You sort tickets of a web shop.\n\nAnswer with one label.\n\nTicket: {{ ticket }}"
    after = before.replace("one label.", "one label only, in lower case.").replace(
        "\n\nTicket", "\n\n- refund: the customer wants money back\n- returns: a parcel goes back\n\nTicket"
    )
    iterations, best = [], 0.55
    for number in range(1, candidates // 4 + 1):
        start, tried = best, []
        for place in range(1, 5):
            rate = min(0.97, max(0.2, start + chance.gauss(0.0, 0.06)))
            better = rate > best
            best = max(best, rate)
            tried.append(
                CandidateResult(
                    f"{number}.{place}",
                    (PROMPT,),
                    "Draw the boundaries: say what tells answers apart that are confused with each other.",
                    text_of(chance, 18),
                    rate,
                    CandidateVerdict.ACCEPTED if better else CandidateVerdict.REJECTED,
                    "fixes more than it breaks" if better else "not better: it breaks as many as it fixes",
                    tuple(chance.sample(ids, 30 if better else 8)),
                    tuple(chance.sample(ids, 6)),
                    Split.TRAIN,
                    600,
                )
            )
        iterations.append(
            Iteration(
                number, "training", (PROMPT,), tuple(tried), best, Spend(640, 90_000, 4_000, 0.21), 9.5, start
            )
        )
    scores = (
        SplitScore(Split.TRAIN, 3_000, 0.55, 0.83, errored=8, fixed=900, broken=60),
        SplitScore(Split.VALIDATION, 1_000, 0.56, 0.81, errored=2, fixed=280, broken=30),
        SplitScore(Split.HELDOUT, 1_000, 0.54, 0.80, errored=3, fixed=290, broken=30),
    )
    fresh = Confirmation(ConfirmationVerdict.IMPROVED, 0.26, 0.0004, 40, 14, 1, 80, 0.15)
    prompt = PromptResult(
        PROMPT,
        before,
        after,
        PromptOutcome.IMPROVED,
        "plateau",
        "5 iterations without a gain",
        scores,
        tuple(iterations),
        tuple(ids[:1_180]),
        tuple(ids[1_180:1_270]),
        accepted=True,
        written=True,
        confirmation=fresh,
    )
    spend = {Role.TARGET: Spend(9_600, 4_100_000, 61_000, 3.4), Role.OPTIMIZER: Spend(15, 90_000, 9_000, 0.9)}
    return RunResult("20260101-120000-000", (prompt,), spend, 412.0)


def large_report(cases: int = 5_000, candidates: int = 60, samples: int = 1) -> SessionReport:
    found = results(cases, samples)
    return SessionReport(
        checks=check_prompts(
            {PROMPT: found}, {PROMPT: {GateName.PASS_RATE: Threshold(0.8, "tests/test_triage.py:8")}}
        ),
        run=run_of([result.case.id for result in found], candidates),
        feedbacks={PROMPT: describe(found, prompt=PROMPT)},
        settings=Settings(rootdir=Path.cwd(), mode=Mode.OPTIMIZE, model="anthropic/claude-sonnet-5"),
        version="0.0",
        calls=SessionCalls(1_500, 3_500, Spend(3_500, 1_400_000, 40_000, 1.75)),
    )


#: What a reader does, and the script that does it and waits until it is drawn.
DONE = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
TYPED = (
    "document.getElementById('search').value = '{0}'; "
    "document.getElementById('search').dispatchEvent(new Event('input'))"
)
ACTIONS = {
    "show the list": "location.hash = '#view=cases'",
    "type in the search": TYPED.format("parcel"),
    "and one more word": TYPED.format("parcel refund"),
    "sort by time": "[...document.querySelectorAll('.line.head button')].at(-1).click()",
    "only what failed": "location.hash = '#view=cases&status=failed'",
    "scroll far down": "document.querySelector('.body').scrollTop = 9e6",
    "open a case": "document.querySelectorAll('.lines .line')[3].click()",
    "the next case": "document.querySelector('.panel button:nth-of-type(2)').click()",
    "show the run": "location.hash = '#view=run'",
    "open a candidate": "document.querySelector('.node summary').click()",
    "back to the overview": "location.hash = '#view=overview'",
}


async def in_browser(chromium: str, page: Path, pictures: Path | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with browser(chromium, Path(folder)) as shown:
            paints, loads = [], []
            for _ in range(5):
                await shown.open(page)
                entries = "performance.getEntriesByName('first-contentful-paint')"
                await shown.until(f"{entries}.length")
                paints.append(await shown.run(f"{entries}[0].startTime"))
                loads.append(
                    await shown.run("performance.timing.loadEventEnd - performance.timing.fetchStart")
                )
            print(f"first paint   {statistics.median(paints):7.0f} ms of 5 times, {max(paints):.0f} at worst")
            print(f"loaded        {statistics.median(loads):7.0f} ms")
            await asyncio.sleep(3)  # whole texts join the search
            for name, action in ACTIONS.items():
                timed = f"(async () => {{ const start = performance.now(); {action}; await {DONE}; "
                took = await shown.run(timed + "return performance.now() - start; })()")
                print(f"{name:22}{took:7.0f} ms")
                await asyncio.sleep(0.3)
            print(
                f"console: {shown.said or 'nothing'}; requests: {len({*shown.requested} - {'about:blank'})}"
            )
            if pictures is not None:
                await _pictures(shown, page, pictures)


async def _pictures(shown: Page, page: Path, pictures: Path) -> None:
    pictures.mkdir(parents=True, exist_ok=True)
    places = {"overview": "", "cases": "#view=cases", "run": "#view=run"}
    for dark in (False, True):
        await shown.dark(dark)
        for name, place in places.items():
            await shown.open(page, place)
            await asyncio.sleep(0.3)
            await shown.picture(pictures / f"{name}-{'dark' if dark else 'light'}.png")


def main() -> None:
    report = large_report()
    start = time.perf_counter()
    text = html(report)
    took = time.perf_counter() - start
    print(f"size          {len(text.encode()) / 1e6:7.2f} MB, made in {took:.1f} s")
    if len(sys.argv) > 1:
        with tempfile.TemporaryDirectory() as folder:
            page = Path(folder) / "report.html"
            page.write_text(text, encoding="utf-8")
            pictures = Path(sys.argv[2]) if len(sys.argv) > 2 else None
            asyncio.run(in_browser(sys.argv[1], page, pictures))


if __name__ == "__main__":
    main()
