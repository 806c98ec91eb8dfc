"""Airbyte source for Courier (https://www.courier.com): sent messages."""

import http_source  # noqa: F401 - first, for it imports the CDK at the least cost
from source_courier.source import SourceCourier

__all__ = ["SourceCourier"]
