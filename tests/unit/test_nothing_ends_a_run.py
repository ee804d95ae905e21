"""Whatever is tried, returned or raised in code that is not ours: a run ends with a result."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_promptopt.errors import PromptFileError, SettingsError
from pytest_promptopt.journal import Journal, JournalError, read_events
from pytest_promptopt.optimizer import acceptance, halting
from pytest_promptopt.optimizer.acceptance import Verdict
from pytest_promptopt.optimizer.base_search import BaseSearch
from pytest_promptopt.optimizer.candidate_checks import CandidateChecks
from pytest_promptopt.optimizer.candidates import ACCEPTED, Candidate, EvaluatedCandidate
from pytest_promptopt.optimizer.halting import Phase, Stop
from pytest_promptopt.optimizer.prompt_groups import PromptGroup
from pytest_promptopt.optimizer.proposal import proposer
from pytest_promptopt.optimizer.proposal.replies import InvalidReply, Reply
from pytest_promptopt.optimizer.protocols import Ask, StopRun, Trial
from pytest_promptopt.optimizer.run import run_optimization
from pytest_promptopt.optimizer.screening import ScreeningEvaluator
from pytest_promptopt.optimizer.search_context import SearchContext
from pytest_promptopt.optimizer.search_hooks import SearchHooks
from pytest_promptopt.prompts import PromptFile
from pytest_promptopt.prompts.examples import Example, with_examples
from pytest_promptopt.records import Case, CaseResult, Outcome, Request, Split, Status
from pytest_promptopt.results import Iteration, RunResult
from pytest_promptopt.strategies.evolve import Evolve
from pytest_promptopt.strategies.hybrid import Hybrid
from pytest_promptopt.strategies.refine.ablation import cut_each_passage
from pytest_promptopt.strategies.refine.search import RefineSearch
from tests.refine_world import HELDOUT, TRAIN, VALIDATION, FakePrompt, Need, World, needs

STRATEGIES = [RefineSearch, Evolve, Hybrid]

#: Each is right a little further, until all cases pass.
GROWING = ["a", "a b", "a b c", "a b c d"]


class Odd(Exception):
    """Not even its words can be had."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


ERRORS: list[BaseException] = [
    ValueError("mistaken"),
    SystemExit("set HOUSE_KEY first"),
    MemoryError(),
    RecursionError("too deep"),
    GeneratorExit(),
    BaseException("of a library"),
    pytest.skip.Exception("not now"),
    SettingsError("a setting"),
    Odd(),
]


def hard_cases() -> list[Need]:
    return needs("a a b b c c d d -") + needs("a b c d", VALIDATION) + needs("a b", HELDOUT)


def whole_run(world: World, **more: Any) -> tuple[RunResult, list[str]]:
    """A run with a journal: its result, and the names of the events. Checks what always holds."""
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal.create(Path(folder) / "run", "run")
        try:
            result = world.run(journal=journal, **more)
        finally:
            journal.close()
        events = [event.event for event in read_events(journal.path)]
    assert events[-1] == "end"
    assert events.count("end") == 1
    assert events.count("written") == len(world.written)
    checks = CandidateChecks()
    for prompt in world.prompts:
        text = world.written.get(prompt.name)
        assert text is None or checks.fault(prompt, text) is None
    for trial in (trial for trials in (*world.evaluated, *world.fresh) for trial in trials):
        for prompt in world.prompts:
            text = trial.overlay.get(prompt.name, prompt.prose)
            assert "{{ ticket }}" in text, "a case saw a text that is no prompt"
    return result, events


# ----------------------------------------------------------------------------- whoever raises


@dataclass
class Fuse:
    """Lets a call through until its turn comes."""

    left: int
    error: BaseException
    blown: bool = field(default=False)

    def __call__(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def fused(*args: Any, **given: Any) -> Any:
            self.left -= 1
            if self.left < 0:
                self.blown = True
                raise self.error
            return call(*args, **given)

        return fused


SEAMS = ["propose", "merge", "accept", "halt", "categorize", "redact", "evaluate", "ask", "write"]
OBSERVERS = ["progress", "measured", "iteration_finished", "caught_up"]


def fused_world(seam: str, fuse: Fuse, strategy: Any) -> World:
    defaults = {
        "propose": proposer.propose_texts,
        "merge": proposer.merge_texts,
        "accept": acceptance.accept_adaptively,
        "halt": halting.halt_by_default,
        "categorize": lambda case: None,
        "redact": lambda text: text,
    } | dict.fromkeys(OBSERVERS, lambda *_: None)
    world = World(hard_cases(), GROWING * 30, strategy=strategy)
    if seam in defaults:
        world.hooks = SearchHooks(**{seam: fuse(defaults[seam])})  # type: ignore[arg-type]
    else:
        setattr(world, seam, fuse(getattr(world, seam)))
    return world


@settings(max_examples=60, deadline=None)
@given(
    seam=st.sampled_from([*SEAMS, *OBSERVERS]),
    turn=st.integers(0, 12),
    error=st.sampled_from(ERRORS),
    strategy=st.sampled_from(STRATEGIES),
)
def test_whoever_raises_at_whatever_time_the_run_ends_with_its_result(
    seam: str, turn: int, error: BaseException, strategy: Any
) -> None:
    fuse = Fuse(turn, error)
    world = fused_world(seam, fuse, strategy)
    result, _ = whole_run(world, candidates=2)
    assert bool(result.errors) == fuse.blown
    assert not result.interrupted
    assert all(__file__.endswith(said.partition(":")[0]) or "test_nothing" in said for said in result.errors)
    if fuse.blown and seam in OBSERVERS:
        assert result.prompts[0].stop != "error", "observers cannot steer"


def test_what_was_found_before_a_hook_raised_is_confirmed_scored_and_written() -> None:
    world = fused_world("accept", Fuse(1, ZeroDivisionError("division by zero")), RefineSearch)
    result, events = whole_run(world)
    (prompt,) = result.prompts
    assert (prompt.stop, prompt.written) == ("error", True)
    assert prompt.confirmation is not None
    assert prompt.confirmation.verdict == "improved"
    assert {score.split for score in prompt.scores if score.after is not None} == {*Split}
    (said,) = result.errors
    assert said == prompt.why
    assert said.startswith("the acceptance rule raised at tests/unit/test_nothing_ends_a_run.py:")
    assert said.endswith(": ZeroDivisionError: division by zero")
    assert "error" in events


@pytest.mark.parametrize("moment", ["evaluate 2", "ask 2", "confirm 1"])
def test_only_ctrl_c_writes_nothing(moment: str) -> None:
    world = World(hard_cases(), GROWING, interrupt=moment)
    result, _ = whole_run(world)
    assert result.interrupted
    assert not world.written
    assert result.errors == ()


def test_what_goes_wrong_with_one_prompt_does_no_harm_to_another() -> None:
    """Where the confirmation of the first breaks, the second is confirmed and written."""
    prompts = [FakePrompt("one.md"), FakePrompt("two.md")]
    cases = needs("a a a a a a", prompts=("one.md",)) + [
        replace(need, id=f"two-{need.id}") for need in needs("a a a a a a", prompts=("two.md",))
    ]
    world = World(cases, ["a", "a"], prompts=prompts, interrupt="confirm 1", error=ValueError("broken"))
    result, _ = whole_run(world)
    assert [prompt.written for prompt in result.prompts] == [False, True]
    assert world.written.keys() == {"two.md"}
    assert len(result.errors) == 1
    assert "broken" in result.prompts[0].unwritten


def test_who_cannot_be_told_of_cases_caught_up_bars_no_text() -> None:
    """Few cases are run in the search, the others when it is over."""
    cases = needs("a " * 20 + "- " * 30)
    error = StopRun("max calls", "all calls are used")
    world = World(cases, ["a"], interrupt="evaluate 3", error=error)
    world.hooks = SearchHooks(caught_up=Fuse(0, OSError("the terminal is gone"))(lambda caught_up: None))
    result, _ = whole_run(world)
    assert result.prompts[0].caught_up is not None
    assert result.prompts[0].outcome == "improved"
    assert len(result.errors) == 1


@pytest.mark.parametrize("turn", range(0, 40, 3))
def test_a_redaction_that_raises_where_a_prompt_has_examples_leaves_a_result(turn: int) -> None:
    prose = with_examples("Route {{ ticket }}.", [Example({"ticket": "a ticket"}, "a label")])
    fuse = Fuse(turn, ZeroDivisionError("division by zero"))
    world = World(needs("a a a a a a"), ["a"], prompts=[FakePrompt(prose=prose)])
    world.hooks = SearchHooks(redact=fuse(lambda text: text))
    result, _ = whole_run(world)
    assert bool(result.errors) == fuse.blown


# ----------------------------------------------------------------------------- whatever is proposed

TEXT = st.text(max_size=40) | st.sampled_from(
    ["Route {{ ticket }}. a b", "{{", "{% for", "", "\x00", "\ud800", "{{ ticket.__class__ }}", "a" * 10**6]
)
GARBAGE = st.none() | st.integers() | TEXT | st.binary(max_size=5) | st.just([1]) | st.just({"a": 1})
PROPOSED = (
    TEXT.map(lambda text: Reply(text, ""))
    | GARBAGE.map(lambda found: Reply(found, found))  # type: ignore[arg-type]
    | GARBAGE.map(lambda found: InvalidReply(found))  # type: ignore[arg-type]
    | GARBAGE
)


@settings(max_examples=60, deadline=None)
@given(found=st.lists(PROPOSED, max_size=4) | GARBAGE, strategy=st.sampled_from(STRATEGIES))
def test_whatever_a_proposer_returns_the_run_ends_with_a_result(found: Any, strategy: Any) -> None:
    def propose(wanted: proposer.ProposalRequest, ask: Ask) -> Any:
        if not isinstance(found, list):
            return found
        return [found[n % len(found)] for n in range(len(wanted.briefs))] if found else found

    world = World(hard_cases(), strategy=strategy, hooks=SearchHooks(propose=propose))
    whole_run(world, candidates=2, max_iterations=2)


@settings(max_examples=40, deadline=None)
@given(verdict=st.builds(Verdict, GARBAGE, GARBAGE) | GARBAGE, stop=st.builds(Stop, GARBAGE, GARBAGE))
def test_whatever_a_rule_returns_the_run_ends_with_a_result(verdict: Any, stop: Any) -> None:
    accepting = World(hard_cases(), GROWING, hooks=SearchHooks(accept=lambda comparison: verdict))
    whole_run(accepting, max_iterations=2)
    halted = World(hard_cases(), GROWING, hooks=SearchHooks(halt=lambda progress: stop))
    result, _ = whole_run(halted)
    assert isinstance(result.prompts[0].stop, str)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_optimizer_may_answer_anything(strategy: Any) -> None:
    replies = ["", "<new_prompt>", "<new_prompt>{{</new_prompt>", "<new_prompt>\ud800</new_prompt>", "\x00"]
    answers = iter(replies * 50)

    def reply(request: Request) -> str:
        return f"<reason>x</reason>{next(answers)}"

    result, _ = whole_run(World(hard_cases(), reply, strategy=strategy), candidates=2)
    assert result.errors == ()
    assert result.prompts[0].outcome == "unchanged"


# ----------------------------------------------------------------------------- strategies of others


class Own(BaseSearch):
    """Tries what it is given, without a check, and believes in the last of it."""

    texts: Sequence[Any] = ()
    after_each: Callable[[BaseSearch], object] = staticmethod(lambda search: None)

    def search(self) -> Stop:
        name = self.names[0]
        for number, text in enumerate(self.texts, 1):
            self.start_iteration(Phase.TRAINING, self.best)
            candidate = Candidate(f"{number}.1", (name,), "own", overlay={name: text})
            (results,) = self.evaluate([candidate.overlay], self.group.ids(TRAIN))
            candidate = candidate.ran(results).decided(ACCEPTED, "it is mine")
            self.best = candidate.to_evaluated()
            self.finish_iteration(Phase.TRAINING, [candidate], self.best)
            self.after_each(self)
        return Stop("done", "all are tried")


def own(texts: Sequence[Any], after_each: Callable[[BaseSearch], object] = lambda search: None) -> type[Own]:
    return type("OwnOne", (Own,), {"texts": texts, "after_each": staticmethod(after_each)})


@pytest.mark.parametrize("text", ["Route it.", "", "\x00 {{", "\ud800", 3, None, ["{{ ticket }}"]])
def test_a_text_that_a_strategy_did_not_check_is_refused_before_a_case_sees_it(text: Any) -> None:
    world = World(hard_cases(), strategy=own([text]))
    result, _ = whole_run(world)
    (prompt,) = result.prompts
    (candidate,) = prompt.iterations[0].candidates if prompt.iterations else [None]
    assert prompt.outcome == "unchanged"
    assert not world.written
    assert all(not trial.overlay for trials in world.evaluated for trial in trials)
    if isinstance(text, str):
        assert candidate is not None
        assert candidate.verdict == "refused"
        assert candidate.why


GOOD = "Route {{ ticket }}. a b c d"


@pytest.mark.parametrize(
    "name", ["original", "final", "iterations", "notes", "stop", "interrupted", "group", "names"]
)
@pytest.mark.parametrize("left", [None, 3, ["x"], RuntimeError("no")])
def test_whatever_a_strategy_leaves_the_run_ends_with_a_result(name: str, left: Any) -> None:
    def get(self: object) -> Any:
        if isinstance(left, Exception):
            raise left
        return left

    def set_(self: object, value: object) -> None: ...

    class Careless:
        def __init__(self, group: PromptGroup, context: SearchContext) -> None:
            self._search = RefineSearch(group, context)

        def run(self) -> None:
            self._search.run()

        def __getattr__(self, wanted: str) -> Any:
            return get(self) if wanted == name else getattr(self._search, wanted)

    world = World(hard_cases(), GROWING, strategy=Careless)
    result, _ = whole_run(world)
    assert len(result.prompts) == 1
    if name in ("original", "final", "iterations", "stop"):
        assert result.errors


def test_a_text_of_which_a_strategy_says_nonsense_leaves_a_result() -> None:
    class Odder(RefineSearch):
        @property
        def final(self) -> EvaluatedCandidate:
            return replace(self.best, posterior="none")  # type: ignore[arg-type]

    result, _ = whole_run(World(hard_cases(), GROWING, strategy=Odder))
    assert result.errors == ("the strategy's search has str for `final.posterior`; accepted: RatePosterior",)
    assert result.prompts[0].stop


@pytest.mark.parametrize("error", ERRORS)
def test_a_strategy_that_cannot_be_begun_ends_with_a_result(error: BaseException) -> None:
    def strategy(group: PromptGroup, context: SearchContext) -> Any:
        raise error

    result, _ = whole_run(World(hard_cases(), strategy=strategy))
    assert (result.prompts[0].outcome, result.prompts[0].stop) == ("unchanged", "error")
    assert len(result.errors) == 1


@pytest.mark.parametrize("error", ERRORS)
def test_a_strategy_that_raises_leaves_what_it_had_found(error: BaseException) -> None:
    def fail(search: BaseSearch) -> None:
        raise error

    world = World(hard_cases(), strategy=own([GOOD], fail))
    result, _ = whole_run(world)
    assert world.written == {"route.md": GOOD}
    assert (result.prompts[0].outcome, result.prompts[0].stop) == ("improved", "error")
    assert len(result.errors) == 1


def test_what_is_no_json_does_not_keep_the_journal_from_its_end() -> None:
    def strange(search: BaseSearch) -> None:
        search.iterations.append(replace(search.iterations[0], elapsed=object()))  # type: ignore[arg-type]

    result, _ = whole_run(World(hard_cases(), strategy=own([GOOD], strange)))
    assert result.prompts[0].outcome == "improved"


# ----------------------------------------------------------------------------- observers


def test_an_observer_that_raises_each_time_is_told_of_once() -> None:
    heard: list[Iteration] = []

    def loud(iteration: Iteration) -> None:
        heard.append(iteration)
        raise ValueError(f"iteration {iteration.number}")

    world = World(hard_cases(), GROWING, hooks=SearchHooks(iteration_finished=loud))
    result, _ = whole_run(world, max_iterations=9)
    assert len(heard) == len(result.prompts[0].iterations) > 1, "it is told of the others all the same"
    assert len(result.errors) == 1
    assert result.prompts[0].stop == "target reached"
    assert world.written


# ----------------------------------------------------------------------------- texts that cannot be rendered


@dataclass
class Picky(World):
    """A text with the word `fragile` cannot be rendered for some cases."""

    fragile_for: Callable[[str], bool] = lambda case: False

    def _results(self, trial: Trial) -> tuple[CaseResult, ...]:
        results = super()._results(trial)
        if not any("fragile" in text for text in trial.overlay.values()):
            return results
        return tuple(
            CaseResult(
                r.case, (Outcome(r.case.id, Status.ERRORED, 0.0, error="no such thing", unrenderable=True),)
            )
            if self.fragile_for(r.case.id)
            else r
            for r in results
        )


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_text_that_cannot_be_rendered_for_a_case_is_refused_and_the_run_goes_on(strategy: Any) -> None:
    world = Picky(
        hard_cases(),
        ["a b c d fragile", *GROWING * 9],
        strategy=strategy,
        fragile_for=lambda case: case == "train-5-c",
    )
    result, _ = whole_run(world, max_iterations=12)
    (prompt,) = result.prompts
    verdicts = {c.id: (c.verdict, c.why) for i in prompt.iterations for c in i.candidates}
    assert verdicts["1.1"] == ("refused", "it cannot be rendered for a case: no such thing")
    assert result.errors == ()
    assert "fragile" not in world.written["route.md"]
    assert prompt.outcome == "improved"


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("split", [VALIDATION, HELDOUT])
def test_nor_is_a_text_written_that_fails_so_where_it_is_only_scored(strategy: Any, split: Split) -> None:
    world = Picky(
        hard_cases(), ["a b c d fragile"], strategy=strategy, fragile_for=lambda case: case.startswith(split)
    )
    result, _ = whole_run(world, max_iterations=2)
    assert not world.written
    assert not result.prompts[0].accepted
    assert "cannot be rendered for a case" in result.prompts[0].note + result.prompts[0].unwritten
    assert not any("no such thing" in request for request in world.requests())


def test_a_good_text_is_run_and_a_refused_one_costs_no_call() -> None:
    world = World(needs("a b"))
    screen = ScreeningEvaluator(world, world.prompts)
    good, bad = {"route.md": "Route {{ ticket }}. a"}, {"route.md": "Route it."}
    ids = ("train-1-a", "train-2-b")
    after, refused = screen.evaluate([Trial(good, ids), Trial(bad, ids, (7,))])
    assert [result.rate for result in after] == [1.0, 0.0]
    assert [result.rate for result in refused] == [None, None]
    assert {(o.sample, o.error) for r in refused for o in r.outcomes} == {
        (7, "It lost the variable {{ ticket }}.")
    }
    assert screen.evaluate([Trial(bad, ids)])[0][0].errored
    assert [[dict(t.overlay) for t in trials] for trials in world.evaluated] == [[good]]


class Mute(World):
    """A target that gives these cases no answer under any text but the file's own."""

    mute: frozenset[str] = frozenset()

    def _results(self, trial: Trial) -> tuple[CaseResult, ...]:
        return tuple(
            replace(
                r, outcomes=tuple(replace(o, status=Status.ERRORED, error="too long") for o in r.outcomes)
            )
            if trial.overlay and r.case.id in self.mute
            else r
            for r in super()._results(trial)
        )


LONG = {"route.md": "Route {{ ticket }}. a"}


def screened(mute: Sequence[int], *runs: Sequence[int], splits: str = "TTTT") -> list[str | None]:
    """Why the text is refused after each run of these cases, where some get no answer."""
    world = Mute([need for n, s in enumerate(splits) for need in needs_of(n, s)])
    ids = [case.id for case in world.cases]
    world.mute = frozenset(ids[n] for n in mute)
    screen = ScreeningEvaluator(world, world.prompts)
    screen.evaluate([Trial({}, tuple(ids))])
    said = []
    for run in runs:
        screen.evaluate([Trial(LONG, tuple(ids[n] for n in run))])
        said.append(screen.refusal(LONG))
    return said


def needs_of(number: int, split: str) -> list[Need]:
    return needs("- " * number + "a", TRAIN if split == "T" else VALIDATION)[-1:]


def test_a_text_under_which_no_case_has_an_answer_is_refused() -> None:
    assert screened([0, 1, 2], [0, 1, 2]) == ["no case has an answer with it: too long"]


def test_two_cases_without_an_answer_may_be_so_by_chance() -> None:
    assert screened([0, 1], [0, 1]) == [None]


def test_a_text_that_has_had_an_answer_stays() -> None:
    assert screened([0, 1, 2], [3], [0, 1, 2]) == [None, None]


def test_nothing_of_a_validation_case_is_told_of_that() -> None:
    assert screened([0, 1, 2], [0, 1, 2], splits="VVV") == ["no case has an answer with it"]


# ----------------------------------------------------------------------------- cuts


@pytest.mark.parametrize(
    ("text", "rests"),
    [
        ("A. B.\nuser:\n{{ x }}", ["B.\nuser:\n{{ x }}", "A.\nuser:\n{{ x }}", "A. B.\n{{ x }}"]),
        ("- a\n- b\n- c", ["- b\n- c", "- a\n- c", "- a\n- b\n"]),
        ("A. B.\n\nC.", ["B.\n\nC.", "A.\n\nC.", "A. B.\n\n"]),
    ],
)
def test_a_cut_keeps_the_line_breaks(text: str, rests: list[str]) -> None:
    assert [cut.prose for cut in cut_each_passage("p", "", text)] == rests


LINE = st.sampled_from(
    ["Sort it.", "Be brief. Say why.", "system:", "user:", "assistant:", "", "- a", "a; b"]
)


@given(st.lists(LINE, max_size=8).map("\n".join))
def test_a_cut_makes_no_line_of_two(text: str) -> None:
    lines = set(text.split("\n"))
    parts = {
        part for line in lines for part in (line, *line.replace("; ", ";|").replace(". ", ".|").split("|"))
    }
    for cut in cut_each_passage("p", "", text):
        assert {line.rstrip() for line in cut.prose.split("\n") if line.strip()} <= parts


def test_a_cut_that_empties_a_turn_is_not_tried(tmp_path: Path) -> None:
    path = tmp_path / "p.md"
    path.write_text("system:\nBe good.\nuser:\n{{ x }}\n", encoding="utf-8")
    file = PromptFile.load(path, rootdir=tmp_path)
    after = "system:\nSort it, 1.\nuser:\n{{ x }}"
    checks = CandidateChecks()
    made = cut_each_passage(file.name, file.prose, after)
    assert [cut.passage for cut in made] == ["Sort it, 1."]
    with pytest.raises(PromptFileError, match="turn is empty"):
        file.with_prose(made[0].prose)
    assert checks.fault(file, made[0].prose) is not None


class Failing(Journal):
    """Cannot write what was measured of the old model."""

    def append(self, event: str, **data: Any) -> None:
        if event == "migration":
            raise JournalError("the disk is full")
        super().append(event, **data)


class WithAnOldModel(World):
    """The cases of the old model are in no split."""

    @property
    def cases(self) -> list[Case]:
        return [case for case in super().cases if not case.id.startswith("old")]


def test_what_goes_wrong_in_measuring_an_old_model_bars_no_text(tmp_path: Path) -> None:
    cases, scored = needs("a a a a a a a a -"), needs("a a", HELDOUT)
    world = WithAnOldModel([*cases, *scored, *(replace(each, id=f"old-{each.id}") for each in scored)], ["a"])
    context = replace(
        world.context(journal=Failing.create(tmp_path, "r")),
        references={each.id: f"old-{each.id}" for each in scored},
    )
    (result,) = run_optimization(world.prompts, context, world.strategy, write=world.write).prompts
    assert (result.outcome, result.written) == ("improved", True)
    assert "the old model could not be measured on the held-out cases: " in result.note
    assert result.note.endswith("JournalError: the disk is full")
