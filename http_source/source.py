"""The base of both sources: the spec, the files of a verb, and honest failure types."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any, ClassVar

from airbyte_cdk.models import (
    AirbyteMessage,
    AirbyteStateMessage,
    AirbyteStateMessageSerializer,
    ConfiguredAirbyteCatalog,
    ConfiguredAirbyteCatalogSerializer,
    ConnectorSpecification,
    FailureType,
    TraceType,
    Type,
)
from airbyte_cdk.sources import AbstractSource
from airbyte_cdk.utils.traced_exception import AirbyteTracedException
from serpyco_rs import SchemaValidationError

from http_source.config import SourceConfig, config_error
from http_source.files import json_kind, read_json_file

# What a failed sync is called when its streams failed for several reasons: the first of these.
_GRAVEST_FIRST = (
    FailureType.config_error,
    FailureType.system_error,
    FailureType.transient_error,
)


class HttpSource(AbstractSource):
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

    @staticmethod
    def read_config(config_path: str) -> MutableMapping[str, Any]:
        """The config in a file. Raises a config error that says what is wrong with the file."""
        config = read_json_file(config_path, "config file")
        if not isinstance(config, dict):
            raise config_error(
                f"The config file {config_path} holds {json_kind(config)}. It must hold a JSON "
                "object with the fields of the spec."
            )
        return config

    @classmethod
    def read_catalog(cls, catalog_path: str) -> ConfiguredAirbyteCatalog:
        """The configured catalog in a file. Raises a config error that says what is wrong."""
        saved = read_json_file(catalog_path, "catalog file")
        try:
            catalog: ConfiguredAirbyteCatalog = ConfiguredAirbyteCatalogSerializer.load(saved)
        except (SchemaValidationError, TypeError, ValueError, LookupError) as error:
            raise config_error(
                f"The catalog file {catalog_path} is no configured catalog ({_brief(error)}). It "
                'must hold {"streams": [...]} with a stream, a sync_mode and a '
                "destination_sync_mode for each stream."
            ) from None
        return catalog

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
    """One state in Airbyte's form. Raises a config error that quotes it if it is none."""
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
