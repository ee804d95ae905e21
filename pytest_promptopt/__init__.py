"""pytest-promptopt: `pytest` checks the prompts of a repository, `pytest --optimize` improves them."""

from __future__ import annotations

__version__ = "0.1.0"
