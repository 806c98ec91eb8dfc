"""The base of both sources: the spec, the input files, the prefetch and the failure types."""

from __future__ import annotations

import contextlib
import logging
from abc import abstractmethod
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import Any, ClassVar

from airbyte_cdk.models import (
    AirbyteMessage,
    AirbyteStateMessage,
    AirbyteStateMessageSerializer,
    ConfiguredAirbyteCatalog,
    ConfiguredAirbyteCatalogSerializer,
    ConfiguredAirbyteStream,
    ConnectorSpecification,
    FailureType,
    Type,
)
from airbyte_cdk.sources import AbstractSource
from airbyte_cdk.sources.streams import Stream
from airbyte_cdk.utils.traced_exception import AirbyteTracedException
from serpyco_rs import SchemaValidationError

from http_source import cdk
from http_source.config import SourceConfig
from http_source.context import SyncContext
from http_source.errors import config_error
from http_source.files import json_kind, read_json_file
from http_source.retry import CHECK_PATIENCE, Patience
from http_source.stream import VendorStream
from http_source.verbs import Verb

# If streams failed for several reasons, the sync gets the first of these failure types.
_GRAVEST_FIRST = (
    FailureType.config_error,
    FailureType.system_error,
    FailureType.transient_error,
)


class HttpSource(AbstractSource):
    """Reads a vendor's HTTP API. A source names its config model, its docs and its streams."""

    config_class: ClassVar[type[SourceConfig]]
    documentation_url: ClassVar[str]
    stream_classes: ClassVar[Sequence[type[VendorStream]]]

    # Otherwise the CDK treats a stream that this source does not have as an empty table.
    raise_exception_on_missing_stream = True

    # The result of the last call of `streams`. The CDK's `read` calls it once.
    _context: SyncContext[Any] | None = None
    _streams: Mapping[str, VendorStream] = MappingProxyType({})
    # What is to be read, while a sync runs: the streams of the catalog, and the saved states.
    _configured: Mapping[str, ConfiguredAirbyteStream] = MappingProxyType({})
    _states: Sequence[AirbyteStateMessage] = ()

    def spec(self, logger: logging.Logger) -> ConnectorSpecification:
        """The form that the user fills in, generated from the config model."""
        return ConnectorSpecification(
            documentationUrl=self.documentation_url,
            connectionSpecification=self.config_class.connection_specification(),
        )

    @abstractmethod
    def sync_context(
        self, config: Mapping[str, Any], patience: Patience | None = None
    ) -> SyncContext[Any]:
        """What the streams of one sync share. Raises a config error."""

    def verbs(self) -> Sequence[Verb]:
        """The verbs of this source beside those of Airbyte. For override."""
        return ()

    def streams(self, config: Mapping[str, Any]) -> list[Stream]:
        """Return every stream of this source. All streams share one context."""
        self._context = self.sync_context(config)
        streams = self.make_streams(self._context)
        self._streams = {stream.name: stream for stream in streams}
        states = cdk.ConnectorStateManager(list(self._states))
        for name in self._configured.keys() & self._streams.keys():
            self._streams[name].configured = self._configured[name]
            self._streams[name].state = states.get_stream_state(name, None)
        return list(streams)

    def make_streams(self, context: Any) -> list[VendorStream]:
        """One object per stream. For override."""
        return [cls(context) for cls in self.stream_classes]

    def check_connection(
        self, logger: logging.Logger, config: Mapping[str, Any]
    ) -> tuple[bool, Any | None]:
        """Prove that a sync can start. Raises a config error that says what to change.

        A vendor that cannot be reached is a config error here too. The user waits for the check,
        and a sentence helps more than a stack trace.
        """
        context = self.sync_context(config, CHECK_PATIENCE)
        try:
            self.probe(context)
        except AirbyteTracedException as error:
            if error.failure_type is FailureType.config_error:
                raise
            raise config_error(self.unreachable(config, error)) from error
        finally:
            context.close()
        return True, None

    @abstractmethod
    def probe(self, context: Any) -> None:
        """Make the cheapest calls that prove the config. Raises what a sync would raise."""

    @abstractmethod
    def unreachable(self, config: Mapping[str, Any], error: AirbyteTracedException) -> str:
        """Return the sentence for a failed check if the key is not the cause."""

    @staticmethod
    def read_config(config_path: str) -> MutableMapping[str, Any]:
        """Read the config file. Raises a config error that says what is wrong with it."""
        config = read_json_file(config_path, "config file")
        if not isinstance(config, dict):
            raise config_error(
                f"The config file {config_path} holds {json_kind(config)}. It must hold a JSON "
                "object with the fields of the spec."
            )
        return config

    @classmethod
    def read_catalog(cls, catalog_path: str) -> ConfiguredAirbyteCatalog:
        """Read the configured catalog. Raises a config error that says what is wrong with it."""
        saved = read_json_file(catalog_path, "catalog file")
        try:
            catalog: ConfiguredAirbyteCatalog = ConfiguredAirbyteCatalogSerializer.load(saved)
        except (SchemaValidationError, TypeError, ValueError, LookupError) as error:
            raise config_error(
                f"The catalog file {catalog_path} is not a configured catalog ({_brief(error)}). "
                'It must hold {"streams": [...]} with a stream, a sync_mode and a '
                "destination_sync_mode for each stream."
            ) from None
        return catalog

    @classmethod
    def read_state(cls, state_path: str | None) -> list[AirbyteStateMessage]:
        """Read a state file: states in Airbyte's form, or the STATE lines of an output."""
        return [state_message(item) for item in saved_states(state_path)]

    def understood_states(
        self,
        logger: logging.Logger,
        catalog: ConfiguredAirbyteCatalog,
        state: Sequence[AirbyteStateMessage],
    ) -> list[AirbyteStateMessage]:
        """Convert saved states to the form that the streams of this source take. For override."""
        return list(state)

    def read(
        self,
        logger: logging.Logger,
        config: Mapping[str, Any],
        catalog: ConfiguredAirbyteCatalog,
        state: list[AirbyteStateMessage] | None = None,
    ) -> Iterator[AirbyteMessage]:
        """Read as the CDK does, and prefetch the next stream while a stream is read.

        A failed sync ends with the failure type of its streams.
        """
        states = self.understood_states(logger, catalog, state or [])
        following = {one.stream.name: after for one, after in pairwise(catalog.streams)}
        failures: set[FailureType] = set()
        self._configured = {one.stream.name: one for one in catalog.streams}
        self._states = states
        try:
            for message in super().read(logger, config, catalog, states):
                if message.type is Type.TRACE:
                    if failure := cdk.failure_of(message):
                        failures.add(failure)
                    if (name := cdk.started_stream(message)) in following:
                        self._prefetch(following[name])
                yield message
        except AirbyteTracedException as error:
            found = (kind for kind in _GRAVEST_FIRST if kind in failures)
            cdk.set_failure_type(error, next(found, error.failure_type))
            raise
        finally:
            if self._context is not None:
                self._context.close()

    @property
    def configured_streams(self) -> int:
        """How many streams are to be read, while a sync runs."""
        return len(self._configured)

    def _prefetch(self, configured: ConfiguredAirbyteStream) -> None:
        stream = self._streams.get(configured.stream.name)
        if stream is None:
            return
        # A failure of a prefetch is ignored. If it lasts, the read of that stream raises it.
        with contextlib.suppress(AirbyteTracedException):
            stream.prefetch(configured.sync_mode)


def saved_states(path: str | None) -> list[Any]:
    """Return the content of a saved state file as a list. STATE lines of an output are unwrapped.

    Raises a config error if the file is missing or not JSON.
    """
    if not path:
        return []
    saved = read_json_file(path, "state file")
    items = saved if isinstance(saved, list) else [saved] if saved else []
    return [
        item["state"] if isinstance(item, dict) and {"type", "state"} <= item.keys() else item
        for item in items
    ]


def state_message(item: Any) -> AirbyteStateMessage:
    """Parse one state in Airbyte's form. Raises a config error that quotes any other value."""
    try:
        message: AirbyteStateMessage = AirbyteStateMessageSerializer.load(item)
    except (SchemaValidationError, TypeError, ValueError, LookupError) as error:
        raise config_error(f"The saved state cannot be understood: {_quoted(item)}.") from error
    if message.stream is None and message.global_ is None and message.data is None:
        raise config_error(f"The saved state cannot be understood: {_quoted(item)}.")
    return message


def _quoted(value: Any, most: int = 200) -> str:
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}..."


def _brief(error: Exception) -> str:
    if isinstance(error, SchemaValidationError):
        return "; ".join(f"{item.instance_path or '/'}: {item.message}" for item in error.errors)
    return str(error)
