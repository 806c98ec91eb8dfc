"""How Courier is spoken to: a walk from page to page along `paging.cursor`, newest row first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping
from concurrent.futures import Future, ThreadPoolExecutor
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

from http_source import BackoffMixin, BrokenBodyError, parsed_body
from source_courier.config import CourierConfig

# What the CDK writes, and skips, as the state of a full refresh that has reached its end.
_COMPLETE = {"__ab_full_refresh_sync_complete": True}

_KEY_REFUSED = (
    "Courier refused the API key (HTTP {status}: {text}). Copy a current key from Courier's "
    "Settings > API Keys; a key of the EU data centre needs the region 'eu'."
)


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

    def __init__(self, config: CourierConfig, *, max_tries: int | None = None) -> None:
        if max_tries is not None:
            self.max_tries = max_tries
        self._host = config.host
        self.cursor = ResumableFullRefreshCursor()
        super().__init__(authenticator=TokenAuthenticator(config.api_key))
        # The cursors of this walk, to notice one that leads back.
        self._followed: set[str] = set()
        self._resumed_from: str | None = None
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=f"courier-{self.name}")
        self._ahead: tuple[str, Future[requests.Response]] | None = None

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
        """The rows of a page, as Courier sends them."""
        rows: list[Mapping[str, Any]] = parsed_body(response)["results"]
        return rows

    def next_page_token(self, response: requests.Response) -> Mapping[str, Any] | None:
        """`{"cursor": str}`, or None at the end: `more` is false or there is no cursor.

        Raises a system error on a cursor that this walk has followed before.
        """
        paging = parsed_body(response)["paging"]
        cursor = paging.get("cursor")
        if not paging["more"]:
            return None
        if not cursor:
            self.logger.warning("Courier announces more rows without a cursor to them: the end.")
            return None
        if cursor in self._followed:
            message = (
                f"Courier repeated the page cursor {cursor!r} of GET /{self.endpoint}: following "
                "it would read the same rows for ever. Expected a new cursor or more: false."
            )
            raise AirbyteTracedException(
                message=message, internal_message=message, failure_type=FailureType.system_error
            )
        self._followed.add(cursor)
        return {"cursor": cursor}

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
        response = self._page(cursor if cursor is None else str(cursor))
        following = self.next_page_token(response)
        if following is not None:
            cursor = following["cursor"]
            self._ahead = (cursor, self._pool.submit(self._fetch, cursor))
        yield from self.parse_response(response)
        if self.cursor is not None:
            self.cursor.close_slice(StreamSlice(cursor_slice=following or _COMPLETE, partition={}))

    def _page(self, cursor: str | None) -> requests.Response:
        if self._ahead is not None and self._ahead[0] == cursor:
            response = self._ahead[1].result()
            self._ahead = None
            return response
        self._resumed_from = cursor
        response = self._fetch(cursor)
        if response.ok:
            return response
        # Cursors may expire between two runs. Rows that the last run emitted come again.
        self.logger.warning(
            "Courier no longer accepts the cursor of the saved state (HTTP %d): "
            "reading from the newest row again.",
            response.status_code,
        )
        return self._fetch(None)

    def _fetch(self, cursor: str | None) -> requests.Response:
        token = {"cursor": cursor} if cursor else None
        return self._fetch_next_page(next_page_token=token)[1]

    def open_body(self, response: requests.Response, body: Any) -> Any:
        """Both keys of the envelope must be there; an absent one is not an empty page."""
        if not isinstance(body, dict) or not isinstance(body.get("results"), list):
            msg = "expected a list under 'results'"
            raise BrokenBodyError(msg)
        paging = body.get("paging")
        if not isinstance(paging, dict) or not isinstance(paging.get("more"), bool):
            msg = "expected true or false under 'paging.more'"
            raise BrokenBodyError(msg)
        return body

    def refusal(self, response: requests.Response) -> ErrorResolution | None:
        """A refused key is for the user to mend, and a refused saved cursor for us."""
        status = response.status_code
        if status in (401, 403):
            text = self.parse_response_error_message(response) or response.reason
            return ErrorResolution(
                ResponseAction.FAIL,
                FailureType.config_error,
                _KEY_REFUSED.format(status=status, text=text),
            )
        asked = parse_qs(urlsplit(str(response.request.url)).query).get("cursor", [None])[0]
        if asked is not None and asked == self._resumed_from:
            return ErrorResolution(ResponseAction.IGNORE, None, None)
        return None
