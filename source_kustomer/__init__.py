"""Airbyte source for Kustomer (https://www.kustomer.com): nine streams of a support CRM."""

import http_source  # noqa: F401 - first, for it imports the CDK at the least cost
from source_kustomer.source import SourceKustomer

__all__ = ["SourceKustomer"]
