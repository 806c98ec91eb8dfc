"""The base of both sources: the spec, honest failure types, and the start of the process."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import logging
import os
import sys
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import requests.models
from airbyte_cdk import entrypoint
from airbyte_cdk.logger import PRINT_BUFFER
from airbyte_cdk.models import (
    AirbyteMessage,
    AirbyteStateMessage,
    AirbyteStateMessageSerializer,
    ConfiguredAirbyteCatalog,
    ConnectorSpecification,
    FailureType,
    TraceType,
    Type,
)
from airbyte_cdk.sources import AbstractSource, Source
from airbyte_cdk.utils.traced_exception import AirbyteTracedException
from serpyco_rs import SchemaValidationError

from http_source.config import SourceConfig, config_error

# mallopt's parameters for the number of heaps, and for the size from which a block gets pages of
# its own, which go back to the system when it is freed (malloc.h).
_M_ARENA_MAX = -8
_M_MMAP_THRESHOLD = -3

_BODY_PIECE = 128 * 1024
_FLUSH_SECONDS = 0.01

# What a failed sync is called when its streams failed for several reasons: the first of these.
_GRAVEST_FIRST = (
    FailureType.config_error,
    FailureType.system_error,
    FailureType.transient_error,
)


class HttpSourceMixin(AbstractSource):
    """Stands left of `AbstractSource`; the source names its config model, docs and streams."""

    config_class: ClassVar[type[SourceConfig]]
    documentation_url: ClassVar[str]

    # A stream that this source does not have is an error, not an empty table.
    raise_exception_on_missing_stream = True

    def spec(self, logger: logging.Logger) -> ConnectorSpecification:
        """The form that the user fills in, generated from the config model."""
        return ConnectorSpecification(
            documentationUrl=self.documentation_url,
            connectionSpecification=self.config_class.connection_specification(),
        )

    def check_connection(
        self, logger: logging.Logger, config: Mapping[str, Any]
    ) -> tuple[bool, Any | None]:
        """Prove that a sync can start. Raises a config error that says what to change.

        A vendor that cannot be reached is reported the same way: the user who waits for the
        check is helped by a sentence, not by a crash.
        """
        try:
            self.probe(config)
        except AirbyteTracedException as error:
            if error.failure_type is FailureType.config_error:
                raise
            raise config_error(self.unreachable(config, error)) from error
        return True, None

    @abstractmethod
    def probe(self, config: Mapping[str, Any]) -> None:
        """Make the cheapest calls that prove the config; raises what a sync would run into."""

    @abstractmethod
    def unreachable(self, config: Mapping[str, Any], error: AirbyteTracedException) -> str:
        """The sentence for a check that failed for no fault of the config."""

    @classmethod
    def read_state(cls, state_path: str | None) -> list[AirbyteStateMessage]:
        """A state file in Airbyte's form, or STATE lines of an output."""
        return [state_message(item) for item in saved_states(state_path)]

    def read(
        self,
        logger: logging.Logger,
        config: Mapping[str, Any],
        catalog: ConfiguredAirbyteCatalog,
        state: list[AirbyteStateMessage] | None = None,
    ) -> Iterator[AirbyteMessage]:
        """As the CDK reads, but a failed sync ends with the failure type of its streams.

        The CDK itself calls every failed sync a config error.
        """
        failures = set()
        try:
            for message in super().read(logger, config, catalog, state):
                if (
                    message.type is Type.TRACE
                    and message.trace is not None
                    and message.trace.type is TraceType.ERROR
                    and message.trace.error is not None
                ):
                    failures.add(message.trace.error.failure_type)
                yield message
        except AirbyteTracedException as error:
            error.failure_type = next(
                (kind for kind in _GRAVEST_FIRST if kind in failures), error.failure_type
            )
            raise


def saved_states(path: str | None) -> list[Any]:
    """What a saved state file holds, as a list; STATE lines of an output are taken for states.

    Raises a config error if the file is not JSON.
    """
    if not path:
        return []
    try:
        saved = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise config_error(f"The saved state is not JSON: {error}.") from error
    items = saved if isinstance(saved, list) else [saved] if saved else []
    return [
        item["state"] if isinstance(item, dict) and item.get("type") == "STATE" else item
        for item in items
    ]


def state_message(item: Any) -> AirbyteStateMessage:
    """One state in Airbyte's form. Raises a config error that quotes it if it is none."""
    try:
        message: AirbyteStateMessage = AirbyteStateMessageSerializer.load(item)
    except (SchemaValidationError, TypeError) as error:
        raise config_error(f"The saved state cannot be understood: {item!r}.") from error
    if message.stream is None and message.global_ is None and message.data is None:
        raise config_error(f"The saved state cannot be understood: {item!r}.")
    return message


def _share_one_heap() -> None:
    """Keep glibc from giving every thread a heap of its own: a quarter less memory, no slower.

    Pages are made in one thread and freed in another, so that each heap would grow to the peak
    (207 against 150 MB on 45,000 rows). Other C libraries have no such setting.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):
        heap = ctypes.CDLL(None)
        heap.mallopt(_M_ARENA_MAX, 1)
        heap.mallopt(_M_MMAP_THRESHOLD, _BODY_PIECE)


def launch(source: Source, args: list[str]) -> None:
    """Run one verb (spec, check, discover, read); Airbyte messages go to stdout."""
    # The CDK sends stderr to stdout, so a bare warning would be a line that is no message.
    logging.captureWarnings(capture=True)
    # What is imported by now lives until the end: looking through it again and again took a fifth
    # of the processor time of 45,000 rows.
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
    _share_one_heap()
    # requests joins bodies of 10 kB pieces, a hundred to a page: a tenth of the processor time.
    requests.models.CONTENT_CHUNK_SIZE = _BODY_PIECE
    # The CDK gathers output for 0.1 s, which at full speed is 15 MB of it.
    PRINT_BUFFER.flush_interval = _FLUSH_SECONDS
    try:
        entrypoint.launch(source, args)
    except SystemExit:
        raise
    except BaseException:  # noqa: BLE001 - whatever it is, it ends the process
        # An error has been decided on: report it, and do not wait for threads that read ahead and
        # may sleep through a backoff, as the interpreter's own exit would.
        try:
            sys.excepthook(*sys.exc_info())
            sys.stdout.flush()
        finally:
            os._exit(1)
