"""Airbyte's own checks of connectors, on our two sources: `make qa`."""
