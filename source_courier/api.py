"""How Courier is spoken to: a walk from page to page along `paging.cursor`, newest row first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import requests
from airbyte_cdk.models import FailureType, SyncMode
from airbyte_cdk.sources.streams.checkpoint import ResumableFullRefreshCursor
from airbyte_cdk.sources.streams.http import HttpStream
from airbyte_cdk.sources.streams.http.error_handlers import ErrorResolution, ResponseAction
from airbyte_cdk.sources.streams.http.requests_native_auth import TokenAuthenticator
from airbyte_cdk.sources.types import StreamSlice
from airbyte_cdk.utils.traced_exception import AirbyteTracedException

from http_source.body import is_deeper_than, is_id
from http_source.columns import Columns, with_additional_attributes
from http_source.retry import (
    CHECK_ANSWER_SECONDS,
    CHECK_TRIES,
    MOST_LEVELS,
    TOO_DEEP,
    BackoffMixin,
    BrokenBodyError,
    error_text,
    parsed_body,
)
from source_courier.config import CourierConfig

# What the CDK writes, and skips, as the state of a full refresh that has reached its end.
_COMPLETE = {"__ab_full_refresh_sync_complete": True}

# Archived rows may leave pages empty (unverified). A hundred of them in a row are no walk any more.
_MOST_EMPTY_PAGES = 100
# Cursors may include the row they name, so one page of known rows is possible.
_MOST_KNOWN_PAGES = 3

_KEY_REFUSED = (
    "Courier refused the API key (HTTP {status}: {text}). Copy a current key from Courier's "
    "Settings > API Keys; a key of the EU data centre needs the region 'eu'."
)


class _WalkCursor(ResumableFullRefreshCursor):
    """Where a walk stands; a finished one is taken for none, and the next run walks again.

    The CDK reads nothing from a finished state, in this run and in every later one. But a client
    that keeps states, such as PyAirbyte, hands it back to get the rows that have come since.
    """

    def set_initial_state(self, stream_state: Mapping[str, Any]) -> None:
        """Take `{"cursor": str}`, or any other state for the beginning."""
        super().set_initial_state({} if stream_state == _COMPLETE else stream_state)


class CourierStream(BackoffMixin, HttpStream):
    """A list endpoint: `{"paging": {"more": bool, "cursor": str}, "results": [row, ...]}`.

    Courier serves ten rows a page whatever is asked for, so the time of a walk is its number of
    pages times the vendor's latency: the next page is requested before this one is emitted.

    A full refresh is resumable: every page ends with a STATE of the form `{"cursor": str}`, and a
    run that gets it back goes on there. Cursors name a row, not an offset (their published form
    decodes to `<enqueued ms>,<message id>`), so messages that arrive meanwhile shift nothing.
    """

    primary_key = "id"
    endpoint: ClassVar[str]

    def __init__(
        self,
        config: CourierConfig,
        *,
        for_check: bool = False,
    ) -> None:
        if for_check:
            self.max_tries, self.answer_seconds = CHECK_TRIES, CHECK_ANSWER_SECONDS
        self._host = config.host
        self.cursor = _WalkCursor()
        super().__init__(authenticator=TokenAuthenticator(config.api_key))
        # The cursors of this walk, to notice one that leads back.
        self._followed: set[str] = set()
        # The rows of the last page, and of one far back, to notice a walk in a circle; how many
        # pages there were, and how many of the last ones brought no new row.
        self._last_ids: set[str] = set()
        self._marked_ids: set[str] = set()
        self._pages = 0
        self._idle_pages = 0
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=f"courier-{self.name}")
        self._ahead: tuple[str, Future[requests.Response]] | None = None

    @cached_property
    def _schema(self) -> Mapping[str, Any]:
        return with_additional_attributes(super().get_json_schema())

    def get_json_schema(self) -> Mapping[str, Any]:  # type: ignore[override]
        """The schema, one object for all records: the CDK asks for it with every one."""
        return self._schema

    @cached_property
    def _columns(self) -> Columns:
        return Columns(self._schema)

    @property
    def url_base(self) -> str:
        """The vendor's base URL."""
        return f"{self._host}/"

    def path(self, **_: Any) -> str:
        """The endpoint, below `url_base`."""
        return self.endpoint

    def request_params(
        self,
        stream_state: Mapping[str, Any] | None,
        stream_slice: Mapping[str, Any] | None = None,
        next_page_token: Mapping[str, Any] | None = None,
    ) -> MutableMapping[str, Any]:
        """The page token, `{"cursor": str}`; nothing on the first page."""
        return dict(next_page_token or {})

    def parse_response(self, response: requests.Response, **_: Any) -> Iterable[Mapping[str, Any]]:
        """The rows of a page as Courier sends them, fitted to the columns."""
        for row in parsed_body(response)["results"]:
            yield self._columns.fit(row)

    def next_page_token(self, response: requests.Response) -> Mapping[str, Any] | None:
        """`{"cursor": str}`, or None at the end: `more` is false.

        Raises a system error on a cursor that this walk has followed before.
        """
        paging = parsed_body(response)["paging"]
        if not paging["more"]:
            return None
        cursor = paging["cursor"]
        if cursor in self._followed:
            message = (
                f"Courier repeated the page cursor {cursor!r:.200} of GET /{self.endpoint}: "
                "following it would read the same rows for ever. Expected a new cursor or "
                "more: false."
            )
            raise system_error(message)
        self._followed.add(cursor)
        return {"cursor": cursor}

    def _require_progress(self, rows: list[Mapping[str, Any]]) -> None:
        """Raise a system error if the walk goes on under new cursors, but shows no new row.

        A page is compared with the one before it, and with the last whose number is a power of
        two: so a circle of any length is noticed (Brent's algorithm), in the memory of two pages.
        """
        ids = {row["id"] for row in rows}
        in_circle = bool(ids) and ids <= self._marked_ids and ids != self._last_ids
        self._idle_pages = self._idle_pages + 1 if in_circle or ids <= self._last_ids else 0
        self._pages += 1
        self._last_ids = ids or self._last_ids
        if ids and self._pages & (self._pages - 1) == 0:
            self._marked_ids = ids
        if in_circle or self._idle_pages == (_MOST_KNOWN_PAGES if ids else _MOST_EMPTY_PAGES):
            what = f"{self._idle_pages} pages in a row without a new row"
            message = (
                f"Courier answered GET /{self.endpoint} with "
                f"{'a page of rows from many pages ago' if in_circle else what}, and with a new "
                "cursor to the next. Expected new rows, or more: false."
            )
            raise system_error(message)

    def probe(self) -> None:
        """Ask for the first page; raises what a sync would run into."""
        self._fetch(None)

    def read_records(
        self,
        sync_mode: SyncMode,
        cursor_field: list[str] | None = None,
        stream_slice: Mapping[str, Any] | None = None,
        stream_state: Mapping[str, Any] | None = None,
    ) -> Iterable[Mapping[str, Any]]:
        """One page; the CDK asks for the next with the state that this one leaves behind."""
        token = stream_slice.cursor_slice if isinstance(stream_slice, StreamSlice) else {}
        cursor = token.get("cursor")
        response = self._page(cursor if isinstance(cursor, str) else None)
        following = self.next_page_token(response)
        rows: list[Mapping[str, Any]] = parsed_body(response)["results"]
        if following is not None:
            self._require_progress(rows)
            cursor = following["cursor"]
            self._ahead = (cursor, self._pool.submit(self._fetch, cursor))
        yield from self.parse_response(response)
        if following is None and (report := self._columns.report()):
            self.logger.info("Stream %s: %s", self.name, report)
        if self.cursor is not None:
            self.cursor.close_slice(StreamSlice(cursor_slice=following or _COMPLETE, partition={}))

    def _page(self, cursor: str | None) -> requests.Response:
        ahead, self._ahead = self._ahead, None
        try:
            if ahead is not None and ahead[0] == cursor:
                return ahead[1].result()
            return self._fetch(cursor)
        except _CursorRefusedError as error:
            if self._followed:
                raise system_error(str(error)) from None
            # Cursors may expire between two runs. Rows that the last run emitted come again.
            self.logger.warning(
                "Courier no longer accepts the cursor of the saved state (HTTP %d): "
                "reading from the newest row again.",
                error.status,
            )
            return self._fetch(None)

    def _fetch(self, cursor: str | None) -> requests.Response:
        token = {"cursor": cursor} if cursor else None
        return self._fetch_next_page(next_page_token=token)[1]

    def validate_page(self, response: requests.Response, body: Any) -> Any:
        """Both keys of the envelope must be there; an absent one is not an empty page."""
        if not isinstance(body, dict) or not isinstance(body.get("results"), list):
            msg = "expected a list under 'results'"
            raise BrokenBodyError(msg)
        if not all(isinstance(row, dict) and is_id(row.get("id")) for row in body["results"]):
            msg = "expected rows with an 'id' under 'results'"
            raise BrokenBodyError(msg)
        if is_deeper_than(MOST_LEVELS, body):
            raise BrokenBodyError(TOO_DEEP)
        paging = body.get("paging")
        if not isinstance(paging, dict) or not isinstance(paging.get("more"), bool):
            msg = "expected true or false under 'paging.more'"
            raise BrokenBodyError(msg)
        if paging["more"] and not (isinstance(paging.get("cursor"), str) and paging["cursor"]):
            # Taken for the end, it would leave out every row behind this page.
            msg = "expected a cursor under 'paging.cursor', for 'paging.more' is true"
            raise BrokenBodyError(msg)
        return body

    def explain_error(self, response: requests.Response) -> ErrorResolution | None:
        """What a 4xx of Courier's means to the user. Raises _CursorRefusedError for a cursor's."""
        status = response.status_code
        text = error_text(response)
        if status == requests.codes.payment_required:
            return _config_failure(
                f"Courier's plan does not include {self.name} (HTTP 402: {text}). Change the plan "
                "with Courier, or remove the stream from the sync."
            )
        has_cursor = "cursor" in parse_qs(urlsplit(str(response.request.url)).query)
        if status == requests.codes.unauthorized or (
            status == requests.codes.forbidden and not has_cursor
        ):
            return _config_failure(_KEY_REFUSED.format(status=status, text=text))
        if has_cursor and status in _CURSOR_REFUSALS:
            raise _CursorRefusedError(self.endpoint, status, text)
        return None


# A cursor that is expired, garbled or of another key. None of these is documented for a cursor, so
# all are taken for it that can mean the request; 403 too, for the key itself reads the first page.
_CURSOR_REFUSALS = frozenset({400, 403, 404, 406, 409, 410, 412, 413, 414, 416, 422})


class _CursorRefusedError(Exception):
    """A page was refused because of the cursor that it was asked for with."""

    def __init__(self, endpoint: str, status: int, text: str) -> None:
        super().__init__(
            f"Courier refused to go on with GET /{endpoint} from a cursor that it gave itself "
            f"(HTTP {status}: {text}). The next sync begins at the newest row."
        )
        self.status = status


def _config_failure(message: str) -> ErrorResolution:
    return ErrorResolution(ResponseAction.FAIL, FailureType.config_error, message)


def system_error(message: str) -> AirbyteTracedException:
    return AirbyteTracedException(
        message=message, internal_message=message, failure_type=FailureType.system_error
    )
