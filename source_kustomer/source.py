"""The front door of the Kustomer source: its check and its streams."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from airbyte_cdk.models import (
    AirbyteMessage,
    AirbyteStateMessage,
    ConfiguredAirbyteCatalog,
    ConfiguredAirbyteStream,
    FailureType,
    SyncMode,
)
from airbyte_cdk.sources import AbstractSource
from airbyte_cdk.sources.connector_state_manager import ConnectorStateManager
from airbyte_cdk.sources.streams import Stream
from airbyte_cdk.sources.utils.schema_helpers import InternalConfig
from airbyte_cdk.utils.traced_exception import AirbyteTracedException

from http_source.config import config_error
from http_source.source import HttpSource, saved_states
from source_kustomer.api import CurrentToken, KustomerStream, SyncContext
from source_kustomer.config import KustomerConfig
from source_kustomer.state import state_messages, unread
from source_kustomer.streams import (
    Conversations,
    Customers,
    Kobjects,
    Messages,
    Notes,
    Shortcuts,
    Tags,
    Teams,
    Users,
)

STREAMS: tuple[type[KustomerStream], ...] = (
    Conversations,
    Customers,
    Kobjects,
    Messages,
    Notes,
    Shortcuts,
    Tags,
    Teams,
    Users,
)


class SourceKustomer(HttpSource, AbstractSource):
    """Reads a Kustomer organisation: five searches and four lists, incremental on updated_at."""

    config_class = KustomerConfig
    documentation_url = "https://developer.kustomer.com/api"

    def streams(self, config: Mapping[str, Any]) -> list[Stream]:
        """The nine streams; they share a rate budget and what they learn of Kustomer's clock."""
        context = SyncContext(KustomerConfig.from_mapping(config))
        return [stream(context) for stream in STREAMS]

    def probe(self, config: Mapping[str, Any]) -> None:
        """One search for one customer: it proves the host, the key and the right to search."""
        context = SyncContext(KustomerConfig.from_mapping(config))
        try:
            Customers(context, for_check=True).probe()
        except AirbyteTracedException as refused:
            by_kustomer = refused.failure_type is FailureType.config_error
            if not by_kustomer or not CurrentToken(context, for_check=True).is_accepted():
                raise
            message = (
                f"Kustomer accepts this API key, but not for searching ({refused.message}). Give "
                f"the key the role {Customers.role}: roles are fixed when a key is made, so make "
                "a new one under Settings > Security > API Keys."
            )
            raise config_error(message) from refused

    def unreachable(self, config: Mapping[str, Any], error: AirbyteTracedException) -> str:
        """The vendor or the way to it is down: name the host, and what to look at."""
        host = KustomerConfig.from_mapping(config).host
        return (
            f"Kustomer did not answer as it should at {host}. Check the subdomain or region, and "
            f"the network (firewall, proxy), or try again later. ({error.message})"
        )

    @classmethod
    def read_state(cls, state_path: str | None) -> list[AirbyteStateMessage]:
        """A state file of any shape that this source or its predecessor wrote.

        What cannot be understood is an error only if a stream is read incrementally: see `read`.
        """
        saved = saved_states(state_path)
        try:
            return state_messages(saved, [stream.name for stream in STREAMS])
        except AirbyteTracedException:
            return unread(saved)

    def read(
        self,
        logger: Any,
        config: Mapping[str, Any],
        catalog: ConfiguredAirbyteCatalog,
        state: list[AirbyteStateMessage] | None = None,
    ) -> Iterator[AirbyteMessage]:
        """As every source, but a state of the retired connector is heeded here too."""
        self._next = {one.stream.name: following for one, following in pairwise(catalog.streams)}
        try:
            states = state_messages(state, [stream.name for stream in STREAMS])
        except AirbyteTracedException:
            if any(one.sync_mode is SyncMode.incremental for one in catalog.streams):
                raise
            logger.warning("The saved state cannot be understood. A full refresh does without.")
            states = []
        yield from super().read(logger, config, catalog, states)

    def _read_stream(
        self,
        logger: Any,
        stream_instance: Stream,
        configured_stream: ConfiguredAirbyteStream,
        state_manager: ConnectorStateManager,
        internal_config: InternalConfig,
    ) -> Iterator[AirbyteMessage]:
        """While a stream is read, the first pages of the next one are on their way."""
        following = self._next.get(stream_instance.name)
        stream = self._stream_to_instance_map.get(following.stream.name) if following else None
        if following is not None and isinstance(stream, KustomerStream):
            stream.state = state_manager.get_stream_state(stream.name, None)
            # What fails now will fail again when its turn comes, and be told then.
            with contextlib.suppress(AirbyteTracedException):
                stream.prefetch(following.sync_mode)
        yield from super()._read_stream(
            logger, stream_instance, configured_stream, state_manager, internal_config
        )
