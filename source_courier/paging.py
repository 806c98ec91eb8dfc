"""How Courier's lists name their next page. Pure.

A family of paging is a class that reads the cursor of the next page from the body of a page. Each
stream names its family.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from http_source.body import BrokenBodyError


class Paging(ABC):
    """One family of paging."""

    @staticmethod
    @abstractmethod
    def next_cursor(body: Mapping[str, Any]) -> str | None:
        """Return the cursor of the next page, or None at the end.

        Raises BrokenBodyError if the body says neither. So an unknown envelope is a broken
        contract, and never the end of the list.
        """


class MoreAndCursor(Paging):
    """`{"paging": {"more": bool, "cursor": str}}`. `more` decides. At the end `cursor` is ignored.

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
            # If this counted as the end, every row after this page would be left out.
            msg = "expected a cursor under 'paging.cursor', because 'paging.more' is true"
            raise BrokenBodyError(msg)
        return cursor
