"""The kind of stream that reads a Courier list from page to page, along its cursors."""

from __future__ import annotations

import json
from abc import ABC
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any, ClassVar

from airbyte_cdk.models import SyncMode

from http_source.cdk import FULL_REFRESH_COMPLETE
from http_source.columns import Row
from http_source.errors import system_error
from http_source.stream import RowBatch
from source_courier.client import CursorRefusedError, Page
from source_courier.context import CourierContext
from source_courier.stream import PageChain, ParentStream


class CourierListStream(ParentStream, ABC):
    """All rows of `GET /<endpoint>`, in the vendor's order.

    A full refresh is resumable: after every page comes a STATE of the form `{"cursor": str}`. A
    sync that gets this state continues there. A list that is read in several variants adds
    `{"variant": int}` from the second one on.
    """

    requests = "one per page"
    # The parameters of each walk. Several walks make one table; a row that they share comes once.
    variants: ClassVar[Sequence[Mapping[str, str]]] = ({},)

    def __init__(self, context: CourierContext) -> None:
        super().__init__(context)
        self._chain: tuple[int, PageChain] | None = None

    def prefetch(self, sync_mode: SyncMode) -> None:
        """Fetch the first page now."""
        variant, cursor = self._saved_position()
        chain = self._new_chain(variant)
        chain.prefetch(cursor)
        self._chain = (variant, chain)

    def read_batches(self, sync_mode: SyncMode) -> Iterator[RowBatch]:
        """Yield one page at a time, with the state from which a later sync continues."""
        first, cursor = self._saved_position()
        seen: set[bytes] = set()
        for number in range(first, len(self.variants)):
            params = self.variants[number]
            for page in self._follow(number, cursor):
                rows = [
                    self.prepare(row, params)
                    for row in page.rows
                    if len(self.variants) == 1 or _is_new(row, seen)
                ]
                yield RowBatch(self.fit(rows), self._state_behind(number, page.next_cursor))
            cursor = None

    def prepare(self, row: Row, params: Mapping[str, str]) -> Row:
        """Return a row as the table has it. `params` are those of its walk. For override."""
        return row

    def pages(self) -> Iterator[Sequence[Row]]:
        """Yield the rows of every page, from the beginning, for streams of children."""
        for params in self.variants:
            for page in PageChain(self, params).follow(None):
                yield [self.prepare(row, params) for row in page.rows]

    def probe(self) -> None:
        """Fetch the first page. Raises what a sync would raise."""
        self.get_page(None, self.variants[0])

    def _follow(self, number: int, cursor: str | None) -> Iterator[Page]:
        chain, self._chain = self._chain, None
        pages = chain[1] if chain is not None and chain[0] == number else self._new_chain(number)
        is_resumed = cursor is not None
        while True:
            try:
                for page in pages.follow(cursor):
                    is_resumed = False
                    yield page
            except CursorRefusedError as error:
                if not is_resumed:
                    raise system_error(str(error)) from None
                # A cursor may expire between two syncs. The rows of the last sync come again.
                self.logger.warning(
                    "Courier no longer accepts the cursor of the saved state (HTTP %d): "
                    "reading from the first row again.",
                    error.status,
                )
                pages, cursor, is_resumed = self._new_chain(number), None, False
            else:
                return

    def _new_chain(self, number: int) -> PageChain:
        return PageChain(self, self.variants[number])

    def _saved_position(self) -> tuple[int, str | None]:
        """Return the variant and the cursor of the saved state, or 0 and None for the first page.

        The state of a finished read means the first page, although the CDK would read nothing from
        it. A client that keeps states, such as PyAirbyte, passes it back to get new rows.
        """
        cursor, variant = self._state.get("cursor"), self._state.get("variant", 0)
        if type(variant) is not int or not 0 <= variant < len(self.variants):
            return 0, None
        return variant, cursor if isinstance(cursor, str) and cursor else None

    def _state_behind(self, number: int, cursor: str | None) -> dict[str, Any]:
        if cursor is None and number + 1 == len(self.variants):
            return dict(FULL_REFRESH_COMPLETE)
        upcoming = number + 1 if cursor is None else number
        state: dict[str, Any] = {} if cursor is None else {"cursor": cursor}
        return state | ({"variant": upcoming} if upcoming else {})


def _is_new(row: Row, seen: set[bytes]) -> bool:
    """Whether no equal row was seen. A list may ignore the parameter of its variants."""
    digest = blake2b(json.dumps(row, sort_keys=True).encode(), digest_size=16).digest()
    if digest in seen:
        return False
    seen.add(digest)
    return True
