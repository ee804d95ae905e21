"""Shows a Markdown report as one comment on a pull request, and updates that comment from then on.

    python3 .github/prompt_comment.py prompts.md

It needs Python 3.9 or newer and nothing else. It reads these variables:

    GITHUB_TOKEN       may write pull requests
    GITHUB_REPOSITORY  owner/name; GitHub Actions sets it, and GITHUB_API_URL
    PULL_REQUEST       the number of the pull request
    COMMIT             the commit that was tested, if it is to be named
    COMMENT_AUTHOR     who comments, if it is not github-actions[bot]

A comment is no verdict: what GitHub refuses is a warning in the log, and the exit status stays 0. It is 2
where a variable is missing.
"""

import http.client
import json
import os
import sys
import time
import urllib.error
import urllib.request

#: Nobody sees it; the comment that begins with it is ours.
MARKER = "<!-- pytest-promptopt -->"

#: Characters of a comment that GitHub takes at most.
MAX_COMMENT = 65_536

CUT = "\n\n**The rest of the report was left out here: a comment has a largest size.**"

#: Seconds before the second and last try, and of one request at most.
PAUSE = 3
TIMEOUT = 30

#: What a token that may not comment has in common with a pull request.
READ_ONLY = (
    "the token of a pull request from a fork, and of Dependabot, may only read; else the job needs "
    "`permissions: pull-requests: write`"
)


def main() -> int:
    missing = [name for name in ("GITHUB_TOKEN", "GITHUB_REPOSITORY") if not os.environ.get(name)]
    missing += ["PULL_REQUEST (a number)"] * (not os.environ.get("PULL_REQUEST", "").isdecimal())
    if missing or len(sys.argv) != 2:
        print(f"usage: prompt_comment.py REPORT.md; missing variables: {', '.join(missing) or 'none'}")
        return 2
    try:
        with open(sys.argv[1], encoding="utf-8", errors="replace") as stream:
            body = comment(stream.read(), os.environ.get("COMMIT", ""))
    except OSError as error:
        warn(f"there is no report to show: {error}")
        return 0
    for pause in (PAUSE, None):
        try:
            print(place(body))
            return 0
        except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError) as error:
            why, again = explain(error)
        if pause is None or not again:
            break
        # The first try may have left a comment all the same: `place` looks for it again.
        time.sleep(pause)
    warn(f"the comment was not written: {why}")
    return 0


def comment(text: str, commit: str) -> str:
    """The comment: a marker, the report as far as there is room, and the commit."""
    head, tail = f"{MARKER}\n", f"\n\n<sub>Commit {commit[:12]}.</sub>" if commit else ""
    room = MAX_COMMENT - len(head) - len(tail)
    text = text.rstrip()
    if len(text) > room:
        kept = text[: room - len(CUT)]
        # At the end of a paragraph: a table or a block of code that is cut would swallow the rest.
        text = (kept.rpartition("\n\n")[0] or kept) + CUT
    return head + text + tail


def place(body: str) -> str:
    """Update our comment, or create it. Returns what was done."""
    number = find()
    if number is not None:
        done, _ = request("PATCH", f"issues/comments/{number}", {"body": body})
        return f"updated {done['html_url']}"
    done, _ = request("POST", f"issues/{os.environ['PULL_REQUEST']}/comments", {"body": body})
    return f"created {done['html_url']}"


def find() -> "int | None":
    """The number of our comment; None when there is none. A comment of somebody else is never ours."""
    author = os.environ.get("COMMENT_AUTHOR") or "github-actions[bot]"
    page, more = 1, True
    while more:
        path = f"issues/{os.environ['PULL_REQUEST']}/comments?per_page=100&page={page}"
        comments, links = request("GET", path)
        for each in comments:
            if (each["user"] or {}).get("login") == author and (each["body"] or "").startswith(MARKER):
                return each["id"]
        page, more = page + 1, 'rel="next"' in links
    return None


def request(method: str, path: str, data: "dict[str, str] | None" = None):
    """What GitHub answers, and its header Link."""
    base = os.environ.get("GITHUB_API_URL") or "https://api.github.com"
    sent = urllib.request.Request(
        f"{base}/repos/{os.environ['GITHUB_REPOSITORY']}/{path}",
        None if data is None else json.dumps(data).encode(),
        {
            "Accept": "application/vnd.github+json",
            "Authorization": f"Bearer {os.environ['GITHUB_TOKEN']}",
            "Content-Type": "application/json",
            "X-GitHub-Api-Version": "2022-11-28",
        },
        method=method,
    )
    with urllib.request.urlopen(sent, timeout=TIMEOUT) as answer:
        return json.loads(answer.read()), answer.headers.get("Link") or ""


def explain(error: Exception) -> "tuple[str, bool]":
    """What went wrong, and whether a second try may help."""
    if not isinstance(error, urllib.error.HTTPError):
        return f"no answer of GitHub that can be read: {error}", True
    with error:
        said = error.read().decode("utf-8", "replace")
    try:
        told = json.loads(said)
        details = [each if isinstance(each, str) else json.dumps(each) for each in told.get("errors") or []]
        said = ": ".join([told["message"], *details])
    except (ValueError, KeyError, AttributeError, TypeError):
        said = said[:300] or error.reason
    hint = f" ({READ_ONLY})" if error.code in (401, 403, 404) else ""
    return f"GitHub said {error.code}: {said}{hint}", error.code >= 500


def warn(text: str) -> None:
    """A line that GitHub Actions shows as a warning of the job."""
    text = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    print(f"::warning title=Prompts::{text}")


if __name__ == "__main__":
    sys.exit(main())
