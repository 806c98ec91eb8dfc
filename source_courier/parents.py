"""A walk of parents that several streams of a sync share. It is read once and stored."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from source_courier.context import CourierContext


class SharedPages:
    """The pages of one walk. Later readers get the stored ones, then the walk goes on.

    A page is any JSON value. It is stored as JSON text: 100 bytes for a parent with four values,
    100 MB for a million parents.
    """

    def __init__(self, source: Iterator[Any]) -> None:
        self._source = source
        self._stored: list[bytes] = []
        self._is_complete = False
        self.is_broken = False

    def read(self) -> Iterator[Any]:
        """Yield every page. Raises what the walk raises; then the walk is broken."""
        number = 0
        while True:
            while number < len(self._stored):
                yield json.loads(self._stored[number])
                number += 1
            if self._is_complete:
                return
            try:
                page = next(self._source, None)
            except BaseException:
                self.is_broken = True
                raise
            if page is None:
                self._is_complete = True
            else:
                self._stored.append(json.dumps(page).encode())


def shared_pages(
    context: CourierContext, name: str, begin: Callable[[], Iterator[Any]]
) -> SharedPages:
    """Return the shared walk of a name. `begin` starts it, if there is none that works."""
    found = context.shared.get(name)
    if not isinstance(found, SharedPages) or found.is_broken:
        found = context.shared[name] = SharedPages(begin())
    return found
