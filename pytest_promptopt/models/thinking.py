"""Some open models write their thinking into the text of their answer; the answer begins after it.

A model behind Ollama, vLLM or LM Studio writes ``<think>...</think>`` and then its answer. When the opening
tag is part of the template that the server puts around a chat, only ``...</think>`` arrives; when the tokens
run out while it thinks, only ``<think>...``. A server that does not know gpt-oss passes its channels on.
"""

from __future__ import annotations

import re

#: What opens and what closes the thinking.
_TAGS = {
    "<think>": "</think>",
    "<thinking>": "</thinking>",
    "<thought>": "</thought>",
    "<seed:think>": "</seed:think>",
    "[THINK]": "[/THINK]",
    "◁think▷": "◁/think▷",
}
_OPENED_BY = {closing: opening for opening, closing in _TAGS.items()}
_OPENING = re.compile(rf"\s*({'|'.join(map(re.escape, _TAGS))})")
#: Not in quotes: such an answer writes about the tag.
_ORPHAN = re.compile(rf"(?<![`'\"])({'|'.join(map(re.escape, _OPENED_BY))})(?![`'\"])")

_IN_CHANNELS = re.compile(r"\s*(?:<\|start\|>\w+)?<\|channel\|>")
_CHANNEL = re.compile(
    r"<\|channel\|>\s*(\w+).*?<\|message\|>(.*?)(?:<\|(?:end|return|call)\|>|\Z)", re.DOTALL
)
_SPEAKER = re.compile(r"<\|start\|>\w+")
#: The channel of the answer.
_FINAL = "final"


def without_thinking(text: str, *, taken_off: bool = False) -> tuple[str, str]:
    """The answer in `text`, and what was thought before it; both as written when nothing was.

    :param taken_off: somebody has cut the thinking off already, and may have left the blank lines after it.
    """
    thought: list[str] = []
    if channels := _CHANNEL.findall(text) if _IN_CHANNELS.match(text) else []:
        thought = [said for name, said in channels if name != _FINAL]
        said = "".join(said for name, said in channels if name == _FINAL)
        text = said or _SPEAKER.sub("", _CHANNEL.sub("", text))
    while opening := _OPENING.match(text):
        inside, _, text = text[opening.end() :].partition(_TAGS[opening[1]])
        thought.append(inside)
    orphan = None if thought else _ORPHAN.search(text)
    if orphan is not None and _OPENED_BY[orphan[1]] not in text[: orphan.start()]:
        thought.append(text[: orphan.start()])
        text = text[orphan.end() :]
    if thought or taken_off:
        text = text.lstrip()
    return text, "\n".join(part.strip() for part in thought)
