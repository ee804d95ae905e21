"""The public conformance vectors of ``.prompty`` files, read by our source.

    python -m tests.benchmarks.prompty_vectors PATH

`PATH` is a checkout of github.com/microsoft/prompty, whose licence is MIT; nothing of it is kept here. Says
which vectors hold, which do not, and why the others say nothing of what a prompt file is to us.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from pytest_promptopt.errors import PromptoptError
from pytest_promptopt.prompts import PromptFile
from pytest_promptopt.prompts.sources.prompty_roles import split_prompty
from pytest_promptopt.records import Message

VECTORS = "schema/tsp-output/.typra-generated/vectors.json"
FIXTURES = "spec/fixtures"

UNREAD = "a reference to the environment or to a file is never resolved: it may lead to a secret"
VARIABLES_ONLY = "of Mustache only variables are rendered"

#: Vectors that say nothing of what a prompt file is to us, by name, with the reason.
NOT_APPLICABLE = {
    "env_default": UNREAD,
    "env_missing_error": UNREAD,
    "env_resolution": UNREAD,
    "file_reference_in_tree_allowed": UNREAD,
    "file_reference_traversal_rejected": UNREAD,
    "file_resolution": UNREAD,
    "mustache_section": VARIABLES_ONLY,
    "mustache_inverted": VARIABLES_ONLY,
    "mustache_loop": VARIABLES_ONLY,
}
#: The same for whole stages.
NOT_STAGES = {
    "render_segments": "turns are cut before they are rendered, so that no value can open one",
    **dict.fromkeys(
        ("agent", "discovery", "enrichment", "process", "processStream", "replay", "turn", "wire"),
        "about calling models, not about prompt files",
    ),
}


def main(checkout: Path) -> int:
    vectors = json.loads((checkout / VECTORS).read_text(encoding="utf-8"))["vectors"]
    failed = 0
    counts: dict[str, int] = {}
    reasons: dict[str, list[str]] = {}
    for vector in (each["vector"] for each in vectors):
        name, stage = vector["name"], vector["stage"]
        if reason := NOT_APPLICABLE.get(name) or NOT_STAGES.get(stage):
            reasons.setdefault(reason, []).append(f"{stage}/{name}")
            continue
        with tempfile.TemporaryDirectory() as folder:
            problems = list(_CHECKS[stage](vector, Path(folder), checkout))
        failed += bool(problems)
        counts[stage] = counts.get(stage, 0) + (not problems)
        for problem in problems:
            print(f"FAILED {stage}/{name}: {problem}")
    for reason, names in reasons.items():
        print(f"not applicable: {len(names)}, {reason}: {', '.join(names)[:300]}")
    print(
        f"hold: {', '.join(f'{count} of stage {stage}' for stage, count in counts.items())}; {failed} do not"
    )
    return bool(failed)


def _prompty(folder: Path, front: Mapping[str, Any], body: str) -> PromptFile:
    path = folder / "vector.prompty"
    matter = yaml.safe_dump(dict(front), allow_unicode=True, sort_keys=False) if front else ""
    path.write_text(f"---\n{matter}---\n{body}", encoding="utf-8")
    return PromptFile.load(path, rootdir=folder)


def _render(vector: Mapping[str, Any], folder: Path, checkout: Path) -> Iterator[str]:
    given, expected = vector["input"], vector["expected"]
    threads = {name: value for name, value in given["inputs"].items() if _is_thread(value)}
    front: dict[str, Any] = {"template": {"format": {"kind": given["engine"]}}}
    front |= {"inputs": [{"name": name, "kind": "thread"} for name in threads]}
    values = given["inputs"] | {name: value["messages"] for name, value in threads.items()}
    # A text alone is for the system; whoever asks says something besides.
    rest = [] if "user:" in given["template"] else [Message("user", "...")]
    found = _prompty(folder, front, given["template"]).render(values, messages=rest)
    found = found[: len(found) - len(rest)]
    if "nonce_pattern" in expected:  # what stands for the conversation is ours; where it stands is compared
        said = ["You are helpful.", "previous question", "previous answer", "Hi"]
        wanted = [Message(*each) for each in zip(("system", "user", "assistant", "user"), said, strict=True)]
    else:
        turns = split_prompty(expected["rendered"], 1)
        wanted = [Message(turn.role or "system", turn.source) for turn in turns]
    if list(found) != wanted:
        yield f"{found} instead of {wanted}"


def _parse(vector: Mapping[str, Any], folder: Path, checkout: Path) -> Iterator[str]:
    given, wanted = vector["input"], vector["expected"]["messages"]
    if "thread_inputs" in given:
        yield from _thread(vector, folder)
        return
    found = [
        {"role": turn.role, "content": [{"kind": "text", "value": turn.source}]}
        | ({"metadata": dict(turn.attributes)} if turn.attributes else {})
        for turn in split_prompty(given["rendered"], 1)
    ]
    if found != wanted:
        yield f"{found} instead of {wanted}"
    _prompty(folder, {}, given["rendered"])


def _thread(vector: Mapping[str, Any], folder: Path) -> Iterator[str]:
    """The mark of a conversation is put there by the renderer: here a variable of that kind is."""
    import re

    given = vector["input"]
    body = re.sub(r"__PROMPTY_THREAD_[0-9a-f]+_(\w+?)__", r"{{\1}}", given["rendered"])
    names = [{"name": name, "kind": "thread"} for name in given["thread_inputs"]]
    values = {
        name: [{"role": turn["role"], "content": turn["content"][0]["value"]} for turn in turns]
        for name, turns in given["thread_inputs"].items()
    }
    found = _prompty(folder, {"inputs": names}, body).render(values)
    wanted = [(turn["role"], turn["content"][0]["value"]) for turn in vector["expected"]["messages"]]
    if [(turn.role, turn.content) for turn in found] != wanted:
        yield f"{found} instead of {wanted}"


def _load(vector: Mapping[str, Any], folder: Path, checkout: Path) -> Iterator[str]:
    given, expected = vector["input"], vector["expected"]
    try:
        file = _loaded(given, folder, checkout)
        if "inputs" in given:
            file.render(given["inputs"], messages=[Message("user", "...")])
    except PromptoptError as error:
        if "error" not in expected:
            yield f"refused: {error}"
        return
    if "error" in expected:
        yield f"accepted, though {expected['error']!r} is expected"
        return
    front = file.front
    model = expected.get("model") or {}
    options = model.get("options") or {}
    compared: dict[str, tuple[Any, Any]] = {
        "instructions": (file.prose, expected.get("instructions", file.prose)),
        "description": (front.description, expected.get("description", front.description)),
    }
    if "options" in model:
        compared["max tokens"] = (front.max_tokens, options.get("maxOutputTokens"))
        compared["temperature"] = (front.parameters.get("temperature"), options.get("temperature"))
    if model.get("provider"):
        compared["model"] = (front.model, f"{model['provider']}/{model['id']}")
    for entry in expected.get("inputs") or ():
        compared[entry["name"]] = (file._text.inputs[entry["name"]].default, entry.get("default"))
    for what, (found, wanted) in compared.items():
        if found != wanted:
            yield f"{what}: {found!r} instead of {wanted!r}"
    if "secret" in repr(file.front) or "sk-test" in repr(file.front):
        yield "a secret was read"


def _loaded(given: Mapping[str, Any], folder: Path, checkout: Path) -> PromptFile:
    if "fixture" in given:
        root = checkout / FIXTURES
        return PromptFile.load(root / given["fixture"], rootdir=root)
    if "frontmatter_raw" in given:
        path = folder / "raw.prompty"
        path.write_text(given["frontmatter_raw"], encoding="utf-8")
        return PromptFile.load(path, rootdir=folder)
    return _prompty(folder, given["frontmatter"], "Hello\n")


def _is_thread(value: object) -> bool:
    return isinstance(value, dict) and value.get("_kind") == "thread"


_CHECKS = {"render": _render, "parse": _parse, "load": _load}

if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
