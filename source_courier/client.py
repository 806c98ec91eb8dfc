"""The client for Courier: its requests, the checks of its answers, and what refusals mean.

docs/vendors/courier.md lists the facts that this file relies on, with their evidence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import quote

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
from http_source.errors import config_error, system_error
from http_source.retry import BackoffMixin, RefusedError
from source_courier.context import CourierContext
from source_courier.paging import Paging

# Statuses that may mean a bad cursor: it is expired, broken or belongs to another key. Courier does
# not document which status it sends then. So the set contains every status that can be about the
# request, and also 403, because the key can read the first page.
CURSOR_REFUSALS = frozenset({400, 403, 404, 406, 409, 410, 412, 413, 414, 416, 422})
# Statuses with which Courier may refuse a parameter.
PARAMETER_REFUSALS = frozenset({400, 422})
# The stream that `check` reads. A key that cannot read it is not a key of Courier.
KEY_STREAM = "messages"


@dataclass(frozen=True)
class Envelope:
    """The shape of a list's pages: where the rows are, what identifies them, and the paging.

    `rows_keys` are the names under which the rows may be. `id_keys` are the columns that must
    identify a row. With `may_be_null`, null in place of the rows means no rows.
    """

    rows_keys: tuple[str, ...]
    id_keys: tuple[str, ...]
    paging: type[Paging]
    may_be_null: bool = False


@dataclass(frozen=True)
class Page:
    """The rows of a page as Courier sends them, and the cursor of the next page, or None."""

    rows: Sequence[Row]
    next_cursor: str | None


def path_part(ident: str) -> str:
    """Encode an ID as one part of a path. Raises a system error if that cannot be done."""
    if ident in (".", ".."):
        # Every HTTP client takes these for steps in the path, however they are encoded.
        raise system_error(f"Courier shows a row with the ID {ident!r}, which no path can hold.")
    return quote(ident, safe="")


class CursorRefusedError(Exception):
    """Courier refused a page because of its cursor."""

    def __init__(self, endpoint: str, status: int, text: str) -> None:
        super().__init__(
            f"Courier refused a cursor of GET /{endpoint} that it had sent itself "
            f"(HTTP {status}: {text}). The next sync begins at the newest row."
        )
        self.status = status


class CourierClient(VendorClient):
    """Fetches pages of Courier's lists, and single objects."""

    def __init__(self, stream: BackoffMixin, context: CourierContext) -> None:
        config = context.config
        super().__init__(stream, context, config.host, config.api_key)
        self._name = stream.name
        self._takes_limit = context.takes_limit
        self._clock = context.clock

    def get_page(
        self,
        endpoint: str,
        envelope: Envelope,
        cursor: str | None,
        params: Mapping[str, str] | None = None,
        *,
        limit: int | None = None,
        limit_key: str | None = None,
    ) -> Page:
        """Fetch a page of `GET /<endpoint>`. Without a cursor it is the first page.

        `limit` asks for so many rows. Few endpoints document it. If an endpoint refuses it, that
        endpoint is asked without it from then on; `limit_key` names the endpoints of one kind.

        Raises CursorRefusedError for a refused cursor, RefusedError for another refusal that the
        caller may understand, or else an AirbyteTracedException.
        """
        sent = dict(params or {})
        if cursor is not None:
            sent["cursor"] = cursor
        try:
            if limit is None:
                return self._fetch_page(endpoint, envelope, sent)
            return self._fetch_limited_page(endpoint, envelope, sent, limit, limit_key or endpoint)
        except RefusedError as refused:
            if cursor is not None and refused.status in CURSOR_REFUSALS:
                raise CursorRefusedError(endpoint, refused.status, refused.text) from None
            raise

    def _fetch_limited_page(
        self, endpoint: str, envelope: Envelope, params: Mapping[str, str], limit: int, key: str
    ) -> Page:
        if self._takes_limit.get(key) is False:
            return self._fetch_page(endpoint, envelope, params)
        try:
            page = self._fetch_page(endpoint, envelope, {**params, "limit": str(limit)})
        except RefusedError as refused:
            if refused.status not in PARAMETER_REFUSALS or self._takes_limit.get(key):
                raise
            page = self._fetch_page(endpoint, envelope, params)
            self._takes_limit[key] = False
            return page
        self._takes_limit[key] = True
        return page

    def _fetch_page(self, endpoint: str, envelope: Envelope, params: Mapping[str, str]) -> Page:
        return self.fetch(
            "GET", endpoint, partial(validate_page, envelope), params=dict(params) or None
        )

    def get_object(self, endpoint: str, having: Mapping[str, str]) -> Row:
        """Fetch the object of `GET /<endpoint>`. It must have the values of `having`.

        Raises RefusedError, or an AirbyteTracedException.
        """
        return self.fetch("GET", endpoint, partial(_validate_object, having))

    def observe(self, headers: Mapping[str, str]) -> None:
        """Compare Courier's clock with ours."""
        self._clock.observe(headers)

    def explain_error(self, refused: RefusedError) -> AirbyteTracedException:
        """Return the error that explains a refusal of Courier to the user."""
        status, text = refused.status, refused.text
        if status == requests.codes.payment_required:
            return config_error(
                f"Courier's plan does not include {self._name} (HTTP 402: {text}). Change the plan "
                "with Courier, or remove the stream from the sync."
            )
        if status == requests.codes.forbidden and self._name != KEY_STREAM:
            return config_error(
                f"Courier refused to show {self._name} (HTTP 403: {text}). If the check of the "
                "connection succeeds, the plan of the workspace does not include it: change the "
                "plan with Courier, or remove the stream from the sync."
            )
        if status == requests.codes.not_found and self._name != KEY_STREAM:
            return config_error(
                f"Courier does not have {self._name} here (HTTP 404: {text}). Not every region has "
                "every feature. Remove the stream from the sync."
            )
        if status in (requests.codes.unauthorized, requests.codes.forbidden):
            return config_error(
                f"Courier refused the API key (HTTP {status}: {text}). Copy a current key from "
                "Courier's Settings > API Keys; a key of the EU data centre needs the region 'eu'."
            )
        return system_error(str(refused))


def validate_page(envelope: Envelope, content: bytes) -> Page:
    """Return the page in a body. Raises NotJsonError, or BrokenBodyError if a part is missing."""
    return read_page(envelope, parse_body(content))


def read_page(envelope: Envelope, body: Any) -> Page:
    """Return the page in a parsed body. Raises BrokenBodyError if a part is missing.

    A body without rows or without paging is broken. It is not an empty page.
    """
    found = [key for key in envelope.rows_keys if isinstance(body, dict) and key in body]
    rows: Any = body[found[0]] if found else None
    if found and rows is None and envelope.may_be_null:
        rows = []
    if not isinstance(rows, list):
        names = " or ".join(f"'{key}'" for key in envelope.rows_keys)
        msg = f"expected a list under {names}"
        raise BrokenBodyError(msg)
    for key in envelope.id_keys:
        if not all(isinstance(row, dict) and is_id(row.get(key)) for row in rows):
            msg = f"expected rows with an '{key}' under '{found[0]}'"
            raise BrokenBodyError(msg)
    if not all(isinstance(row, dict) for row in rows):
        msg = f"expected objects under '{found[0]}'"
        raise BrokenBodyError(msg)
    if is_deeper_than(MAX_LEVELS, body):
        raise BrokenBodyError(TOO_DEEP)
    return Page(rows, envelope.paging.next_cursor(body))


def _validate_object(having: Mapping[str, str], content: bytes) -> Row:
    return read_object(having, parse_body(content))


def read_object(having: Mapping[str, str], body: Any) -> Row:
    """Return a parsed body as a row. Raises BrokenBodyError without the values of `having`."""
    for key, value in having.items():
        if not isinstance(body, dict) or body.get(key) != value:
            msg = f"expected an object whose '{key}' is the one in the request"
            raise BrokenBodyError(msg)
    if is_deeper_than(MAX_LEVELS, body):
        raise BrokenBodyError(TOO_DEEP)
    row: Row = body
    return row
