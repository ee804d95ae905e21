"""What holds for all tests, whoever started them."""

from __future__ import annotations

import os
import signal
from contextlib import suppress

from hypothesis import settings

# A dependency of litellm: once imported, it replaces the standard library's finder of distributions. Imported
# first inside a test that runs pytest, its finder would go with that test, and no later pytest in this
# process would find a plugin.
with suppress(ImportError):
    import importlib_metadata  # noqa: F401

# A time limit says how busy the machine is.
settings.register_profile("without deadline", deadline=None)
settings.load_profile("without deadline")


def pytest_configure() -> None:
    # A job that runs these tests is no place for what the sessions inside them tell GitHub Actions.
    for variable in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        os.environ.pop(variable, None)
    # A shell's background job ignores Ctrl-C, and so would every pytest that a test starts and interrupts.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
