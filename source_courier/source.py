"""The entry point of the Courier source: its check and its streams."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airbyte_cdk.utils.traced_exception import AirbyteTracedException

from http_source.retry import Patience
from http_source.source import HttpSource
from http_source.verbs import Verb
from source_courier.config import CourierConfig
from source_courier.context import CourierContext
from source_courier.streams import STREAMS, Messages


class SourceCourier(HttpSource):
    """Reads the messages that a Courier workspace has sent, newest first."""

    config_class = CourierConfig
    documentation_url = "https://www.courier.com/docs/reference/api-overview"
    stream_classes = STREAMS

    def sync_context(
        self, config: Mapping[str, Any], patience: Patience | None = None
    ) -> CourierContext:
        """What the streams of one sync share. Raises a config error."""
        return CourierContext(CourierConfig.from_mapping(config), patience=patience)

    def verbs(self) -> Sequence[Verb]:
        """The verbs of this source beside those of Airbyte."""
        # A sync needs none of them.
        from source_courier.doctor import Doctor  # noqa: PLC0415

        return (Doctor(self),)

    def probe(self, context: CourierContext) -> None:
        """Fetch one page of messages. An API key has no cheaper call."""
        Messages(context).probe()

    def unreachable(self, config: Mapping[str, Any], error: AirbyteTracedException) -> str:
        """Return the sentence for a failed check if the key is not the cause."""
        host = CourierConfig.from_mapping(config).host
        return (
            f"Courier did not answer as it should at {host}. Check this address and "
            f"the network (firewall, proxy), or try again later. ({error.message})"
        )
