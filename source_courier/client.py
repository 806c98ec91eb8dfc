"""The client for Courier: its requests, the checks of its answers, and what refusals mean.

docs/vendors/courier.md lists the facts that this file relies on, with their evidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import requests
from airbyte_cdk.utils.traced_exception import AirbyteTracedException

from http_source.body import (
    MAX_LEVELS,
    TOO_DEEP,
    BrokenBodyError,
    is_deeper_than,
    is_id,
    parse_body,
)
from http_source.client import VendorClient
from http_source.columns import Row
from http_source.context import SyncContext
from http_source.errors import config_error, system_error
from http_source.retry import BackoffMixin, RefusedError
from source_courier.config import CourierConfig
from source_courier.paging import Paging

# Statuses that may mean a bad cursor: it is expired, broken or belongs to another key. Courier does
# not document which status it sends then. So the set contains every status that can be about the
# request, and also 403, because the key can read the first page.
CURSOR_REFUSALS = frozenset({400, 403, 404, 406, 409, 410, 412, 413, 414, 416, 422})


@dataclass(frozen=True)
class Envelope:
    """The shape of a list's pages: the key of the rows, the key of a row's id, and the paging."""

    rows_key: str
    id_key: str
    paging: type[Paging]


@dataclass(frozen=True)
class Page:
    """The rows of a page as Courier sends them, and the cursor of the next page, or None."""

    rows: Sequence[Row]
    next_cursor: str | None


class CursorRefusedError(Exception):
    """Courier refused a page because of its cursor."""

    def __init__(self, endpoint: str, status: int, text: str) -> None:
        super().__init__(
            f"Courier refused a cursor of GET /{endpoint} that it had sent itself "
            f"(HTTP {status}: {text}). The next sync begins at the newest row."
        )
        self.status = status


class CourierClient(VendorClient):
    """Fetches pages of Courier's lists."""

    def __init__(self, stream: BackoffMixin, context: SyncContext[CourierConfig]) -> None:
        config = context.config
        super().__init__(stream, context, config.host, config.api_key)
        self._name = stream.name

    def get_page(self, endpoint: str, envelope: Envelope, cursor: str | None) -> Page:
        """Fetch a page of `GET /<endpoint>`. Without a cursor it is the first page.

        Raises CursorRefusedError for a refused cursor, or else an AirbyteTracedException.
        """
        try:
            return self.fetch(
                "GET",
                endpoint,
                partial(validate_page, envelope),
                params=None if cursor is None else {"cursor": cursor},
            )
        except RefusedError as refused:
            is_of_cursor = cursor is not None and refused.status in CURSOR_REFUSALS
            if is_of_cursor:
                raise CursorRefusedError(endpoint, refused.status, refused.text) from None
            raise self.explain_error(refused) from None

    def explain_error(self, refused: RefusedError) -> AirbyteTracedException:
        """Return the error that explains a refusal of Courier to the user."""
        status, text = refused.status, refused.text
        if status == requests.codes.payment_required:
            return config_error(
                f"Courier's plan does not include {self._name} (HTTP 402: {text}). Change the plan "
                "with Courier, or remove the stream from the sync."
            )
        if status in (requests.codes.unauthorized, requests.codes.forbidden):
            return config_error(
                f"Courier refused the API key (HTTP {status}: {text}). Copy a current key from "
                "Courier's Settings > API Keys; a key of the EU data centre needs the region 'eu'."
            )
        return system_error(str(refused))


def validate_page(envelope: Envelope, content: bytes) -> Page:
    """Return the page in a body. Raises NotJsonError, or BrokenBodyError if a part is missing.

    A body without rows or without paging is broken. It is not an empty page.
    """
    body: Any = parse_body(content)
    key = envelope.rows_key
    if not isinstance(body, dict) or not isinstance(body.get(key), list):
        msg = f"expected a list under '{key}'"
        raise BrokenBodyError(msg)
    rows: list[Row] = body[key]
    if not all(isinstance(row, dict) and is_id(row.get(envelope.id_key)) for row in rows):
        msg = f"expected rows with an '{envelope.id_key}' under '{key}'"
        raise BrokenBodyError(msg)
    if is_deeper_than(MAX_LEVELS, body):
        raise BrokenBodyError(TOO_DEEP)
    return Page(rows, envelope.paging.next_cursor(body))
