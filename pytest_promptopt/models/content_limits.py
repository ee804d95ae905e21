"""Files that a provider is known to refuse, found before anything is sent."""

from __future__ import annotations

from collections.abc import Mapping

from pytest_promptopt.attachments import PDF
from pytest_promptopt.errors import SettingsError
from pytest_promptopt.records import Request
from pytest_promptopt.records.content import readable_size

#: Bytes of an image in base64: https://docs.claude.com/en/docs/build-with-claude/vision#faq
MOST_OF_CLAUDE_IMAGE = 5 * 1024**2

#: Bytes of all files of a request in base64, by provider.
#: https://docs.claude.com/en/api/errors#request-size-limits
#: https://platform.openai.com/docs/guides/images-vision#image-input-requirements
MOST_OF_REQUEST: Mapping[str, int] = {"anthropic": 32_000_000, "openai": 50_000_000}


def check_files(request: Request) -> None:
    """Raises `SettingsError` that names the file, how large it is and what is taken."""
    provider, total = request.model.partition("/")[0], 0
    for file in request.files:
        sent = -(-file.size // 3) * 4
        total += sent
        if provider == "anthropic" and file.kind == "image" and sent > MOST_OF_CLAUDE_IMAGE:
            said = f"{file} is too large: {_as_sent(sent)}, and {request.model} takes images of up to"
            raise SettingsError(f"prompt(...): {said} {readable_size(MOST_OF_CLAUDE_IMAGE)}: make it smaller")
        if provider == "openai" and file.kind == "document" and file.url:
            said = f"{file} cannot be sent to {request.model}, which takes documents as bytes only"
            raise SettingsError(f"prompt(...): {said}: give the path of a {PDF} file")
    most = MOST_OF_REQUEST.get(provider)
    if most is not None and total > most:
        said = f"the files of one call are too large: {_as_sent(total)}"
        raise SettingsError(f"prompt(...): {said}, and {request.model} takes {readable_size(most)}")


def _as_sent(size: int) -> str:
    return f"{readable_size(size)} as they are sent (base64)"
