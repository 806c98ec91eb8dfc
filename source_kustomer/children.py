"""The kind of stream whose rows belong to a parent: one list of children for each parent."""

from __future__ import annotations

from abc import ABC
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import islice
from typing import ClassVar

import requests
from airbyte_cdk.models import SyncMode

from http_source.columns import Row
from http_source.stream import RowBatch
from source_kustomer.client import ListRefusedError, Resource
from source_kustomer.context import KustomerContext
from source_kustomer.lists import ListReader
from source_kustomer.rows import camel_case
from source_kustomer.search import SearchStream
from source_kustomer.stream import KustomerStream

# Lists of children that are fetched or wait to be emitted. Eight keep the requests of a list at
# 150 ms each above fifty a second; each list is held in memory until its turn.
_LISTS_AHEAD = 8


class ChildStream(KustomerStream, ABC):
    """Records of the list `GET /v1/<endpoint>`, in which `{id}` stands for a parent's id.

    The parents are searched as their own stream does: those that changed since the state. Their
    children are fetched several parents at a time and emitted in the parents' order. So the state
    is the parents' bookmark. A parent that is gone by then (404) has no children; it is counted in
    the log.
    """

    parent: ClassVar[type[SearchStream]]
    # What a parent is called in the columns `<name>_id` and `<name>_updated_at` of each row.
    parent_name: ClassVar[str]
    page_size: int = 100
    # Whether the records have no id of their own, and links that are secret.
    has_signed_links: ClassVar[bool] = False

    def __init__(self, context: KustomerContext) -> None:
        super().__init__(context)
        self._parents = self.parent(context)

    @property
    def cursor_field(self) -> str:
        """The column with the parent's cursor, because rows are read when their parent changes."""
        return f"{self.parent_name}_{self.parent.cursor_attribute}"

    def prefetch(self, sync_mode: SyncMode) -> None:
        """Fetch the first pages of parents now."""
        self._parents.state = self._state
        self._parents.prefetch(sync_mode)

    def read_batches(self, sync_mode: SyncMode) -> Iterator[RowBatch]:
        """The children of one page of parents at a time, and behind them the parents' state."""
        self._parents.state = self._state
        read = self._parents.begin_read(sync_mode)
        gone = _Gone()
        for batch in read.batches:
            parents = [record.resource for record in batch.records]
            state = read.bookmark(batch).as_state() if parents else None
            yield RowBatch(self._rows(parents, gone), state)
        if gone.count:
            self.logger.info(
                "Stream %s: %d of the parents were gone (404) when their children were read.",
                self.name,
                gone.count,
            )
        yield RowBatch((), read.end.as_state())

    def _rows(self, parents: Sequence[Resource], gone: _Gone) -> Iterator[Row]:
        waiting = iter(parents)
        under_way: deque[tuple[Resource, Future[list[Resource]]]] = deque()
        try:
            while True:
                under_way.extend(
                    (parent, self._pool.submit(self._fetch_children, parent["id"], gone))
                    for parent in islice(waiting, _LISTS_AHEAD - len(under_way))
                )
                if not under_way:
                    return
                parent, children = under_way.popleft()
                for child in children.result():
                    yield self._child_row(parent, child)
                del children
        finally:
            for _, future in under_way:
                future.cancel()

    def _fetch_children(self, parent_id: str, gone: _Gone) -> list[Resource]:
        endpoint = self.endpoint.format(id=parent_id)
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
            if refused.status != requests.codes.not_found:
                raise
            gone.count += 1
            return []

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
    """Parents that were gone when their children were to be read."""

    count: int = 0
