"""What holds for all tests, whoever started them."""

from __future__ import annotations

import signal

from hypothesis import settings

# A time limit says how busy the machine is.
settings.register_profile("without deadline", deadline=None)
settings.load_profile("without deadline")


def pytest_configure() -> None:
    # A shell's background job ignores Ctrl-C, and so would every pytest that a test starts and interrupts.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
