"""Prompt files: reading, rendering, the checks on a candidate, and the one place that writes them."""

from __future__ import annotations

from pytest_promptopt.prompts.file_lookup import locate_prompt_file
from pytest_promptopt.prompts.files import PromptFile
from pytest_promptopt.prompts.frontmatter import FrontMatter
from pytest_promptopt.prompts.writing import (
    check_writable,
    clear_strays,
    put_content,
    replace_content,
    save_beside,
    unified_diff,
    write_prose,
)

__all__ = [
    "FrontMatter",
    "PromptFile",
    "check_writable",
    "clear_strays",
    "locate_prompt_file",
    "put_content",
    "replace_content",
    "save_beside",
    "unified_diff",
    "write_prose",
]
