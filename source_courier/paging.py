"""How Courier's lists name their next page. Pure.

A family of paging is a class that reads the cursor of the next page from the body of a page. Each
stream names its family. `docs/vendors/courier.md` lists which endpoint uses which family.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from http_source.body import BrokenBodyError


class Paging(ABC):
    """One family of paging. `form` is its envelope in words."""

    form: ClassVar[str]

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

    form = "paging.more and paging.cursor"

    @staticmethod
    def next_cursor(body: Mapping[str, Any]) -> str | None:
        """See `Paging`."""
        paging = body.get("paging")
        if not isinstance(paging, dict) or not isinstance(paging.get("more"), bool):
            msg = "expected true or false under 'paging.more'"
            raise BrokenBodyError(msg)
        if not paging["more"]:
            return None
        return _cursor(paging, "cursor", "'paging.more' is true", "paging.")


class HasMore(Paging):
    """`{"has_more": bool, "cursor": str}`. `has_more` decides. At the end `cursor` is ignored.

    https://www.courier.com/docs/api-reference/tenants/get-a-list-of-tenants
    """

    form = "has_more and cursor"

    @staticmethod
    def next_cursor(body: Mapping[str, Any]) -> str | None:
        """See `Paging`."""
        if not isinstance(body.get("has_more"), bool):
            msg = "expected true or false under 'has_more'"
            raise BrokenBodyError(msg)
        return _cursor(body, "cursor", "'has_more' is true") if body["has_more"] else None


class CursorAlone(Paging):
    """`{"cursor": str}`: a cursor means that there is a next page.

    https://www.courier.com/docs/api-reference/automations/list-automations
    """

    form = "cursor"

    @staticmethod
    def next_cursor(body: Mapping[str, Any]) -> str | None:
        """See `Paging`."""
        return _optional_cursor(body, "cursor")


class NextCursor(Paging):
    """`{"next_cursor": str}`: a cursor means that there is a next page.

    The lists of runs, in the types of Courier's Python SDK 9.13.0 (`types/journeys`).
    """

    form = "next_cursor"

    @staticmethod
    def next_cursor(body: Mapping[str, Any]) -> str | None:
        """See `Paging`."""
        return _optional_cursor(body, "next_cursor")


class OneReply(Paging):
    """The whole list is one reply. An envelope that names a next page is a broken contract.

    https://www.courier.com/docs/reference/logs/message-history
    """

    form = "no next page"

    @staticmethod
    def next_cursor(body: Mapping[str, Any]) -> str | None:
        """See `Paging`."""
        if says_more(body):
            msg = "expected the whole list in one reply, but it names a next page"
            raise BrokenBodyError(msg)
        return None


def says_more(body: Mapping[str, Any]) -> bool:
    """Whether an envelope of any family names a next page."""
    paging = body.get("paging")
    more = paging.get("more") if isinstance(paging, dict) else False
    return any((more, body.get("has_more"), body.get("next_cursor"), body.get("cursor")))


def _cursor(parent: Mapping[str, Any], key: str, because: str, prefix: str = "") -> str:
    cursor = parent.get(key)
    if not isinstance(cursor, str) or not cursor:
        # If this counted as the end, every row after this page would be left out.
        msg = f"expected a cursor under '{prefix}{key}', because {because}"
        raise BrokenBodyError(msg)
    return cursor


def _optional_cursor(body: Mapping[str, Any], key: str) -> str | None:
    cursor = body.get(key)
    if isinstance(cursor, str) and cursor:
        return cursor
    if cursor not in (None, ""):
        msg = f"expected a text or nothing under '{key}'"
        raise BrokenBodyError(msg)
    if says_more(body):
        msg = f"expected a cursor under '{key}', because the envelope says that there is more"
        raise BrokenBodyError(msg)
    return None
