"""Runs one command of a source as a process: arguments in, messages on stdout, an exit code."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import logging
import os
import sys
import tempfile
from typing import NoReturn

import orjson
from airbyte_cdk.entrypoint import AirbyteEntrypoint
from airbyte_cdk.models import AirbyteMessageSerializer, FailureType
from airbyte_cdk.utils.traced_exception import AirbyteTracedException

from http_source import cdk, tuning
from http_source.arguments import parse_arguments
from http_source.body import without_surrogates
from http_source.errors import config_error, unforeseen
from http_source.output import MessageOutput
from http_source.signals import before_the_end
from http_source.source import HttpSource
from http_source.verbs import run_verb


def launch(source: HttpSource, args: list[str]) -> None:
    """Run one command (spec, check, discover, read). Airbyte messages go to stdout.

    Exits with 0, with 1 and an error trace if the command failed, or with 2 if the arguments are
    not valid. A verb of the source's own prints text instead: see verbs.py.
    """
    parsed = parse_arguments(source.verbs(), args)
    if parsed.verb is not None:
        sys.exit(run_verb(source, parsed.verb, parsed))
    try:
        output = _open_output(source)
    except OSError as error:
        _end_without_output(error)
    before_the_end(output.end)
    cdk.send_prints_to(output)
    # Nobody would see a warning on stderr. As a log message it reaches the platform.
    logging.captureWarnings(capture=True)
    tuning.after_imports()
    try:
        _run(source, parsed, output)
        output.flush()
        output.conclude()
    except BaseException as error:  # noqa: BLE001 - every error ends the process
        # Report the error and exit at once. The interpreter's own exit would wait for threads that
        # prefetch pages and may sleep through a backoff.
        try:
            try:
                _report(error, output)
            finally:
                output.conclude()
        except OSError as broken:
            _end_without_output(broken)
        finally:
            os._exit(1)


def _open_output(source: HttpSource) -> MessageOutput:
    """Return standard output, with a display on stderr if a person sees it. Raises OSError."""
    if not os.isatty(2):
        return MessageOutput(1)
    # Not imported at the top: the display takes time to load, and Airbyte has no terminal.
    terminal = importlib.import_module("http_source.terminal")
    output: MessageOutput = terminal.TerminalOutput(1, lambda: source.configured_streams)
    return output


def _end_without_output(error: OSError) -> NoReturn:
    """Say on stderr why stdout takes no messages. No other channel is left."""
    with contextlib.suppress(OSError):
        os.write(2, f"Standard output cannot be written: {error.strerror or error}.\n".encode())
    os._exit(1)


def _run(source: HttpSource, parsed: argparse.Namespace, output: MessageOutput) -> None:
    entrypoint = AirbyteEntrypoint(source)
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        raise config_error(
            "There is no folder for temporary files that this user can write to. With a read-only "
            "root file system, give the container one: docker run --tmpfs /tmp ..."
        ) from None
    for line in entrypoint.run(parsed):
        output.write(f"{line}\n")


def _report(error: BaseException, output: MessageOutput) -> None:
    """Write an error trace, which the platform shows to the user. Raises OSError if it cannot."""
    if isinstance(error, OSError) and output.is_broken:
        raise error
    if isinstance(error, AirbyteTracedException):
        traced = error
    else:
        traced = AirbyteTracedException.from_exception(
            error, message=unforeseen(error), failure_type=FailureType.system_error
        )
    # The log also says where in the code a defect is. A user's mistake needs no stack trace.
    by_user = traced.failure_type is FailureType.config_error
    logging.getLogger("airbyte").critical(
        without_surrogates(str(traced.message)), exc_info=None if by_user else traced
    )
    # Mask secrets in the texts of the message, not in the finished line. A key such as "type" would
    # break the line's own JSON.
    message = AirbyteMessageSerializer.dump(traced.as_sanitized_airbyte_message())
    output.write(f"{orjson.dumps(message).decode()}\n")
    output.flush()
