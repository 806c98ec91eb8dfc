"""SIGTERM and SIGINT end the process within two seconds, with whole lines on stdout.

This module imports nothing but a little of the standard library, so that a process can call
`end_on_signals` before the imports that take a second.

A thread waits for the signals. Python runs ordinary handlers in the main thread only, which may be
inside a write to a pipe that nobody reads. And a process that runs as process 1, as in a container,
ignores a signal for which it has made no arrangement; a blocked signal that is waited for arrives.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

_SIGNALS = (signal.SIGTERM, signal.SIGINT)

_before_the_end: list[Callable[[], None]] = []


def end_on_signals() -> None:
    """From now on SIGTERM ends the process with exit code 143, and SIGINT with 130.

    Call it before any thread starts: a thread inherits which signals it does not take.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    threading.Thread(target=_wait_for_a_signal, name="signals", daemon=True).start()


def before_the_end(action: Callable[[], None]) -> None:
    """Call this when a signal ends the process; it may take a second and a half, not more."""
    _before_the_end.append(action)


def _wait_for_a_signal() -> None:
    received = signal.sigwait(_SIGNALS)
    try:
        for action in _before_the_end:
            action()
    finally:
        # Other threads may sleep through a backoff or wait for a body: they are not waited for.
        os._exit(128 + received)
