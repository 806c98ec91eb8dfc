"""Airbyte source for Courier (https://www.courier.com): sent messages."""

from source_courier.source import SourceCourier

__all__ = ["SourceCourier"]
