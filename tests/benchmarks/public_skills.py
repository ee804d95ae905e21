"""Skills that other people have written: each is read, and a rewrite leaves every byte around it as it was.

    python -m tests.benchmarks.public_skills PATH

`PATH` is a folder with ``SKILL.md`` and ``AGENTS.md`` files anywhere in it, such as a checkout of
github.com/anthropics/skills. Nothing is written.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from pytest_promptopt.errors import PromptoptError
from pytest_promptopt.prompts import PromptFile
from pytest_promptopt.prompts.sources.text_files import is_agent_file

#: What is put before and after the text that is there: nothing of it may reach the bytes around.
MORE = 'Say "yes": {it} is {{ said }}. # 100 %\n\n- one\n'


def main(folder: Path) -> int:
    paths = sorted(path for path in folder.rglob("*.md") if is_agent_file(path.name))
    failed = 0
    for path in paths:
        said = [*_problems(path, folder, ""), *_problems(path, folder, "::description")]
        failed += bool(said)
        for each in said:
            print(f"FAILED {path.relative_to(folder)}: {each}")
    print(f"{len(paths)} files, {failed} with a problem")
    return bool(failed or not paths)


def _problems(path: Path, folder: Path, inner: str) -> Iterator[str]:
    data = path.read_bytes()
    if inner and not (data.startswith(b"---") and b"\ndescription:" in data):
        return
    try:
        file = PromptFile.load(f"{path}{inner}", rootdir=folder)
        if file.content() != data:
            yield f"{inner} as it was read it is not what is in the file"
        text = f"{MORE}{file.prose}\n{MORE.rstrip()}"
        rewritten = file.with_prose(text).content()
    except PromptoptError as error:
        yield str(error)
        return
    again = file.read_again(before=rewritten)
    if again.prose != text:
        yield f"{inner} another text was read than was written"
    if inner:
        body = PromptFile.load(path, rootdir=folder)
        if body.read_again(before=rewritten).prose != body.prose:
            yield f"{inner} the body has changed"
        if _without_description(data) != _without_description(rewritten):
            yield f"{inner} something else has changed in the front matter"
    elif not (rewritten.startswith(data[: data.index(file.prose.encode()[:40])])):
        yield "something above the text has changed"
    elif data[len(data.rstrip()) :] != rewritten[len(rewritten.rstrip()) :]:
        yield "the end of the file has changed"


def _without_description(data: bytes) -> list[bytes]:
    """The lines of a file that neither begin its description nor are indented below it."""
    kept, inside = [], False
    for line in data.splitlines(keepends=True):
        inside = line.startswith(b"description:") or (inside and (line[:1] in b" \t\r\n"))
        kept += [] if inside else [line]
    return kept


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
