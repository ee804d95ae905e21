"""Where prompts stand: a file, a constant of a module, a value in a configuration."""

from __future__ import annotations

from pytest_promptopt.prompts.sources.address import Address, file_of
from pytest_promptopt.prompts.sources.kinds import looks_like_source, source_of
from pytest_promptopt.prompts.sources.source import Source, SourceText

__all__ = ["Address", "Source", "SourceText", "file_of", "looks_like_source", "source_of"]
