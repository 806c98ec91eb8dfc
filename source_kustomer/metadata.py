"""The definitions of custom attributes, which Kustomer keeps for each kind of record."""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import quote

import requests
from airbyte_cdk.models import SyncMode

from http_source.columns import Row
from http_source.errors import system_error
from source_kustomer.client import ListRefusedError
from source_kustomer.context import KustomerContext
from source_kustomer.custom_fields import Attribute
from source_kustomer.lists import FullRefreshListStream
from source_kustomer.stream import FullRefreshStream

# Requests at once, one for each kind of record.
_AT_ONCE = 8
# The kind of record has no custom attributes.
_NONE_DEFINED = frozenset({requests.codes.bad_request, requests.codes.not_found})


class MetadataStream(FullRefreshStream, ABC):
    """One row for each custom attribute of each kind of record.

    `GET /v1/metadata/{resource}` holds the attributes of one kind, under `properties`, by name:
    https://developer.kustomer.com/api/core-resources/get-custom-attribute-metadata. A kind that
    Kustomer knows no metadata of (400, 404) has no custom attributes.
    """

    # The kinds of record that Kustomer documents, and the list of the custom ones.
    resources: ClassVar[Sequence[str]]
    klasses: ClassVar[type[FullRefreshListStream]]

    def __init__(self, context: KustomerContext) -> None:
        super().__init__(context)
        self._klasses = self.klasses(context)

    def prefetch(self, sync_mode: SyncMode) -> None:
        """Fetch the first page of the klasses now."""
        self._klasses.prefetch(sync_mode)

    def klass_names(self) -> list[str]:
        """The name of each klass, as in the type `kobject.<name>` of its records."""
        # An organisation may have a klass that is enabled and one of the same name that is not.
        return list(dict.fromkeys(_klass_name(row) for row in self._klasses.walk().resources))

    def read_attributes(self) -> Iterator[Attribute]:
        """The custom attributes of all kinds of record, kind by kind."""
        found = list(self._pool.map(self._fetch_attributes, self.resources))
        if all(attributes is None for attributes in found):
            raise system_error(
                f"Stream {self.name}: Kustomer knows no metadata of {', '.join(self.resources)} "
                "(HTTP 400 or 404). Expected those of one of them."
            )
        kinds = [f"kobject.{name}" for name in self.klass_names()]
        for start in range(0, len(kinds), _AT_ONCE):
            found += self._pool.map(self._fetch_attributes, kinds[start : start + _AT_ONCE])
        for attributes in found:
            yield from attributes or ()

    def _fetch_attributes(self, resource: str) -> list[Attribute] | None:
        """The attributes of one kind of record; None if Kustomer knows no metadata of it."""
        path = self.endpoint.format(resource=quote(resource, safe=""))
        try:
            page = self.client.resource(path, {})
        except ListRefusedError as refused:
            if refused.status in _NONE_DEFINED:
                return None
            raise
        properties = page.resources[0]["attributes"].get("properties")
        if properties is None:
            return []
        if not isinstance(properties, dict) or not all(
            isinstance(one, dict) for one in properties.values()
        ):
            raise system_error(
                f"Stream {self.name}: GET /v1/{path} does not tell its attributes. Expected an "
                "object of objects under 'data.attributes.properties'."
            )
        return [Attribute(resource, name, one) for name, one in properties.items()]

    def _rows(self) -> Iterator[Row]:
        for attribute in self.read_attributes():
            yield self.rows.make_plain(
                attribute.definition, {"resource": attribute.resource, "name": attribute.name}
            )


def _klass_name(row: Mapping[str, Any]) -> str:
    name = row["attributes"].get("name")
    if not isinstance(name, str) or not name:
        raise system_error(f"Klass {row['id']} has no name. Expected one under 'attributes.name'.")
    return name
