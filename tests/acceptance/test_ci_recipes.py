"""The recipes of examples/ci_workflow: they are valid, their commands run, and the comment comes once."""

from __future__ import annotations

import json
import os
import re
import shlex
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from .doc_pages import PAGES, ROOT, first_cells
from .github_standin import BOT, MAX_COMMENT, GitHub
from .loaded_script import load_script
from .projects import git
from .story import Story, add_a_case_that_stays_wrong, example

RECIPES = ROOT / "examples/ci_workflow"
GATE = RECIPES / ".github/workflows/prompts.yml"
NIGHTLY = RECIPES / ".github/workflows/nightly-optimize.yml"
WORKFLOWS = [GATE, NIGHTLY, *(ROOT / ".github/workflows").glob("*.yml")]
OPTIONS = set(first_cells(PAGES["docs/reference/options.md"]))

Yaml = dict[str, Any]


def read(path: Path) -> Yaml:
    found: Yaml = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def steps(path: Path, job: str) -> list[Yaml]:
    found: list[Yaml] = read(path)["jobs"][job]["steps"]
    return found


def uploads(path: Path, job: str) -> list[str]:
    """The files that a job uploads."""
    (upload,) = [step for step in steps(path, job) if "upload-artifact" in step.get("uses", "")]
    return str(upload["with"]["path"]).split()


def commands() -> dict[str, str]:
    """Every command line of pytest in the recipes, by where it stands."""
    found: dict[str, str] = {}
    for path in (GATE, NIGHTLY):
        for name, job in read(path)["jobs"].items():
            for number, step in enumerate(job["steps"]):
                for line in step.get("run", "").splitlines():
                    if line.startswith("pytest"):
                        found[f"{path.stem}: {name} {number}"] = line
    for name, job in read(RECIPES / ".gitlab-ci.yml").items():
        for line in job.get("script", ()):
            if line.startswith("pytest"):
                found[f"gitlab: {name}"] = line
    (repository,) = read(RECIPES / ".pre-commit-config.yaml")["repos"]
    found["pre-commit"] = repository["hooks"][0]["entry"]
    return found


COMMANDS = commands()


# ---------------------------------------------------------------------------------------- as they are written


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_of_a_command_exists(name: str) -> None:
    words = shlex.split(COMMANDS[name].partition(" || ")[0])
    assert words[0] == "pytest"
    named = {word.partition("=")[0] for word in words[1:] if word.startswith("--")}
    assert named - OPTIONS - {"--junit-xml"} == set()
    assert "--promptopt-max-cost" in named or "not prompt" in words, "no paid call without a ceiling"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_no_text_of_others_becomes_a_part_of_a_command(path: Path) -> None:
    jobs = read(path)["jobs"].values()
    assert [step["run"] for job in jobs for step in job["steps"] if "${{" in step.get("run", "")] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_to_a_major_version_and_those_of_github(path: Path) -> None:
    used = [step["uses"] for job in read(path)["jobs"].values() for step in job["steps"] if "uses" in step]
    assert used
    assert [name for name in used if not re.fullmatch(r"actions/[\w/-]+@v\d+", name)] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_checkout_leaves_no_token_behind_and_jobs_end(path: Path) -> None:
    workflow = read(path)
    assert "concurrency" in workflow
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 60
        for step in job["steps"]:
            if step.get("uses", "").startswith("actions/checkout"):
                assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize(
    ("path", "writing"),
    [
        (GATE, {"comment": {"contents": "read", "pull-requests": "write"}}),
        (NIGHTLY, {"pull-request": {"contents": "write", "pull-requests": "write"}}),
    ],
    ids=["prompts", "nightly-optimize"],
)
def test_only_a_job_that_runs_no_test_may_write(path: Path, writing: dict[str, dict[str, str]]) -> None:
    workflow = read(path)
    assert workflow["permissions"] == {}
    for name, job in workflow["jobs"].items():
        assert job["permissions"] == writing.get(name, {"contents": "read"})
        text = json.dumps(job)
        if name in writing:
            assert "secrets." not in text
            assert "pytest " not in text
            assert "pip install" not in text


def test_forks_get_no_prompt_test_and_no_secret() -> None:
    jobs = read(GATE)["jobs"]
    own = "github.event.pull_request.head.repo.full_name == github.repository"
    assert own in jobs["gate"]["if"]
    assert own.replace("==", "!=") in jobs["fork"]["if"]
    assert "secrets." not in json.dumps(jobs["fork"])
    assert jobs["fork"]["steps"][-1]["run"].startswith('pytest -m "not prompt" || ')
    merge_request = read(RECIPES / ".gitlab-ci.yml")["prompts-of-merge-request"]["rules"][0]["if"]
    assert "$CI_MERGE_REQUEST_SOURCE_PROJECT_ID == $CI_MERGE_REQUEST_PROJECT_ID" in merge_request


@pytest.mark.parametrize(("path", "job"), [(GATE, "gate"), (NIGHTLY, "optimize")], ids=["gate", "nightly"])
def test_answers_are_kept_from_run_to_run_also_after_a_red_gate(path: Path, job: str) -> None:
    used = {step["uses"]: step for step in steps(path, job) if "cache" in step.get("uses", "")}
    restore, save = used["actions/cache/restore@v5"], used["actions/cache/save@v5"]
    assert restore["with"]["path"] == save["with"]["path"] == ".promptopt/cache"
    assert restore["with"]["key"] == save["with"]["key"]
    assert restore["with"]["key"].startswith(restore["with"]["restore-keys"])
    assert save["if"] == "always()"


def test_gitlab_gets_cache_junit_and_the_commit_to_compare_with() -> None:
    shared = read(RECIPES / ".gitlab-ci.yml")[".prompts"]
    assert shared["cache"] == {"key": "promptopt", "paths": [".promptopt/cache"], "when": "always"}
    assert shared["artifacts"]["reports"]["junit"] == "junit.xml"
    assert shared["variables"]["GIT_DEPTH"] == "0"


def test_pre_commit_runs_for_prompt_files() -> None:
    (repository,) = read(RECIPES / ".pre-commit-config.yaml")["repos"]
    (hook,) = repository["hooks"]
    assert (repository["repo"], hook["language"], hook["pass_filenames"]) == ("local", "system", False)
    assert re.search(hook["files"], "prompts/route.md")
    assert not re.search(hook["files"], "README.md")


def test_the_readme_names_every_file() -> None:
    text = (RECIPES / "README.md").read_text(encoding="utf-8")
    files = {path.relative_to(RECIPES).as_posix() for path in RECIPES.rglob("*") if path.is_file()}
    assert set(first_cells(text)) == {name for name in files - {"README.md"} if "__pycache__" not in name}


# ------------------------------------------------------------------------------------------------ as they run


@pytest.fixture
def shop(story: Story) -> Story:
    """A small example as a checkout, with origin/main."""
    example("async_calls", story.path)
    git(story.path, "init", "--quiet", "--initial-branch=main")
    git(story.path, "add", "--all")
    git(story.path, "commit", "--quiet", "--message=first")
    git(story.path, "update-ref", "refs/remotes/origin/main", "HEAD")
    return story


def command(name: str, **variables: str) -> str:
    """A command of the recipes, with the variables that the shell would put in."""
    text = COMMANDS[name].partition(" || ")[0]
    for variable, value in variables.items():
        assert f"${variable}" in text
        text = text.replace(f"${variable}", value)
    assert "$" not in text
    return text


def test_a_pull_request_is_checked_compared_and_leaves_what_is_uploaded(shop: Story) -> None:
    prompt = shop.path / "prompts/route.md"
    text = prompt.read_text(encoding="utf-8")
    (gate, compared) = [name for name in COMMANDS if name.startswith("prompts: gate")]
    assert shop.run(command(compared, BASE="main")) == 0
    assert {name for name in uploads(GATE, "gate") if (shop.path / name).is_file()} == {
        "prompts.html",
        "prompts.md",
    }
    prompt.write_text(text.replace("Answer with the queue only.\n", ""), encoding="utf-8")
    assert shop.run(command(compared, BASE="main")) == 1, "it lost all its cases"
    assert any(line.startswith("compare: prompts/route.md") for line in shop.shown)
    page = (shop.path / "prompts.md").read_text(encoding="utf-8")
    assert page.startswith("## ❌ Prompts: gate held by 0 of 1")
    assert "### Compared with `git:origin/main`" in page
    assert shop.run(command(gate)) == 1
    assert shop.run(COMMANDS["pre-commit"]) == 1
    prompt.write_text(text, encoding="utf-8")
    assert shop.run(COMMANDS["pre-commit"]) == 0


def test_gitlab_gets_its_files(shop: Story) -> None:
    head = git(shop.path, "rev-parse", "HEAD").strip()
    names = [name for name in COMMANDS if name.startswith("gitlab")]
    assert [
        shop.run(command(names[0])),
        shop.run(command(names[1], CI_MERGE_REQUEST_DIFF_BASE_SHA=head)),
    ] == [0, 0]
    kept = read(RECIPES / ".gitlab-ci.yml")[".prompts"]["artifacts"]
    for name in (*kept["paths"], kept["reports"]["junit"]):
        assert (shop.path / name).is_file()


@pytest.mark.skipif(sys.platform == "win32", reason="the recipe runs in a shell of Linux")
def test_a_night_ends_in_one_pull_request(
    shop: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Optimize, keep body and patch, put them on a branch; the next night updates both."""
    (run,) = [step["run"] for step in steps(NIGHTLY, "optimize") if step.get("id") == "optimize"]
    (night,) = [name for name in COMMANDS if name.startswith("nightly")]
    add_a_case_that_stays_wrong(shop.path)
    git(shop.path, "commit", "--quiet", "--all", "--message=a hard mail")
    assert shop.run(command(night)) == 1, "some cases still fail"
    assert "git diff --binary > prompts.patch" in run
    patch = subprocess.run(["git", "diff", "--binary"], cwd=shop.path, check=True, capture_output=True).stdout
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "prompts.patch").write_bytes(patch)
    assert uploads(NIGHTLY, "optimize") == ["pull-request.md", "prompts.patch"]
    (kept / "pull-request.md").write_bytes((shop.path / "pull-request.md").read_bytes())

    remote = tmp_path / "remote.git"
    git(tmp_path, "clone", "--quiet", "--bare", str(shop.path), str(remote))
    gh = FakeGh(tmp_path, monkeypatch)
    for opened in ("", "12"):
        checkout = tmp_path / f"checkout{opened}"
        git(tmp_path, "clone", "--quiet", str(remote), str(checkout))
        gh.opened(opened)
        open_pull_request(checkout, kept)
    title = git(remote, "log", "-1", "--format=%s", "promptopt/nightly").strip()
    assert re.fullmatch(r"Improve prompts/route\.md: held-out [\d.]+% -> [\d.]+%", title)
    assert git(remote, "diff", "--name-only", "main", "promptopt/nightly") == "prompts/route.md\n"
    assert git(remote, "rev-list", "--count", "main..promptopt/nightly") == "1\n", (
        "each night replaces the branch"
    )
    (create, update) = gh.calls("pr create", "api --silent")
    assert f"--base main --head promptopt/nightly --title {title} --body-file" in create
    assert (
        f"--method PATCH repos/{{owner}}/{{repo}}/pulls/12 --raw-field title={title} --field body=@" in update
    )
    body = (kept / "body.md").read_text(encoding="utf-8")
    assert body.startswith("`pytest --optimize` has rewritten 1 prompt.")


class FakeGh:
    """A program `gh` that writes down what it is asked; `pr list` names the pull request that is open."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._log, self._open = folder / "gh.log", folder / "open"
        program = folder / "bin" / "gh"
        program.parent.mkdir()
        program.write_text(
            f'#!/bin/sh\necho "$*" >> {self._log}\nif [ "$1 $2" = "pr list" ]; then cat {self._open}; fi\n',
            encoding="utf-8",
        )
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)

    def opened(self, number: str) -> None:
        self._open.write_text(number, encoding="utf-8")

    def calls(self, *starts: str) -> list[str]:
        lines = self._log.read_text(encoding="utf-8").splitlines()
        return [line for line in lines if line.startswith(starts)]


def open_pull_request(checkout: Path, kept: Path) -> None:
    (step,) = [step for step in steps(NIGHTLY, "pull-request") if "run" in step]
    assert step["run"] == 'sh .github/open_pull_request.sh "$RUNNER_TEMP/pull-request"'
    subprocess.run(
        ["sh", str(RECIPES / ".github/open_pull_request.sh"), str(kept)],
        cwd=checkout,
        check=True,
        capture_output=True,
        env={**os.environ, "BASE": "main", "BRANCH": step["env"]["BRANCH"]},
    )


# ------------------------------------------------------------------------------------------------ the comment


@pytest.fixture
def script() -> ModuleType:
    module = load_script(RECIPES / ".github/prompt_comment.py")
    module.PAUSE = 0  # type: ignore[attr-defined]
    return module


@pytest.fixture
def github(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[GitHub]:
    """An empty pull request, and the variables of a job on it."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "COMMENT_AUTHOR", "COMMIT"):
        monkeypatch.delenv(name, raising=False)
    with GitHub() as standin:
        monkeypatch.setenv("GITHUB_API_URL", standin.url)
        monkeypatch.setenv("GITHUB_REPOSITORY", "shop/support")
        monkeypatch.setenv("GITHUB_TOKEN", "secret")
        monkeypatch.setenv("PULL_REQUEST", "7")
        monkeypatch.chdir(tmp_path)
        yield standin


def comment(script: ModuleType, monkeypatch: pytest.MonkeyPatch, text: str) -> int:
    Path("prompts.md").write_text(text, encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["prompt_comment.py", "prompts.md"])
    status: int = script.main()
    return status


def test_the_comment_is_created_once_and_updated_in_place(
    script: ModuleType, github: GitHub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    github.has("Looks good.", author="ann")
    assert comment(script, monkeypatch, "## first\n") == 0
    monkeypatch.setenv("COMMIT", "0123456789abcdef")
    assert comment(script, monkeypatch, "## second ❌\n") == 0
    assert [each["body"] for each in github.comments] == [
        "Looks good.",
        "<!-- pytest-promptopt -->\n## second ❌\n\n<sub>Commit 0123456789ab.</sub>",
    ]
    done = capsys.readouterr().out.splitlines()
    assert [line.partition(" ")[0] for line in done] == ["created", "updated"]
    assert github.tokens == {"Bearer secret"}
    assert "secret" not in "".join(done)


@pytest.mark.parametrize("largest_page", [100, 30])
def test_it_is_found_behind_many_others(
    script: ModuleType, github: GitHub, monkeypatch: pytest.MonkeyPatch, largest_page: int
) -> None:
    github.largest_page = largest_page
    github.has(*(f"talk {number}" for number in range(130)), author="ann")
    github.has("", author="")
    github.has("<!-- pytest-promptopt -->\nold")
    github.has(*(f"more talk {number}" for number in range(50)), author="ann")
    assert comment(script, monkeypatch, "new") == 0
    assert [each["body"] for each in github.comments if "promptopt" in each["body"]] == [
        "<!-- pytest-promptopt -->\nnew"
    ]
    assert len(github.asked) == (3 if largest_page == 100 else 6)


def test_a_comment_of_somebody_else_with_the_marker_is_left_alone(
    script: ModuleType, github: GitHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    github.has("<!-- pytest-promptopt -->\nI am not the bot", author="mallory")
    assert comment(script, monkeypatch, "ours") == 0
    assert [each["body"].partition("\n")[2] for each in github.comments] == ["I am not the bot", "ours"]
    monkeypatch.setenv("COMMENT_AUTHOR", "our-app[bot]")
    github.has("<!-- pytest-promptopt -->\nby our app", author="our-app[bot]")
    assert comment(script, monkeypatch, "again") == 0
    assert [each["user"]["login"] for each in github.comments if "again" in each["body"]] == ["our-app[bot]"]


@pytest.mark.parametrize(
    "text", ["ä" * 70_000, "a line\n\n" * 9_000, "x" * MAX_COMMENT, "x" * (MAX_COMMENT - 1)]
)
def test_a_long_report_is_cut_to_what_github_takes(
    script: ModuleType, github: GitHub, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("COMMIT", "0123456789abcdef")
    assert comment(script, monkeypatch, text) == 0
    (made,) = github.comments
    assert MAX_COMMENT - 100 < len(made["body"]) <= MAX_COMMENT
    assert made["body"].endswith("has a largest size.**\n\n<sub>Commit 0123456789ab.</sub>")


def test_what_just_fits_is_whole(script: ModuleType, github: GitHub, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "x" * (MAX_COMMENT - len(script.MARKER) - 1)
    assert comment(script, monkeypatch, text) == 0
    assert github.comments[0]["body"] == f"{script.MARKER}\n{text}"


@pytest.mark.parametrize(
    ("method", "statuses", "said"),
    [
        ("POST", [422], "GitHub said 422: Validation Failed: "),
        ("POST", [403], "GitHub said 403: Resource not accessible by integration"),
        ("GET", [401], "GitHub said 401: "),
        ("GET", [500, 502], "GitHub said 502: Oops: "),
        ("POST", [503, 422], "GitHub said 422: Validation Failed: "),
    ],
)
def test_what_github_refuses_is_a_warning_and_no_verdict(
    script: ModuleType,
    github: GitHub,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    method: str,
    statuses: list[int],
    said: str,
) -> None:
    github.failing[method] = list(statuses)
    assert comment(script, monkeypatch, "text") == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"::warning title=Prompts::the comment was not written: {said}")
    assert "100%25 wrong" in line, "what GitHub says is told, and can be no command"
    assert ("may only read" in line) == (statuses[-1] in (401, 403))
    assert not github.failing[method], "one more try at most, and only where it may help"
    assert github.comments == []


@pytest.mark.parametrize("late", [False, True], ids=["not carried out", "carried out"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_after_a_fault_of_github_it_is_tried_once_more_and_stays_one_comment(
    script: ModuleType, github: GitHub, monkeypatch: pytest.MonkeyPatch, method: str, late: bool
) -> None:
    github.failing[method], github.late = [500], late
    assert comment(script, monkeypatch, "text") == 0
    assert [each["body"] for each in github.comments] == ["<!-- pytest-promptopt -->\ntext"]


def test_without_a_server_or_a_report_the_job_goes_on(
    script: ModuleType, github: GitHub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["prompt_comment.py", "missing.md"])
    assert script.main() == 0
    assert "::warning title=Prompts::there is no report to show: " in capsys.readouterr().out
    github.failing["GET"] = [422]
    monkeypatch.setattr(github, "answer", lambda *_: (200, "no list", ""))
    assert comment(script, monkeypatch, "text") == 0
    assert "was not written" in capsys.readouterr().out


def test_a_missing_variable_is_named(
    script: ModuleType, github: GitHub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PULL_REQUEST", "../1")
    monkeypatch.setenv("GITHUB_TOKEN", "")
    assert comment(script, monkeypatch, "text") == 2
    assert "missing variables: GITHUB_TOKEN, PULL_REQUEST (a number)" in capsys.readouterr().out
    assert github.asked == []


def test_the_workflow_runs_the_script_with_its_variables() -> None:
    (step,) = [step for step in steps(GATE, "comment") if "run" in step]
    assert step["run"] == "python3 .github/prompt_comment.py prompts.md"
    assert {*step["env"]} == {"GITHUB_TOKEN", "PULL_REQUEST", "COMMIT"}
    assert "prompts.md" in uploads(GATE, "gate")
    assert BOT in (RECIPES / ".github/prompt_comment.py").read_text(encoding="utf-8")
