"""The front door of the Courier source: its check and its streams."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airbyte_cdk.sources import AbstractSource
from airbyte_cdk.sources.streams import Stream
from airbyte_cdk.utils.traced_exception import AirbyteTracedException

from http_source.source import HttpSource
from source_courier.config import CourierConfig
from source_courier.streams import Messages


class SourceCourier(HttpSource, AbstractSource):
    """Reads the messages that a Courier workspace has sent, newest first."""

    config_class = CourierConfig
    documentation_url = "https://www.courier.com/docs/reference/api-overview"

    def probe(self, config: Mapping[str, Any]) -> None:
        """One page of messages: there is no cheaper call that an API key may make."""
        Messages(CourierConfig.from_mapping(config), for_check=True).probe()

    def unreachable(self, config: Mapping[str, Any], error: AirbyteTracedException) -> str:
        """The vendor or the way to it is down: name the host, and what to look at."""
        host = CourierConfig.from_mapping(config).host
        return (
            f"Courier did not answer as it should at {host}. Check that host and "
            f"the network (firewall, proxy), or try again later. ({error.message})"
        )

    def streams(self, config: Mapping[str, Any]) -> list[Stream]:
        """Every stream of this source."""
        return [Messages(CourierConfig.from_mapping(config))]
