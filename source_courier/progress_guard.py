"""Detects a walk along cursors that goes in a circle or that brings no new row. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import blake2b

from http_source.columns import Row
from http_source.errors import system_error

# Archived rows may leave pages empty (unverified). A hundred of them in a row are an error.
_MAX_EMPTY_PAGES = 100
# A cursor may include the row that it names, so one page of known rows is possible.
_MAX_KNOWN_PAGES = 3


class ProgressGuard:
    """Compares each page with the pages before it."""

    def __init__(self, endpoint: str, id_keys: tuple[str, ...]) -> None:
        """Without `id_keys`, a row is compared as a whole."""
        self.endpoint = endpoint
        self._id_keys = id_keys
        # A few bytes for each cursor: a walk of a million messages may have 100,000 of them.
        self._followed: set[bytes] = set()
        # The IDs of the last page and of an older page. Then the number of pages, and how many of
        # the last pages brought no new row.
        self._last_ids: set[bytes] = set()
        self._marked_ids: set[bytes] = set()
        self._pages = 0
        self._idle_pages = 0

    def require_progress(self, rows: Sequence[Row], cursor: str) -> None:
        """Raise a system error if the walk continues without progress.

        A page is compared with the page before it, and with the last page whose number is a power
        of two. So a circle of any length is detected (Brent's algorithm), in the memory of two
        pages.
        """
        digest = blake2b(cursor.encode(), digest_size=16).digest()
        if digest in self._followed:
            raise system_error(
                f"Courier repeated the page cursor {cursor!r:.200} of GET /{self.endpoint}: it "
                "would lead to the same rows again and again. Expected a new cursor or "
                "an envelope that ends the list."
            )
        self._followed.add(digest)
        ids = {self._identity(row) for row in rows}
        in_circle = bool(ids) and ids <= self._marked_ids and ids != self._last_ids
        self._idle_pages = self._idle_pages + 1 if in_circle or ids <= self._last_ids else 0
        self._pages += 1
        self._last_ids = ids or self._last_ids
        if ids and self._pages & (self._pages - 1) == 0:
            self._marked_ids = ids
        if in_circle or self._idle_pages == (_MAX_KNOWN_PAGES if ids else _MAX_EMPTY_PAGES):
            what = f"{self._idle_pages} pages in a row without a new row"
            raise system_error(
                f"Courier answered GET /{self.endpoint} with "
                f"{'a page of rows from many pages ago' if in_circle else what}, and with a new "
                "cursor to the next. Expected new rows, or an envelope that ends the list."
            )

    def _identity(self, row: Row) -> bytes:
        identity = [row[key] for key in self._id_keys] if self._id_keys else row
        return blake2b(json.dumps(identity).encode(), digest_size=16).digest()
