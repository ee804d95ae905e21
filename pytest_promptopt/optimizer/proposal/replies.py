"""Reads the optimizer's reply strictly: a reply without exactly one clear prompt is invalid."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pytest_promptopt.records import Answer, StopReason
from pytest_promptopt.refusals import is_refusal
from pytest_promptopt.text import without_unseen

_TAG = re.compile(r"<(/?)new_prompt>")
_REASON = re.compile(r"<reason>(.*?)</reason>", re.DOTALL)
_FENCE = re.compile(r"(`{3,}|~{3,})[ \t]*([\w+.-]*)[ \t]*\Z")


@dataclass(frozen=True)
class Reply:
    """A proposed prompt text and the optimizer's own reason (empty when it gave none)."""

    text: str
    reason: str


@dataclass(frozen=True)
class InvalidReply:
    """A reply that holds no prompt, and what was wrong with it, as told to the optimizer."""

    why: str


def parse_reply(answer: Answer) -> Reply | InvalidReply:
    """The prompt in a reply: exactly one non-empty outermost ``<new_prompt>`` block of a complete reply."""
    if answer.stop_reason == StopReason.MAX_TOKENS:
        return InvalidReply("the reply was cut off at the token limit before it was complete")
    if answer.stop_reason == StopReason.REFUSAL:
        return InvalidReply("the model refused to answer")
    blocks = _outermost(answer.text)
    if isinstance(blocks, InvalidReply):
        return blocks
    if len(blocks) != 1:
        return InvalidReply(f"expected exactly one <new_prompt> block, found {len(blocks)}")
    text = _unfenced(answer.text[slice(*blocks[0])].strip("\r\n")).strip("\r\n")
    if not text.strip():
        return InvalidReply("the <new_prompt> block is empty")
    if is_refusal(text):
        return InvalidReply("the <new_prompt> block holds a refusal instead of a prompt")
    reason = _REASON.search(answer.text[: blocks[0][0]]) or _REASON.search(answer.text[blocks[0][1] :])
    return Reply(text, without_unseen(" ".join(reason[1].split())) if reason else "")


def _outermost(text: str) -> list[tuple[int, int]] | InvalidReply:
    blocks: list[tuple[int, int]] = []
    depth = start = 0
    for tag in _TAG.finditer(text):
        if not tag[1]:
            start = start if depth else tag.end()
            depth += 1
        elif depth:
            depth -= 1
            if not depth:
                blocks.append((start, tag.start()))
        else:
            return InvalidReply("a </new_prompt> closes a block that was never opened")
    return InvalidReply("the <new_prompt> block is never closed") if depth else blocks


def _unfenced(text: str) -> str:
    """`text` without a code fence that wraps the whole of it; a fence around a part stays."""
    lines = text.strip().splitlines()
    first = _FENCE.match(lines[0].strip()) if len(lines) >= 3 else None
    if first is None:
        return text
    depth = 0
    for number, line in enumerate(lines):
        fence = _FENCE.match(line.strip())
        if fence is None or fence[1][0] != first[1][0]:
            continue
        depth += 1 if fence[2] or not number else -1
        if depth == 0:
            return "\n".join(lines[1:-1]) if number == len(lines) - 1 else text
    return text
