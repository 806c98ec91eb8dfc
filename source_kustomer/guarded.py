"""The kind of stream that is searched by an attribute which Kustomer does not document.

Some readers use such an attribute in production, but Kustomer may refuse or ignore it one day. So
the first page of each read must prove it. If it fails, the stream uses its fallback.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import ClassVar

from airbyte_cdk.models import SyncMode

from http_source.body import PageTooLargeError
from http_source.errors import system_error
from http_source.stream import RowBatch
from source_kustomer.client import UnsupportedAttributeError
from source_kustomer.context import KustomerContext
from source_kustomer.lists import IncrementalListStream
from source_kustomer.paging import Page, Query, Record
from source_kustomer.search import SearchStream

# How often the order is looked at before a search counts as unsorted.
_LOOKS = 3


class GuardedSearchStream(SearchStream, ABC):
    """A search whose cursor attribute is proved before a row is emitted.

    The first page of each window proves the attribute if all its rows are in the requested window
    and ascend. If all these pages are empty, they prove nothing, because a search that does not
    know the attribute may find nothing. Then more requests are sent. A search without an attribute
    returns any record. A search by the attribute must find a record on the side of the window where
    that record is. If no search finds a record, the list must be empty too.
    """

    is_guarded = True
    # The other way to read the table: as a complete list, or by another attribute. Without it, the
    # stream fails if the search does not support the attribute.
    fallback: ClassVar[type[IncrementalListStream | GuardedSearchStream] | None] = None
    # A sentence for the log: which records a search by this attribute leaves out.
    restriction: ClassVar[str] = ""

    def __init__(self, context: KustomerContext) -> None:
        super().__init__(context)
        self._fallback = None if self.fallback is None else self.fallback(context)

    def read_batches(self, sync_mode: SyncMode) -> Iterator[RowBatch]:
        """Yield the batches of the search, or of the fallback if the attribute is not proved."""
        try:
            self._prove(sync_mode)
        except UnsupportedAttributeError as error:
            yield from self._fall_back(error, sync_mode)
            return
        former = sorted(self._state.keys() & set(self.former_cursors))
        if former and sync_mode is SyncMode.incremental:
            self.logger.warning(
                "Stream %s: the saved state counts %s, but this sync counts %s. So it reads from "
                "the start date.",
                self.name,
                former[0],
                self.cursor_attribute,
            )
        has_emitted = False
        try:
            for batch in super().read_batches(sync_mode):
                has_emitted = True
                yield batch
        except UnsupportedAttributeError as error:
            if has_emitted:
                raise system_error(
                    f"Stream {self.name}: Kustomer's search used {self.attribute} for the first "
                    f"pages, but not for all pages ({error}). The state stays at what was emitted."
                ) from None
            yield from self._fall_back(error, sync_mode)

    @property
    def attribute(self) -> str:
        """The name of the cursor in a search."""
        return self._subject.attribute(self.cursor_attribute)

    def _fall_back(
        self, error: UnsupportedAttributeError, sync_mode: SyncMode
    ) -> Iterator[RowBatch]:
        self._prefetched = None
        other = self._fallback
        if other is None:
            raise system_error(
                f"Stream {self.name}: Kustomer's search does not support {self.attribute} "
                f"({error}), and no list contains these records. The state stays."
            ) from None
        if isinstance(other, GuardedSearchStream):
            instead = f"{other.attribute} is used instead. {other.restriction}"
        else:
            instead = f"GET /v1/{other.endpoint} is read whole instead."
        self.logger.warning(
            "Stream %s: Kustomer's search does not support %s (%s). %s",
            self.name,
            self.attribute,
            error,
            instead,
        )
        other.state = self._state
        yield from other.read_batches(sync_mode)

    def _prove(self, sync_mode: SyncMode) -> None:
        """Raise UnsupportedAttributeError if the search does not use the cursor attribute."""
        if self._prefetched is None:
            self.prefetch(sync_mode)
        firsts = [] if self._prefetched is None else self._prefetched.of_search()
        # Each of these pages is checked, also if one before it shows records.
        shown = [(query, self._first_records(query, page)) for query, page in firsts]
        with_records = [(query, records) for query, records in shown if records]
        if with_records:
            self._prove_order(*with_records[-1])
        elif firsts:
            self._prove_empty(firsts[-1][0])

    def _first_records(self, query: Query, first: Future[Page | None]) -> Sequence[Record]:
        try:
            page = first.result()
        except PageTooLargeError:
            page = self.client.search(self._subject, replace(query, size=1), archive=False)
        return () if page is None else page.records

    def _prove_order(self, query: Query, records: Sequence[Record]) -> None:
        """Raise UnsupportedAttributeError unless the search sorts by the attribute.

        A page may ascend by chance, if records are never changed in most cases. So the search is
        asked for the last record. It must not be before any that the first page shows.
        """
        for _ in range(_LOOKS):
            last = self.client.last_record(self._subject, query)
            if last is not None and last.cursor >= records[-1].cursor:
                return
            # A record that changed in between has left the window, so look again at both ends.
            records = self._first_records(query, self._fetcher.submit(query, archive=False))
            if not records:
                return
        msg = "asked for the last record of a window, it shows one before those it showed first"
        raise UnsupportedAttributeError(msg)

    def _prove_empty(self, query: Query) -> None:
        """Raise UnsupportedAttributeError unless other searches prove the window empty."""
        some = self.client.any_record(self._subject)
        if some is None:
            everything = Query(0, None, size=1)
            page = self.client.search(self._subject, everything, archive=False)
            some = page.records[0] if page is not None and page.records else None
        if some is None:
            if isinstance(self._fallback, IncrementalListStream) and self._fallback.has_rows():
                msg = f"it shows no record, but GET /v1/{self._fallback.endpoint} does"
                raise UnsupportedAttributeError(msg)
            return
        if query.upper is not None and query.lower <= some.cursor < query.upper:
            raise UnsupportedAttributeError(
                f"it shows no record of the window in which {some.id} is"
            )
        is_before = some.cursor < query.lower
        side = Query(0, query.lower, size=1) if is_before else Query(query.upper or 0, None, size=1)
        page = self.client.search(self._subject, side, archive=False)
        if page is None or not page.records:
            raise UnsupportedAttributeError(
                f"it shows no record {'before' if is_before else 'behind'} a window, although "
                f"{some.id} lies there"
            )
