"""The front door of the Kustomer source: its check and its streams."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from airbyte_cdk.models import (
    AirbyteCatalog,
    AirbyteStateMessage,
    ConfiguredAirbyteCatalog,
    FailureType,
    SyncMode,
)
from airbyte_cdk.utils.traced_exception import AirbyteTracedException

from http_source.errors import config_error
from http_source.retry import CHECK_PATIENCE, Patience
from http_source.source import HttpSource, saved_states
from http_source.stream import VendorStream
from http_source.verbs import Verb
from source_kustomer.config import KustomerConfig
from source_kustomer.context import KustomerContext
from source_kustomer.klasses import PREFIX as KLASS_PREFIX
from source_kustomer.klasses import KlassStream, add_custom_fields
from source_kustomer.state import state_messages, unread
from source_kustomer.stream import KustomerStream
from source_kustomer.streams import (
    Attachments,
    AuditLogs,
    Brands,
    Companies,
    Conversations,
    ConversationTimes,
    CustomAttributes,
    Customers,
    Holidays,
    KbArticles,
    KbCategories,
    Klasses,
    Kobjects,
    Messages,
    Notes,
    Queues,
    RoleGroups,
    RoutingStatuses,
    SatisfactionForms,
    Schedules,
    Shortcuts,
    Slas,
    SlaVersions,
    Snoozes,
    SubStatuses,
    Tags,
    TeamRoutingSettings,
    Teams,
    Users,
    WorkItems,
    WorkSessions,
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
    Brands,
    KbArticles,
    KbCategories,
    Klasses,
    Queues,
    RoleGroups,
    RoutingStatuses,
    SatisfactionForms,
    Snoozes,
    SubStatuses,
    TeamRoutingSettings,
    Slas,
    SlaVersions,
    Schedules,
    Holidays,
    CustomAttributes,
    Companies,
    ConversationTimes,
    WorkSessions,
    WorkItems,
    Attachments,
    AuditLogs,
)


class SourceKustomer(HttpSource):
    """Reads the tables of a Kustomer organisation."""

    config_class = KustomerConfig
    documentation_url = "https://developer.kustomer.com/api"
    stream_classes = STREAMS

    def sync_context(
        self, config: Mapping[str, Any], patience: Patience | None = None
    ) -> KustomerContext:
        """What the streams of one sync share. Raises a config error."""
        return KustomerContext(KustomerConfig.from_mapping(config), patience=patience)

    def make_streams(self, context: KustomerContext) -> list[VendorStream]:
        """The listed streams, and those of one klass each that the configured catalog has."""
        streams = super().make_streams(context)
        if context.config.typed_custom_fields:
            streams += [
                KlassStream(context, name.removeprefix(KLASS_PREFIX))
                for name in self._configured
                if name.startswith(KLASS_PREFIX)
            ]
        return streams

    def discover(self, logger: logging.Logger, config: Mapping[str, Any]) -> AirbyteCatalog:
        """The catalog; with `typed_custom_fields` also what the org's custom attributes add.

        Raises a config error if the key lacks the role to read their definitions.
        """
        catalog = super().discover(logger, config)
        context = self.sync_context(config, CHECK_PATIENCE)
        try:
            if context.config.typed_custom_fields:
                add_custom_fields(catalog, context, logger)
        finally:
            context.close()
        return catalog

    def verbs(self) -> Sequence[Verb]:
        """The verbs of this source beside those of Airbyte."""
        # A sync needs none of them.
        from source_kustomer.backfill import WindowsVerb  # noqa: PLC0415
        from source_kustomer.doctor import Doctor  # noqa: PLC0415

        return (WindowsVerb(STREAMS), Doctor(self))

    def probe(self, context: KustomerContext) -> None:
        """One search for one customer: it proves the host, the key and the right to search.

        If it is refused, a second request tells a bad key from a missing role.
        """
        customers = Customers(context)
        try:
            customers.probe()
        except AirbyteTracedException as error:
            is_refused = error.failure_type is FailureType.config_error
            if not is_refused or not customers.client.accepts_key():
                raise
            message = (
                f"Kustomer accepts this API key, but not for searching ({error.message}). Give "
                f"the key the role {Customers.role}: roles are fixed when a key is made, so make "
                "a new one under Settings > Security > API Keys."
            )
            raise config_error(message) from error

    def unreachable(self, config: Mapping[str, Any], error: AirbyteTracedException) -> str:
        """The sentence for a check that failed although nothing is wrong with the key."""
        host = KustomerConfig.from_mapping(config).host
        return (
            f"Kustomer did not answer as it should at {host}. Check the subdomain or region, and "
            f"the network (firewall, proxy), or try again later. ({error.message})"
        )

    @classmethod
    def read_state(cls, state_path: str | None) -> list[AirbyteStateMessage]:
        """A state file of any shape that this source or its predecessor wrote.

        What cannot be understood is an error only if a stream is read incrementally: see
        `understood_states`.
        """
        saved = saved_states(state_path)
        try:
            return state_messages(saved, [stream.name for stream in STREAMS])
        except AirbyteTracedException:
            return unread(saved)

    def understood_states(
        self,
        logger: logging.Logger,
        catalog: ConfiguredAirbyteCatalog,
        state: Sequence[AirbyteStateMessage],
    ) -> list[AirbyteStateMessage]:
        """The states of the retired connector are understood too.

        Raises a config error for a state that cannot be, unless no stream needs it.
        """
        try:
            return state_messages(state, [stream.name for stream in STREAMS])
        except AirbyteTracedException:
            if any(one.sync_mode is SyncMode.incremental for one in catalog.streams):
                raise
            logger.warning("The saved state cannot be understood. A full refresh does without.")
            return []
