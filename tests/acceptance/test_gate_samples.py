"""`--promptopt-gate-samples`: a gate that is undecided has its cases asked again, until it is decided."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.acceptance.projects import Project, git

OK, FAILED, USAGE = pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.USAGE_ERROR

#: Of each case's samples, one in five is wrong.
NOW_AND_THEN = """
def said(request):
    number = request.messages[-1].content.rpartition(": ")[2]
    return "wrong" if number.isdigit() and (int(number) + request.sample) % 5 == 0 else number
"""

#: One worker dies when it first runs a case.
KILLED = """
@pytest.fixture(autouse=True)
def dies(worker_id):
    if not LOG.with_name("dead").exists():
        LOG.with_name("dead").touch()
        os._exit(1)
"""

TWENTY = """
@pytest.mark.prompt("prompts/{name}.md", min_pass_rate={least})
@pytest.mark.parametrize("word", [str(number) for number in range(20)])
def test_{name}(prompt, word):
    assert prompt(word=word) == word
"""


@pytest.fixture(params=[0, 2], ids=["plain", "xdist"])
def workers(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def project(pytester: pytest.Pytester) -> Project:
    project = Project(pytester, "promptopt_gate = interval")
    project.append("conftest.py", "import pytest\n" + NOW_AND_THEN)
    return project


def asked(project: Project) -> int:
    log = project.path / "calls.log"
    return len(log.read_text(encoding="utf-8").splitlines()) if log.exists() else 0


def samples(project: Project, prompt: int = 0) -> set[int]:
    """How many samples the cases of a prompt have in the report."""
    report: Any = json.loads((project.path / "r.json").read_bytes())
    return {case["samples"] for case in report["prompts"][prompt]["results"]}


def test_they_are_asked_until_it_is_decided(project: Project, workers: int) -> None:
    project.tests(TWENTY.format(name="repeat", least=0.6))
    once = project.run("--promptopt-cache=off", workers=workers)
    once.stdout.fnmatch_lines(["gate: prompts/repeat.md 80.0% *: UNDECIDED: about * more sample* of each *"])
    (project.path / "calls.log").unlink()
    result = project.run("--promptopt-gate-samples=8", "--promptopt-report=r.json", workers=workers)
    assert result.ret == OK
    result.stdout.fnmatch_lines(
        [
            "gate of prompts/repeat.md is undecided: 20 cases asked again, 2 samples each",
            "gate: prompts/repeat.md 80.0% *, 60.0% required: holds *",
        ]
    )
    assert (asked(project), samples(project)) == (40, {2})


def test_the_answers_are_known_the_next_time(project: Project) -> None:
    project.tests(TWENTY.format(name="repeat", least=0.6))
    first = project.run("--promptopt-gate-samples=8")
    again = project.run("--promptopt-gate-samples=8")
    assert (first.ret, again.ret, asked(project)) == (OK, OK, 40)


def test_without_a_cache_no_answer_is_paid_twice(project: Project, workers: int) -> None:
    project.tests(TWENTY.format(name="repeat", least=0.6))
    result = project.run("--promptopt-gate-samples=8", "--promptopt-cache=off", workers=workers)
    assert result.ret == OK
    assert asked(project) == 40
    result.stdout.fnmatch_lines(["40 model calls*"])


def test_they_are_asked_as_often_as_they_may_and_no_more(project: Project) -> None:
    project.tests(TWENTY.format(name="repeat", least=0.79))
    result = project.run("--promptopt-gate-samples=3", "--promptopt-report=r.json")
    assert result.ret == FAILED
    result.stdout.fnmatch_lines(["gate: prompts/repeat.md *: UNDECIDED: *"])
    assert (asked(project), samples(project)) == (60, {3})


def test_a_ceiling_ends_it_and_the_gate_goes_by_what_there_is(project: Project, workers: int) -> None:
    project.tests(TWENTY.format(name="repeat", least=0.79))
    args = ("--promptopt-gate-samples=8", "--promptopt-max-calls=30", "--promptopt-cache=off")
    result = project.run(*args, workers=workers)
    assert result.ret == FAILED
    result.stdout.fnmatch_lines(
        [
            "promptopt: no further samples for gates: the ceiling of 30 calls is reached *",
            "gate: prompts/repeat.md *: UNDECIDED: *",
        ]
    )
    assert asked(project) == 30


def test_workers_that_die_are_replaced_and_change_nothing(project: Project) -> None:
    project.append("conftest.py", KILLED)
    project.tests(TWENTY.format(name="repeat", least=0.6))
    result = project.run("--promptopt-gate-samples=8", "--promptopt-report=r.json", workers=2)
    result.stdout.fnmatch_lines(
        ["replacing crashed worker gw*", "gate: prompts/repeat.md 80.0% *, 60.0% required: holds *"]
    )
    assert (asked(project), samples(project)) == (40, {2})
    (project.path / "dead").unlink()
    result = project.run("--promptopt-gate-samples=8", "--max-worker-restart=0", workers=1)
    result.stdout.fnmatch_lines(["promptopt: no further samples for gates: no worker is left, and *"])
    assert result.ret not in (OK, pytest.ExitCode.INTERNAL_ERROR)


def test_only_those_of_the_gate_that_is_undecided(project: Project) -> None:
    project.write("prompts/sure.md", "Repeat this: {{ word }}\n")
    project.tests(TWENTY.format(name="repeat", least=0.6) + TWENTY.format(name="sure", least=0.1))
    result = project.run("--promptopt-gate-samples=8", "--promptopt-report=r.json")
    assert result.ret == OK
    assert [samples(project, prompt) for prompt in (0, 1)] == [{2}, {1}]
    assert "sure.md is undecided" not in result.stdout.str()


def test_with_several_models_only_those_of_the_one_that_is_undecided(project: Project, workers: int) -> None:
    project.append(
        "conftest.py", '\nold = said\ndef said(r): return "x" if r.model == "house/bad" else old(r)\n'
    )
    project.tests(TWENTY.format(name="repeat", least=0.6))
    models = "--promptopt-model=house/good,house/bad"
    result = project.run("--promptopt-gate-samples=8", models, workers=workers)
    assert result.ret == FAILED
    result.stdout.fnmatch_lines(
        ["gate: * with house/good 80.0% *: holds *", "gate: * with house/bad 0.0% *: FAILED *"]
    )
    assert asked(project) == 60


def test_answers_that_do_not_vary_are_asked_for_twice(project: Project) -> None:
    project.tests(
        """
        @pytest.mark.prompt("prompts/repeat.md", min_pass_rate=0.6)
        @pytest.mark.parametrize("word", ["right"] * 8 + ["long word"] * 2)
        def test_repeat(prompt, word):
            assert " " not in prompt(word=word)
        """
    )
    result = project.run("--promptopt-gate-samples=8", "--promptopt-report=r.json")
    result.stdout.fnmatch_lines(["gate: *: UNDECIDED: samples cannot decide it; about * more cases can *"])
    assert samples(project) == {2}


def test_what_has_no_gate_is_asked_once(project: Project) -> None:
    project.tests(TWENTY.format(name="repeat", least=None))
    project.run("--promptopt-gate-samples=8")
    assert asked(project) == 20


def test_a_part_of_the_cases_decides_no_gate_and_is_asked_once(project: Project, workers: int) -> None:
    project.tests(TWENTY.format(name="repeat", least=0.6))
    project.run("--promptopt-gate-samples=8", "-k", "1", workers=workers)
    assert asked(project) == 11


@pytest.mark.parametrize(
    ("ini", "args", "said"),
    [
        ("rate", [], "is for gates that may be undecided: add --promptopt-gate=interval"),
        ("interval", ["--optimize"], "is about a plain check; leave --optimize, "),
        (
            "interval",
            ["--setup-show"],
            "runs cases unseen, and --setup-show is to show every run; leave one out",
        ),
        ("interval", ["--dist=each", "--tx=2*popen"], "--dist=each runs every case on every worker"),
    ],
)
def test_what_it_does_not_go_with(pytester: pytest.Pytester, ini: str, args: list[str], said: str) -> None:
    project = Project(pytester, f"promptopt_gate = {ini}")
    project.tests(TWENTY.format(name="repeat", least=0.6))
    result = project.run("--promptopt-gate-samples=8", *args)
    assert result.ret == USAGE
    assert f"--promptopt-gate-samples=8 {said}" in result.stderr.str().replace("=8: ", "=8 ")
    assert asked(project) == 0


def test_about_cases_not_seen_samples_decide_nothing(project: Project) -> None:
    project.ini(
        "promptopt_model = house/repeat", "promptopt_gate = interval", "promptopt_gate_population = cases"
    )
    project.tests(TWENTY.format(name="repeat", least=0.6))
    result = project.run("--promptopt-gate-samples=8")
    assert result.ret == USAGE
    assert (
        "decides no gate with promptopt_gate_population = cases: only further cases do" in result.stderr.str()
    )


def test_in_the_ini_file_it_waits_for_a_check_by_intervals(pytester: pytest.Pytester) -> None:
    project = Project(pytester, "promptopt_gate_samples = 8")
    project.append("conftest.py", NOW_AND_THEN)
    project.tests(TWENTY.format(name="repeat", least=0.6))
    assert project.run().ret == OK
    assert project.run("--promptopt-gate=interval").ret == OK
    assert asked(project) == 40


def test_workers_measure_and_decide_what_one_process_does(project: Project) -> None:
    """The whole report is the same, but for the order of cases, also that of the comparison with a commit."""
    project.write("prompts/sure.md", "Repeat this: {{ word }}\n")
    project.tests(TWENTY.format(name="repeat", least=0.6) + TWENTY.format(name="sure", least=0.1))
    git(project.path, "init", "-q")
    git(project.path, "add", ".")
    git(project.path, "commit", "-qm", "one")
    project.write("prompts/repeat.md", "Please repeat: {{ word }}\n")
    args = ("--promptopt-gate-samples=8", "--promptopt-compare=git:HEAD", "--promptopt-cache=off")
    seen = []
    for workers in (0, 2):
        result = project.run(*args, "--promptopt-report=r.json", workers=workers)
        report: Any = json.loads((project.path / "r.json").read_bytes())
        told = sorted(line for line in result.outlines if line.startswith(("gate", "compare:", "noise:")))
        figures = [in_no_order(report[name]) for name in ("prompts", "compared", "calls")]
        seen.append((result.ret, told, figures))
        assert asked(project) == 100
        (project.path / "calls.log").unlink()
    assert seen[0] == seen[1]


#: What no two runs have in common: how long calls took, and sentences that name the first cases that failed.
OF_ONE_RUN = ("latency", "categories")


def in_no_order(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {name: each for name, each in value.items() if not any(word in name for word in OF_ONE_RUN)}
        return {name: in_no_order(each) for name, each in kept.items()}
    return sorted(map(in_no_order, value), key=json.dumps) if isinstance(value, list) else value
