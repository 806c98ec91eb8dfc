"""The kinds of stream whose rows belong to a parent: a row of another list."""

from __future__ import annotations

import logging
from abc import ABC
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import requests
from airbyte_cdk.models import SyncMode

from http_source.columns import Row
from http_source.errors import system_error
from http_source.in_order import in_order
from http_source.retry import RefusedError
from http_source.stream import FullRefreshMixin
from source_courier.client import CursorRefusedError, Page, path_part
from source_courier.context import CourierContext
from source_courier.parents import shared_pages
from source_courier.progress_guard import ProgressGuard
from source_courier.stream import CourierStream, PageChain, ParentStream, last_row, without_repeated

# How many parents' children may be under way or wait to be emitted. Eight were 6.7 times faster
# than one by one at 150 ms (benchmarks/results.md, courier-children). Twelve leave room for the
# pages of the parents, and for the start of the process.
AHEAD = 12
# So many pages of one parent's children are fetched before their turn comes. More would take memory
# for parents that wait.
_PAGES_AHEAD = 4
# If so many parents have no children's list, and none has one, the endpoint was moved.
LEAST_GONE = 10
GONE = frozenset({requests.codes.not_found, requests.codes.gone})


@dataclass
class GoneParents:
    """Counts the parents whose children could not be found, and all parents."""

    gone: int = 0
    parents: int = 0
    # How many of the parents that are gone must be the only ones, so that the stream fails.
    least: float = LEAST_GONE

    def add(self, children: object) -> None:
        """Count one parent. `children` is None if the parent is gone."""
        self.parents += 1
        self.gone += children is None

    def report(self, stream: str, logger: logging.Logger) -> None:
        """Log how many are gone. Raises a system error if no parent has children."""
        if self.gone == self.parents and self.gone >= self.least:
            raise system_error(
                f"Stream {stream}: Courier knows none of {self.gone} parents. Expected the rows of "
                "at least one."
            )
        if self.gone:
            logger.info(
                "Stream %s: %d of %d parents no longer existed. They have no rows.",
                stream,
                self.gone,
                self.parents,
            )


class ChildStream(FullRefreshMixin, CourierStream, ABC):
    """All rows of `GET /<endpoint>`, in which `{id}` is a parent's id, for each parent.

    The children of several parents are fetched at once and emitted in the order of the parents.
    """

    requests = (
        "one per page for each row of `{parent}`, and the pages of `{parent}` once for all its "
        "children"
    )
    parent: ClassVar[type[ParentStream]]
    # The column with the parent's id.
    parent_id: ClassVar[str]
    # Statuses of a list whose parent no longer exists.
    gone_statuses: ClassVar[frozenset[int]] = GONE

    def prefetch(self, sync_mode: SyncMode) -> None:
        """Nothing can be requested before the first parent is known."""

    def prepare(self, row: Row) -> Row:
        """Return a row as the table has it. For override."""
        return row

    def _rows(self) -> Iterator[Row]:
        # A bad request may also be a mistake of ours. Then no parent has children.
        is_sure = requests.codes.bad_request not in self.gone_statuses
        count = GoneParents(least=LEAST_GONE if is_sure else 1)
        for parent, first in in_order(self._pool, self._parents(), self._first_pages, AHEAD):
            count.add(first)
            if first is None:
                continue
            yield from self.fit(
                self.prepare({**row, self.parent_id: parent})
                for page in self._all_pages(parent, first)
                for row in page.rows
            )
        count.report(self.name, self.logger)

    def _parents(self) -> Iterator[str]:
        for row in parent_rows(self.context, self.parent):
            yield row[self.parent.child_columns[0]]

    def _endpoint(self, parent: str) -> str:
        return self.endpoint.format(id=path_part(parent))

    def _first_pages(self, parent: str) -> list[Page] | None:
        """The first pages of a parent's children; None if the parent is gone."""
        endpoint = self._endpoint(parent)
        pages: list[Page] = []
        try:
            pages.append(self.try_page(None, {}, endpoint))
        except RefusedError as refused:
            if refused.status in self.gone_statuses:
                return None
            raise self.client.explain_error(refused) from None
        guard = ProgressGuard(endpoint, self.id_keys)
        while len(pages) < _PAGES_AHEAD and (cursor := pages[-1].next_cursor) is not None:
            guard.require_progress(pages[-1].rows, cursor)
            page = self._page(endpoint, cursor)
            pages.append(without_repeated(page, last_row(pages[-1])))
        return pages

    def _page(self, endpoint: str, cursor: str) -> Page:
        try:
            return self.get_page(cursor, {}, endpoint)
        except CursorRefusedError as error:
            raise system_error(f"Stream {self.name}: {error}") from None

    def _all_pages(self, parent: str, first: list[Page]) -> Iterator[Page]:
        cursor, before = first[-1].next_cursor, last_row(first[-1])
        yield from first
        if cursor is not None:
            try:
                chain = PageChain(self, {}, self._endpoint(parent))
                yield from chain.follow(cursor, before)
            except CursorRefusedError as error:
                raise system_error(f"Stream {self.name}: {error}") from None


def parent_rows(context: CourierContext, parent: type[ParentStream]) -> Iterator[Row]:
    """Yield the columns of each parent that children need. One walk serves all streams of a sync.

    A parent that several pages show comes once.
    """
    columns = parent.child_columns

    def begin() -> Iterator[list[list[Any]]]:
        for page in parent(context).pages():
            yield [[row.get(column) for column in columns] for row in page]

    seen: set[str] = set()
    for page in shared_pages(context, parent.name, begin).read():
        for values in page:
            if values[0] not in seen:
                seen.add(values[0])
                yield dict(zip(columns, values, strict=True))
