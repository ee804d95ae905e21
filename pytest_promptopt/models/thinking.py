"""Open models think aloud in the text of their answer; the answer begins after that.

A model behind Ollama, vLLM or LM Studio writes ``<think>...</think>`` and then its answer. When the opening
tag is part of the template that the server puts around a chat, only ``...</think>`` arrives; when the tokens
run out while it thinks, only ``<think>...``.
"""

from __future__ import annotations

import re

_OPENING = re.compile(r"\s*(?:<(think|thinking)>|\[THINK\])")

# Not in quotes: such an answer writes about the tag.
_ORPHAN = re.compile(r"(?<![`'\"])</think>(?![`'\"])")


def without_thinking(text: str, *, taken_off: bool = False) -> tuple[str, str]:
    """The answer in `text`, and what was thought before it; both as written when nothing was.

    :param taken_off: somebody has cut the thinking off already, and may have left the blank lines after it.
    """
    thought: list[str] = []
    while opening := _OPENING.match(text):
        closing = f"</{opening[1]}>" if opening[1] else "[/THINK]"
        inside, _, text = text[opening.end() :].partition(closing)
        thought.append(inside)
    if not thought and (orphan := _ORPHAN.search(text)) and "<think>" not in text[: orphan.start()]:
        thought.append(text[: orphan.start()])
        text = text[orphan.end() :]
    if thought or taken_off:
        text = text.lstrip()
    return text, "\n".join(part.strip() for part in thought)
