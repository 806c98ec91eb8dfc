"""Two kinds of stream that share requests: a list, and what its answers include beside its rows."""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar
from urllib.parse import parse_qsl, quote

import requests
from airbyte_cdk.models import SyncMode

from http_source.columns import Row
from http_source.errors import system_error
from source_kustomer.client import ListPage, ListRefusedError, Resource
from source_kustomer.context import KustomerContext
from source_kustomer.lists import FullRefreshListStream
from source_kustomer.rows import references
from source_kustomer.search import SearchStream
from source_kustomer.stream import FullRefreshStream

# Resources that are fetched at once, one request each.
_AT_ONCE = 8
# The vendor has no such list, or not with these parameters.
_NO_SUCH_LIST = frozenset(
    {
        requests.codes.bad_request,
        requests.codes.not_found,
        requests.codes.method_not_allowed,
    }
)


class DetailedListStream(FullRefreshListStream, ABC):
    """A list whose rows can also be read one by one, `GET /v1/<endpoint>/{id}`.

    If Kustomer refuses the list, and other records refer to its rows, then the rows are read one
    by one. Their IDs are found on those records.
    """

    is_shared = True
    # The query of a request for one row, as in `versions=all`.
    detail_params: ClassVar[str] = ""
    # The relationship that names what is included with a row, if there is one.
    included_by: ClassVar[str | None] = None
    # The records that refer to the rows, and the name of their relationship, for a list that
    # Kustomer does not document.
    referring: ClassVar[tuple[type[SearchStream], str] | None] = None

    def __init__(self, context: KustomerContext) -> None:
        super().__init__(context)
        self._kustomer = context
        self._is_list_refused = False

    def fetch_each(self, ids: Sequence[str]) -> Iterator[ListPage]:
        """The rows with these IDs, several at once, in this order. One that is gone is left out."""
        for start in range(0, len(ids), _AT_ONCE):
            for page in self._pool.map(self._fetch_one, ids[start : start + _AT_ONCE]):
                if page is not None:
                    yield page

    def _fetch_one(self, ident: str) -> ListPage | None:
        params = dict(parse_qsl(self.detail_params))
        try:
            return self.client.resource(f"{self.endpoint}/{quote(ident, safe='')}", params)
        except ListRefusedError as refused:
            if refused.status != requests.codes.not_found or self._is_listed(ident):
                raise
            return None

    def _is_listed(self, ident: str) -> bool:
        """Whether the list shows a row whose own answer is 404: then it is not gone."""
        if self._is_list_refused:
            return False
        return any(row["id"] == ident for row in self._make_reader(self._query()).read())

    def _resources(self) -> Iterator[Resource]:
        try:
            yield from super()._resources()
        except ListRefusedError as refused:
            if self.referring is None or refused.status not in _NO_SUCH_LIST:
                raise
            self._is_list_refused = True
            stream, relationship = self.referring
            self.logger.warning(
                "Stream %s: Kustomer does not serve the list GET /v1/%s (HTTP %d). The rows that "
                "%s refer to are read one by one instead. Rows that no record since the start "
                "date refers to cannot be found.",
                self.name,
                self.endpoint,
                refused.status,
                stream.name,
            )
        else:
            return
        for page in self.fetch_each(
            self._referred_ids(stream(self._kustomer, reads_for=self.name), relationship)
        ):
            self._reader.included.update((one["id"], one) for one in page.included)
            yield from page.resources

    def _referred_ids(self, stream: SearchStream, relationship: str) -> list[str]:
        found: dict[str, None] = {}
        for batch in stream.begin_read(SyncMode.full_refresh).batches:
            for record in batch.records:
                found |= dict.fromkeys(references(record.resource, relationship))
        return list(found)


class IncludedStream(FullRefreshStream, ABC):
    """What the answers of a list include beside its rows.

    A row of the list whose answer does not include all that it names is read once more, alone.
    """

    container: ClassVar[type[DetailedListStream]]
    # The `type` of what is included.
    included_type: ClassVar[str]

    def __init__(self, context: KustomerContext) -> None:
        super().__init__(context)
        self._container = self.container(context)

    def prefetch(self, sync_mode: SyncMode) -> None:
        """Fetch the first page of the list now."""
        self._container.prefetch(sync_mode)

    def _rows(self) -> Iterator[Row]:
        walk = self._container.walk()
        included = {
            ident: one
            for ident, one in walk.included.items()
            if one.get("type") == self.included_type
        }
        lacking = [row["id"] for row in walk.resources if not self._has_all(row, included)]
        for resource in included.values():
            yield self.rows.make(resource)
        for page in self._container.fetch_each(lacking):
            found = {
                one["id"]: one for one in page.included if one.get("type") == self.included_type
            }
            self._require_all(page.resources[0], included | found)
            for ident, one in found.items():
                if ident not in included:
                    included[ident] = one
                    yield self.rows.make(one)

    def _has_all(self, row: Resource, included: Mapping[str, Resource]) -> bool:
        """Whether a row of the list names what belongs to it, and all of that is included."""
        name = self._container.included_by
        named = references(row, name) if name else []
        return bool(named) and all(ident in included for ident in named)

    def _require_all(self, row: Resource, included: Mapping[str, Resource]) -> None:
        name = self._container.included_by
        missing = [one for one in references(row, name) if one not in included] if name else []
        if missing:
            raise system_error(
                f"Stream {self.name}: GET /v1/{self._container.endpoint}/{row['id']} names "
                f"{len(missing)} {self.included_type} that it does not include, {missing[0]} among "
                "them. Expected all that it names."
            )
