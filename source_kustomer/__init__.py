"""Airbyte source for Kustomer (https://www.kustomer.com): nine streams of a support CRM."""

from source_kustomer.source import SourceKustomer

__all__ = ["SourceKustomer"]
