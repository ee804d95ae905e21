"""YAML and JSON files with the line of every value."""

from __future__ import annotations

from pathlib import Path

from pytest_promptopt.errors import SettingsError
from pytest_promptopt.prompts.layout import decode
from pytest_promptopt.suites.located import Located
from pytest_promptopt.suites.located_json import read_json
from pytest_promptopt.suites.located_yaml import read_yaml
from pytest_promptopt.text import shown_path


def read_document(path: Path, rootdir: Path) -> Located:
    """What a file says: JSON by its ending, else YAML. Raises `PromptoptError` with ``file:line``."""
    name = shown_path(path, rootdir)
    try:
        text = decode(path.read_bytes(), name=name)
    except OSError as error:
        raise SettingsError(f"{name}: it cannot be read: {error.strerror}") from None
    except ValueError as error:  # a name that no system takes
        raise SettingsError(f"{name}: it cannot be read: {error}") from None
    return read_json(text, name) if path.suffix.lower() == ".json" else read_yaml(text, name)
