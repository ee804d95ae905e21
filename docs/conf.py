"""How Sphinx builds these pages: ``sphinx-build -W docs docs/_build``."""

from __future__ import annotations

from importlib.metadata import version as installed_version

project = "pytest-promptopt"
author = "The pytest-promptopt developers"
version = release = installed_version("pytest-promptopt")

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
myst_heading_anchors = 4
nitpicky = True

html_theme = "furo"
html_title = f"pytest-promptopt {version}"
html_copy_source = False
html_show_copyright = False
# Code in the pages is often a part of a file, or output, and no lexer reads `...`.
suppress_warnings = ["misc.highlighting_failure"]
