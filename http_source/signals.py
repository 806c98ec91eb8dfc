"""SIGTERM and SIGINT end the process within two seconds, with whole lines on stdout.

This module imports only a little of the standard library. So a process can call `end_on_signals`
before the imports that take a second.

A thread waits for the signals. There are two reasons. Python runs ordinary handlers only in the
main thread, which may be stuck in a write to a pipe that nobody reads. And process 1, as in a
container, does not get a signal that it does not handle. It does get a blocked signal that a thread
waits for.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

_SIGNALS = (signal.SIGTERM, signal.SIGINT)

_before_the_end: list[Callable[[], None]] = []


def end_on_signals() -> None:
    """From now on SIGTERM ends the process as by its default, and SIGINT with exit code 130.

    A shell shows the default end of SIGTERM as 143. Process 1 ends with exit code 143.

    Call it before any thread starts, because threads inherit which signals are blocked.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    threading.Thread(target=_wait_for_a_signal, name="signals", daemon=True).start()


def before_the_end(action: Callable[[], None]) -> None:
    """Call `action` when a signal ends the process. It may take at most a second and a half."""
    _before_the_end.append(action)


def _wait_for_a_signal() -> None:
    received = signal.sigwait(_SIGNALS)
    try:
        for action in _before_the_end:
            action()
    finally:
        # Do not wait for other threads. They may sleep through a backoff or wait for a body.
        if received == signal.SIGTERM:
            # Who stops a process can tell by this that it did not fail. PyAirbyte stops `spec`,
            # `check` and `discover` when it has their message, and reports exit code 143 as a
            # failure (airbyte/_executors/base.py, 0.71.3). Process 1 cannot end like this.
            signal.pthread_sigmask(signal.SIG_UNBLOCK, (received,))
            os.kill(os.getpid(), received)
        os._exit(128 + received)
