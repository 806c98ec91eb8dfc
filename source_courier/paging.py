"""How Courier's lists tell of their next page. Pure.

A family of paging is a class that reads the cursor of the next page from the body of a page. A
stream names its family.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from http_source.body import BrokenBodyError


class Paging(ABC):
    """One family."""

    @staticmethod
    @abstractmethod
    def next_cursor(body: Mapping[str, Any]) -> str | None:
        """The cursor of the next page, or None at the end.

        Raises BrokenBodyError if the body does not say which of the two it is. So an unknown
        envelope is a broken contract, and never an empty page.
        """


class MoreAndCursor(Paging):
    """`{"paging": {"more": bool, "cursor": str}}`. `more` decides, whatever the last cursor is.

    https://www.courier.com/docs/reference/sent-messages/list-messages
    """

    @staticmethod
    def next_cursor(body: Mapping[str, Any]) -> str | None:
        """See `Paging`."""
        paging = body.get("paging")
        if not isinstance(paging, dict) or not isinstance(paging.get("more"), bool):
            msg = "expected true or false under 'paging.more'"
            raise BrokenBodyError(msg)
        if not paging["more"]:
            return None
        cursor = paging.get("cursor")
        if not isinstance(cursor, str) or not cursor:
            # Taken for the end, it would leave out every row behind this page.
            msg = "expected a cursor under 'paging.cursor', for 'paging.more' is true"
            raise BrokenBodyError(msg)
        return cursor
