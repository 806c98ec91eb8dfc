"""Reads the seam: the window in which search and archive may both contain a record. Pure.

Around the two-year horizon, a record can pass from the search to the archive during a read. So each
part of the seam is read from the search first, and then from the archive. A record that passes in
between is seen twice and emitted once. In the other order it could be missed.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator

from http_source.instants import EpochMs
from source_kustomer.paging import Record, RecordBatch, SearchPaginator
from source_kustomer.timeline import Window


def read_seam(
    search: SearchPaginator, archive: SearchPaginator, window: Window
) -> Iterator[RecordBatch]:
    """Yield the records of search and archive, ascending, each once. Raises UnreadableError.

    A part ends at the watermark of a search batch. The archive is read exactly up to there.
    """
    read_to = window.lower
    seen: set[str] = set()
    for batch in search.read(window.lower, window.upper, ahead=False):
        seen = {record.id for record in batch.records} | seen
        found = deque(batch.records)
        if batch.watermark > read_to:
            for archived in archive.read(read_to, batch.watermark, ahead=False):
                before = list(_take_below(found, archived.watermark))
                fresh = [record for record in archived.records if record.id not in seen]
                merged = heapq.merge(before, fresh, key=lambda record: record.cursor)
                yield RecordBatch(list(merged), archived.watermark)
            read_to = batch.watermark
            seen = {record.id for record in batch.records if record.cursor >= read_to}
        yield RecordBatch(list(found), batch.watermark)


def _take_below(records: deque[Record], instant: EpochMs) -> Iterator[Record]:
    while records and records[0].cursor < instant:
        yield records.popleft()
