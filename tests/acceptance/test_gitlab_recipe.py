"""The recipe for GitLab: one note on a merge request, and a nightly run that ends in one merge request."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from .doc_pages import ROOT
from .gitlab_standin import BOT, TOKEN, GitLab
from .loaded_script import load_script
from .projects import git
from .story import Story, add_a_case_that_stays_wrong, example

RECIPES = ROOT / "examples/ci_workflow"
JOBS: dict[str, Any] = yaml.safe_load((RECIPES / ".gitlab-ci.yml").read_text(encoding="utf-8"))
MARKER = "<!-- pytest-promptopt -->"


@pytest.fixture
def script() -> ModuleType:
    module = load_script(RECIPES / ".gitlab/merge_request.py")
    module.PAUSE = 0  # type: ignore[attr-defined]
    return module


@pytest.fixture
def gitlab(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[GitLab]:
    """An empty merge request, and the variables of a job on it."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with GitLab() as standin:
        variables = {
            "CI_API_V4_URL": standin.url,
            "CI_PROJECT_ID": "42",
            "CI_PROJECT_URL": "https://gitlab.example/shop/support",
            "CI_MERGE_REQUEST_IID": "7",
            "CI_MERGE_REQUEST_SOURCE_BRANCH_SHA": "",
            "CI_COMMIT_SHA": "0123456789abcdef",
            "CI_DEFAULT_BRANCH": "main",
            "BRANCH": "promptopt/nightly",
            "PROMPTS_TOKEN": TOKEN,
        }
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(tmp_path)
        yield standin


def show(script: ModuleType, monkeypatch: pytest.MonkeyPatch, command: str, text: str) -> int:
    Path("text.md").write_text(text, encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["merge_request.py", command, "text.md"])
    status: int = script.main()
    return status


def note(text: str) -> str:
    return f"{MARKER}\n{text}\n\n<sub>Commit 0123456789ab.</sub>"


class TestNote:
    def test_it_is_created_once_and_updated_in_place(
        self,
        script: ModuleType,
        gitlab: GitLab,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        gitlab.has("Looks good.", f"{MARKER}\nI am not the bot")
        gitlab.has("of a user who is gone", author=0)
        for text in ("## first\n", "## second ❌\n"):
            assert show(script, monkeypatch, "note", text) == 0
        assert [each["body"] for each in gitlab.notes][3:] == [note("## second ❌")]
        link = "https://gitlab.example/shop/support/-/merge_requests/7#note_1003"
        assert capsys.readouterr().out.splitlines() == [f"created {link}", f"updated {link}"]

    def test_it_is_found_behind_many_others(
        self, script: ModuleType, gitlab: GitLab, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        gitlab.has(*(f"talk {number}" for number in range(230)))
        gitlab.has(note("old"), author=BOT)
        gitlab.has("more talk")
        assert show(script, monkeypatch, "note", "new") == 0
        assert [each["body"] for each in gitlab.notes if MARKER in each["body"]] == [note("new")]

    def test_it_names_the_commit_of_the_branch_where_gitlab_has_tested_a_merge(
        self, script: ModuleType, gitlab: GitLab, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CI_MERGE_REQUEST_SOURCE_BRANCH_SHA", "fedcba9876543210")
        assert show(script, monkeypatch, "note", "text") == 0
        assert gitlab.notes[0]["body"].endswith("<sub>Commit fedcba987654.</sub>")

    def test_no_line_of_it_is_a_quick_action(
        self, script: ModuleType, gitlab: GitLab, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        text = "/close\n\n  /merge\n```\n/approve\n```\n* /label ~bug and a/b"
        assert show(script, monkeypatch, "note", text) == 0
        assert gitlab.actions == []
        kept = "\\/close\n\n  \\/merge\n```\n\\/approve\n```\n* /label ~bug and a/b"
        assert gitlab.notes[0]["body"] == note(kept)

    def test_without_a_report_it_says_so(
        self,
        script: ModuleType,
        gitlab: GitLab,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setattr(sys, "argv", ["merge_request.py", "note", "missing.md"])
        assert script.main() == 1
        assert capsys.readouterr().out.startswith("there is nothing to show: ")
        assert gitlab.asked == []


class TestMergeRequest:
    TEXT = "Improve prompts/route.md: held-out 24.4% -> 86.7%\n\nThe evidence.\n\n/close\n"

    def test_it_is_opened_once_and_updated_in_place(
        self,
        script: ModuleType,
        gitlab: GitLab,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        gitlab.has_opened("promptopt/nightly", project=77)  # of a fork
        gitlab.has_opened("feature")
        for text in ("An older title\n\nold", self.TEXT):
            assert show(script, monkeypatch, "open", text) == 0
        fork, feature, own = gitlab.merge_requests
        assert (fork["title"], feature["title"]) == ("old", "old")
        assert (own["source_branch"], own["target_branch"]) == ("promptopt/nightly", "main")
        assert own["title"] == "Improve prompts/route.md: held-out 24.4% -> 86.7%"
        assert own["description"] == "The evidence.\n\n\\/close"
        assert own["remove_source_branch"] is True
        told = capsys.readouterr().out.splitlines()
        assert told == [f"opened {own['web_url']}", f"updated {own['web_url']}"]

    def test_a_long_title_is_cut(
        self, script: ModuleType, gitlab: GitLab, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert show(script, monkeypatch, "open", f"{'ä' * 300}\n\ntext") == 0
        assert gitlab.merge_requests[0]["title"] == "ä" * 255

    def test_where_somebody_was_faster_theirs_is_updated(
        self, script: ModuleType, gitlab: GitLab, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        gitlab.failing["POST"], gitlab.late = [409], True
        assert show(script, monkeypatch, "open", self.TEXT) == 0
        assert [each["title"] for each in gitlab.merge_requests] == [self.TEXT.partition("\n")[0]]


@pytest.mark.parametrize(
    ("command", "method", "statuses", "said"),
    [
        ("note", "POST", [400], 'GitLab said 400: {"note": ["can\'t be blank"]}'),
        ("note", "GET", [401], "GitLab said 401: 401 Unauthorized (PROMPTS_TOKEN has to be *"),
        (
            "note",
            "POST",
            [403],
            "GitLab said 403: insufficient_scope: The request requires higher * (PROMPTS*",
        ),
        ("open", "GET", [404], "GitLab said 404: 404 Project Not Found (PROMPTS_TOKEN *"),
        ("open", "POST", [409, 409], "GitLab said 409: *Another open merge request already exists *!5*"),
        ("note", "POST", [422], "GitLab said 422: 422 Unprocessable [[]31m Entity "),
        ("note", "GET", [429, 429], "GitLab said 429: Retry later "),
        ("open", "GET", [500, 502], "GitLab said 502: 500 Internal Server Error"),
        ("open", "POST", [503, 403], "GitLab said 403: *"),
    ],
)
def test_what_gitlab_refuses_is_one_line_and_exit_status_1(
    script: ModuleType,
    gitlab: GitLab,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    method: str,
    statuses: list[int],
    said: str,
) -> None:
    gitlab.failing[method] = list(statuses)
    assert show(script, monkeypatch, command, "title\n\ntext") == 1
    told = capsys.readouterr().out
    what = "note" if command == "note" else "merge request"
    pytest.LineMatcher(told.splitlines()).fnmatch_lines([f"the {what} was not written: {said}"])
    assert told.count("\n") == 1
    assert told[:-1].isprintable()
    assert TOKEN not in told
    assert not gitlab.failing[method], "one more try at most, and only where it may help"
    assert not gitlab.notes
    assert not gitlab.merge_requests


@pytest.mark.parametrize("late", [False, True], ids=["not carried out", "carried out"])
@pytest.mark.parametrize(("command", "method"), [("note", "GET"), ("note", "POST"), ("open", "POST")])
@pytest.mark.parametrize("status", [500, 429])
def test_after_a_fault_it_is_tried_once_more_and_stays_one(
    script: ModuleType,
    gitlab: GitLab,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    method: str,
    status: int,
    late: bool,
) -> None:
    gitlab.failing[method], gitlab.late = [status], late
    assert show(script, monkeypatch, command, "title\n\ntext") == 0
    assert len(gitlab.notes) + len(gitlab.merge_requests) == 1


def test_an_answer_that_nobody_can_read_or_none_at_all_is_said(
    script: ModuleType,
    gitlab: GitLab,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(gitlab, "answer", lambda *_: (200, "<html>", ""))
    assert show(script, monkeypatch, "note", "text") == 1
    monkeypatch.setenv("CI_API_V4_URL", "http://127.0.0.1:9/api/v4")
    assert show(script, monkeypatch, "open", "text") == 1
    said = capsys.readouterr().out.splitlines()
    assert [line.partition(": ")[2].partition(":")[0] for line in said] == [
        "no answer of GitLab that can be read"
    ] * 2


@pytest.mark.parametrize(
    ("command", "missing", "said"),
    [
        ("note", "PROMPTS_TOKEN", "missing variables: PROMPTS_TOKEN"),
        ("note", "CI_MERGE_REQUEST_IID", "missing variables: CI_MERGE_REQUEST_IID"),
        ("open", "BRANCH", "missing variables: BRANCH"),
        ("close", "", "usage: merge_request.py note|open FILE.md; missing variables: none"),
    ],
)
def test_a_missing_variable_is_named(
    script: ModuleType,
    gitlab: GitLab,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    missing: str,
    said: str,
) -> None:
    if missing:
        monkeypatch.setenv(missing, "")
    assert show(script, monkeypatch, command, "text") == 2
    assert said in capsys.readouterr().out
    assert gitlab.asked == []


def test_only_jobs_that_run_no_test_get_the_token() -> None:
    writing = {
        name
        for name, job in JOBS.items()
        if job.get("environment") == {"name": "prompts", "action": "access"}
    }
    assert writing == {"prompts-note", "open-merge-request"}
    for name in writing:
        text = "\n".join(JOBS[name]["script"])
        assert "pytest " not in text
        assert "pip install" not in text
        assert "extends" not in JOBS[name]
    assert JOBS["prompts-note"]["allow_failure"] is True, "a note is no verdict"


def test_a_job_gets_the_files_of_the_one_that_it_needs() -> None:
    for name, needed, files in (
        ("prompts-note", "prompts-of-merge-request", {"prompts.md"}),
        ("open-merge-request", "optimize-prompts", {"merge-request.md", "prompts.patch"}),
    ):
        assert JOBS[name]["needs"] == [needed]
        assert files <= set(JOBS[needed]["artifacts"]["paths"])
        assert JOBS[name]["rules"][0]["if"] == JOBS[needed]["rules"][0]["if"]
        assert all(file in " ".join([*JOBS[name]["script"], *JOBS[needed]["script"]]) for file in files)


@pytest.mark.skipif(sys.platform == "win32", reason="the recipe runs in a shell of Linux")
def test_a_night_ends_in_one_merge_request(
    story: Story, gitlab: GitLab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Optimize, keep text and patch, push a branch, open a merge request; the next night updates both."""
    shop = story.path
    monkeypatch.chdir(shop)
    example("async_calls", shop)
    add_a_case_that_stays_wrong(shop)
    git(shop, "init", "--quiet", "--initial-branch=main")
    git(shop, "add", "--all")
    git(shop, "commit", "--quiet", "--message=first")
    script = JOBS["optimize-prompts"]["script"]
    assert story.run(script[1].partition(" || ")[0]) == 1, "some cases still fail"
    assert script[2] == "git diff --binary > prompts.patch"
    patch = subprocess.run(["git", "diff", "--binary"], cwd=shop, check=True, capture_output=True).stdout

    git(tmp_path, "clone", "--quiet", "--bare", str(shop), str(tmp_path / "remote.git"))
    (open_it,) = JOBS["open-merge-request"]["script"]
    for night in ("first", "second"):
        checkout = tmp_path / night
        git(tmp_path, "clone", "--quiet", str(tmp_path / "remote.git"), str(checkout))
        (checkout / "prompts.patch").write_bytes(patch)
        (checkout / "merge-request.md").write_bytes((shop / "merge-request.md").read_bytes())
        (checkout / ".gitlab").symlink_to(RECIPES / ".gitlab")
        variables = {
            **JOBS["open-merge-request"]["variables"],
            "CI_PROJECT_URL": str(tmp_path / "remote"),
            "CI_SERVER_HOST": "gitlab.example",
        }
        ran = subprocess.run(
            ["sh", "-c", open_it],
            cwd=checkout,
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
        )
        assert (ran.returncode, ran.stderr) == (0, "")
    remote = tmp_path / "remote.git"
    assert git(remote, "diff", "--name-only", "main", "promptopt/nightly") == "prompts/route.md\n"
    assert git(remote, "rev-list", "--count", "main..promptopt/nightly") == "1\n"
    (opened,) = gitlab.merge_requests
    assert re.fullmatch(r"Improve prompts/route\.md: held-out [\d.]+% -> [\d.]+%", opened["title"])
    assert opened["description"].startswith("`pytest --optimize` has rewritten 1 prompt.")
    assert gitlab.actions == []

    (checkout / "merge-request.md").write_bytes(b"")
    git(checkout, "switch", "--quiet", "main")
    subprocess.run(["sh", "-c", open_it], cwd=checkout, check=True)
    assert len(gitlab.asked) == 4, "without a prompt that was written nothing is pushed and nobody asked"
