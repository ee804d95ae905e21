"""Shows a Markdown report as one note on a merge request, or opens the merge request of a nightly run.

    python3 .gitlab/merge_request.py note prompts.md
    python3 .gitlab/merge_request.py open merge-request.md

Either is updated in place from then on. The first line of the file for `open` is the title; the text begins
in its third line. It needs Python 3.9 or newer and nothing else. Besides GitLab's own variables it reads:

    PROMPTS_TOKEN  a project access token with the scope api and the role Developer
    BRANCH         the branch to merge, for `open`

The exit status is 0 when it is done, 1 when GitLab does not take it, and 2 where a variable is missing.
"""

import http.client
import json
import os
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

#: Nobody sees it; the note that begins with it is ours.
MARKER = "<!-- pytest-promptopt -->"

#: Characters of a title that GitLab takes at most.
MAX_TITLE = 255

#: Seconds before the second and last try, and of one request at most.
PAUSE = 3
TIMEOUT = 30

#: Statuses after which a second try may help, besides faults of the server: somebody was faster, too many.
AGAIN = (409, 429)

VARIABLES = {
    "note": ("CI_MERGE_REQUEST_IID",),
    "open": ("BRANCH", "CI_DEFAULT_BRANCH"),
}
ALWAYS = ("PROMPTS_TOKEN", "CI_API_V4_URL", "CI_PROJECT_ID", "CI_PROJECT_URL")

HINT = "PROMPTS_TOKEN has to be a project access token with the scope api and the role Developer"


def main() -> int:
    command = sys.argv[1] if len(sys.argv) == 3 else ""
    missing = [name for name in (*ALWAYS, *VARIABLES.get(command, ())) if not os.environ.get(name)]
    if missing or command not in VARIABLES:
        print(f"usage: merge_request.py note|open FILE.md; missing variables: {', '.join(missing) or 'none'}")
        return 2
    try:
        with open(sys.argv[2], encoding="utf-8", errors="replace") as stream:
            text = stream.read()
    except OSError as error:
        print(f"there is nothing to show: {error}")
        return 1
    why = ""
    for pause in (PAUSE, None):
        try:
            print(place_note(text) if command == "note" else place_merge_request(text))
            return 0
        except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError) as error:
            why, again = explain(error)
        if pause is None or not again:
            break
        # The first try may have been carried out all the same, so what is there is looked for again.
        time.sleep(pause)
    print(f"the {'note' if command == 'note' else 'merge request'} was not written: {why}")
    return 1


def harmless(text: str) -> str:
    """`text` without quick actions: by a line that begins with ``/close`` GitLab closes a merge request."""
    return re.sub(r"^([ \t]*)/", r"\1\\/", text, flags=re.MULTILINE)


def place_note(text: str) -> str:
    """Update our note, or create it. Returns what was done."""
    merge_request = os.environ["CI_MERGE_REQUEST_IID"]
    commit = os.environ.get("CI_MERGE_REQUEST_SOURCE_BRANCH_SHA") or os.environ.get("CI_COMMIT_SHA", "")
    tail = f"\n\n<sub>Commit {commit[:12]}.</sub>" if commit else ""
    body = {"body": f"{MARKER}\n{harmless(text.rstrip())}{tail}"}
    notes = f"projects/{os.environ['CI_PROJECT_ID']}/merge_requests/{merge_request}/notes"
    number = find_note(notes)
    if number is None:
        done, what = request("POST", notes, body)[0], "created"
    else:
        done, what = request("PUT", f"{notes}/{number}", body)[0], "updated"
    return f"{what} {os.environ['CI_PROJECT_URL']}/-/merge_requests/{merge_request}#note_{done['id']}"


def find_note(notes: str) -> "int | None":
    """The number of our note; None when there is none. A note of somebody else is never ours."""
    own, page = request("GET", "user")[0]["id"], "1"
    while page:
        found, page = request("GET", f"{notes}?per_page=100&page={page}")
        for each in found:
            if (each["author"] or {}).get("id") == own and (each["body"] or "").startswith(MARKER):
                return each["id"]
    return None


def place_merge_request(text: str) -> str:
    """Update the open merge request of the branch, or open one. Returns what was done."""
    title, _, rest = text.partition("\n")
    shown = {"title": title[:MAX_TITLE], "description": harmless(rest.strip())}
    branches = {"source_branch": os.environ["BRANCH"], "target_branch": os.environ["CI_DEFAULT_BRANCH"]}
    project = os.environ["CI_PROJECT_ID"]
    all_of_them = f"projects/{project}/merge_requests"
    query = urllib.parse.urlencode({**branches, "state": "opened", "per_page": "100"})
    # A fork may have a branch of this name: its merge request is not ours.
    own = [
        each
        for each in request("GET", f"{all_of_them}?{query}")[0]
        if str(each["source_project_id"]) == project
    ]
    if own:
        done, what = request("PUT", f"{all_of_them}/{own[0]['iid']}", shown)[0], "updated"
    else:
        done = request("POST", all_of_them, {**branches, **shown, "remove_source_branch": True})[0]
        what = "opened"
    return f"{what} {done['web_url']}"


def request(method: str, path: str, data: "dict[str, object] | None" = None):
    """What GitLab answers, and the number of the next page; empty where there is none."""
    sent = urllib.request.Request(
        f"{os.environ['CI_API_V4_URL']}/{path}",
        None if data is None else json.dumps(data).encode(),
        {"PRIVATE-TOKEN": os.environ["PROMPTS_TOKEN"], "Content-Type": "application/json"},
        method=method,
    )
    with urllib.request.urlopen(sent, timeout=TIMEOUT) as answer:
        return json.loads(answer.read()), answer.headers.get("X-Next-Page") or ""


def explain(error: Exception) -> "tuple[str, bool]":
    """What went wrong, and whether a second try may help."""
    if not isinstance(error, urllib.error.HTTPError):
        return f"no answer of GitLab that can be read: {error}", True
    with error:
        said = error.read().decode("utf-8", "replace")
    try:
        told = json.loads(said)
        told = told.get("message") or ": ".join(filter(None, (told["error"], told.get("error_description"))))
        said = told if isinstance(told, str) else json.dumps(told)
    except (ValueError, KeyError, AttributeError, TypeError):
        said = said or error.reason
    # A line of the log that can steer nothing there.
    said = "".join(each if each.isprintable() else " " for each in said)[:300]
    hint = f" ({HINT})" if error.code in (401, 403, 404) else ""
    return f"GitLab said {error.code}: {said}{hint}", error.code >= 500 or error.code in AGAIN


if __name__ == "__main__":
    sys.exit(main())
