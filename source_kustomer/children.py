"""The kind of stream whose rows belong to a parent. Each parent has one list of children."""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import requests
from airbyte_cdk.models import FailureType, SyncMode
from airbyte_cdk.utils.traced_exception import AirbyteTracedException

from http_source.columns import Row
from http_source.errors import config_error, system_error
from http_source.in_order import in_order
from http_source.stream import RowBatch
from source_kustomer.client import ListRefusedError, Resource
from source_kustomer.context import KustomerContext
from source_kustomer.lists import ListReader
from source_kustomer.rows import camel_case
from source_kustomer.search import SearchStream
from source_kustomer.stream import KustomerStream

# How many lists of children may be under way or wait to be emitted. Eight of them give more than
# fifty requests a second at 150 ms each. A list is kept in memory until it is emitted.
_LISTS_AHEAD = 8
# Statuses that a list of children has when its parent was deleted. An endpoint that was moved has
# them too, so the parent is requested before it counts as deleted.
_GONE = frozenset({requests.codes.not_found, requests.codes.gone})


class ChildStream(KustomerStream, ABC):
    """Records of the list `GET /v1/<endpoint>`, in which `{id}` is a parent's id.

    The parents are searched as in their own stream: those that changed since the state. The
    children of several parents are fetched at once and emitted in the order of the parents. So the
    state is the parents' bookmark. If a parent no longer exists (404), it has no children. The log
    tells how many parents that were.
    """

    parent: ClassVar[type[SearchStream]]
    # The prefix of the columns `<name>_id` and `<name>_updated_at` of each row.
    parent_name: ClassVar[str]
    # The role that a key needs to read one parent by its ID, if its list of children is missing.
    parent_role: ClassVar[str]
    page_size: int = 100
    # True if the records have no id of their own, and have links that are secret.
    has_signed_links: ClassVar[bool] = False

    def __init__(self, context: KustomerContext) -> None:
        super().__init__(context)
        self._parents = self.parent(context, reads_for=self.name)

    @property
    def cursor_field(self) -> str:
        """The column with the parent's cursor. Rows are read again when their parent changes."""
        return f"{self.parent_name}_{self.parent.cursor_attribute}"

    def prefetch(self, sync_mode: SyncMode) -> None:
        """Fetch the first pages of the parents now."""
        self._parents.state = self._state
        self._parents.prefetch(sync_mode)

    def read_batches(self, sync_mode: SyncMode) -> Iterator[RowBatch]:
        """Yield the children of one page of parents at a time, each followed by the state."""
        self._parents.state = self._state
        read = self._parents.begin_read(sync_mode)
        gone = _Gone()
        for batch in read.batches:
            parents = [record.resource for record in batch.records]
            state = read.bookmark(batch).as_state() if parents else None
            yield RowBatch(self._rows(parents, gone), state)
        if gone.count:
            self.logger.info(
                "Stream %s: %d parents no longer existed (404) when their children were read.",
                self.name,
                gone.count,
            )
        yield RowBatch((), read.end.as_state())

    def _rows(self, parents: Sequence[Resource], gone: _Gone) -> Iterator[Row]:
        def fetch(parent: Resource) -> list[Resource]:
            return self._fetch_children(parent, gone)

        for parent, children in in_order(self._pool, parents, fetch, _LISTS_AHEAD):
            for child in children:
                yield self._child_row(parent, child)

    def _fetch_children(self, parent: Resource, gone: _Gone) -> list[Resource]:
        endpoint = self.endpoint.format(id=parent["id"])
        reader = ListReader(
            self.name,
            self.client,
            endpoint,
            self.page_size,
            has_signed_links=self.has_signed_links,
        )
        try:
            return list(reader.read())
        except ListRefusedError as refused:
            if refused.status not in _GONE:
                raise
            if self._exists(parent):
                raise system_error(
                    f"Stream {self.name}: GET /v1/{endpoint} answers HTTP {refused.status}, but "
                    f"{self.parent_name} {parent['id']} exists. Expected the list of its rows."
                ) from None
            gone.count += 1
            return []

    def _exists(self, parent: Resource) -> bool:
        """Whether Kustomer still has a parent: `GET /v1/<parents>/{id}`."""
        if parent["attributes"].get("deleted") is True:
            return False
        try:
            self.client.resource(f"{self.parent.name}/{parent['id']}", {})
        except ListRefusedError as refused:
            if refused.status not in _GONE:
                raise
            return False
        except AirbyteTracedException as error:
            if error.failure_type is not FailureType.config_error:
                raise
            raise config_error(
                f"Stream {self.name} could not find out whether {self.parent_name} {parent['id']} "
                f"was deleted. Give the API key the role {self.parent_role}. ({error.message})"
            ) from None
        return True

    def _child_row(self, parent: Resource, child: Resource) -> Row:
        return self.rows.make(
            child,
            {
                f"{self.parent_name}_id": parent["id"],
                self.cursor_field: parent["attributes"][camel_case(self.parent.cursor_attribute)],
            },
        )


@dataclass
class _Gone:
    """Counts the parents that no longer existed when their children were read."""

    count: int = 0
