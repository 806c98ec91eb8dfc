"""How Kustomer is spoken to: host, key, clock, and what its refusals mean."""

from __future__ import annotations

import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, MutableMapping
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlsplit

import requests
from airbyte_cdk.models import FailureType, SyncMode
from airbyte_cdk.sources.streams.http import HttpStream
from airbyte_cdk.sources.streams.http.error_handlers import ErrorResolution, ResponseAction
from airbyte_cdk.sources.streams.http.requests_native_auth import TokenAuthenticator
from airbyte_cdk.utils.traced_exception import AirbyteTracedException

from http_source.body import is_id
from http_source.columns import Columns, with_additional_attributes
from http_source.progress import announce_rate_limit
from http_source.rate_limiter import RateBudget
from http_source.retry import (
    CHECK_ANSWER_SECONDS,
    CHECK_TRIES,
    BackoffMixin,
    BrokenBodyError,
    error_text,
    parsed_body,
)
from http_source.retry_after import http_date
from source_kustomer.config import KustomerConfig
from source_kustomer.state import bookmark, unfinished_bookmark
from source_kustomer.timeline import EpochMs, parse_instant

# Clocks that are kept in time do not differ by so much.
_WRONG_CLOCK: EpochMs = 10 * 60 * 1000

# No clock that is looked after is so wrong. A sync that heeded it would leave out days.
_DAY: EpochMs = 24 * 60 * 60 * 1000
_SENSELESS_CLOCK: EpochMs = 2 * _DAY

# Pages that were asked for ahead of a stream's turn are used within this time: a stream should
# see what is there when its turn comes, and end its state not long before.
PREFETCH_VALID_SECONDS = 60.0

_NEW_KEY = "Make a new one in Kustomer under Settings > Security > API Keys."


class VendorClock:
    """The earlier of our clock and Kustomer's, as the `Date` headers of its answers tell it.

    Were ours ahead, a sync would claim to have read records that are yet to be written.
    """

    def __init__(self) -> None:
        self._behind: EpochMs = 0
        self._warned = False

    def observe(self, response: requests.Response) -> None:
        """Take note of an answer's `Date`."""
        date = http_date(response.headers.get("Date", ""))
        if date is not None:
            self._behind = max(0, self._local() - parse_instant(date.isoformat()))

    def is_senseless(self, start: EpochMs) -> bool:
        """Whether it is days behind ours, and before the moment from which on is to be read."""
        return self._behind > _SENSELESS_CLOCK and self.now() < start

    def forget(self) -> None:
        """Go by our clock until the next answer."""
        self._behind = 0

    def now(self) -> EpochMs:
        """The present moment, never later than either clock says."""
        return self._local() - self._behind

    def warn_once(self, logger: logging.Logger) -> None:
        """Say so where Kustomer's clock is so far behind ours that one of them must be wrong."""
        if self._behind > _WRONG_CLOCK and not self._warned:
            self._warned = True
            logger.warning(
                "Kustomer's clock is %d minutes behind this machine's: reading no further than it.",
                self._behind // 60_000,
            )

    @staticmethod
    def _local() -> EpochMs:
        return parse_instant(datetime.now(tz=UTC).isoformat())


# "machine users (API keys) get 100 search requests per minute", apart from the organisation's
# limit, which the headers announce: https://developer.kustomer.com/docs/concepts/rate-limits.
_SEARCHES_A_MINUTE = 100


def _bucket(request: requests.PreparedRequest) -> str:
    path = str(request.url).split("?", 1)[0].rstrip("/")
    return "search" if path.endswith("/search") else "list"


class SyncContext:
    """What the streams of one run share: the configuration, Kustomer's clock, the rate budget."""

    def __init__(self, config: KustomerConfig) -> None:
        self.config = config
        self.clock = VendorClock()
        self.budget = RateBudget(
            _bucket, {"search": _SEARCHES_A_MINUTE}, share=config.rate_limit_share / 100
        )


class KustomerStream(BackoffMixin, HttpStream, ABC):
    """One stream of JSON:API resources, identified by `id` and ordered by `updated_at`."""

    name: str
    primary_key = "id"
    cursor_field = "updated_at"
    # The role that reading this stream takes, for the sentence that a refusal ends in.
    role: ClassVar[str]

    def __init__(self, context: SyncContext, *, for_check: bool = False) -> None:
        if for_check:
            self.max_tries, self.answer_seconds = CHECK_TRIES, CHECK_ANSWER_SECONDS
        self._context = context
        self._config = context.config
        self._clock = context.clock
        self._saved: MutableMapping[str, Any] = {}
        self._has_begun = False
        super().__init__(
            authenticator=TokenAuthenticator(context.config.api_token),
            api_budget=context.budget.for_stream(self._tell_of_wait),
        )

    def _tell_of_wait(self, _seconds: float) -> None:
        # A stream that is only prepared has no status yet.
        if self._has_begun:
            announce_rate_limit(self.name)

    @property
    def url_base(self) -> str:
        """The vendor's base URL with the API's version."""
        return f"{self._config.host}/v1/"

    @property
    def state(self) -> MutableMapping[str, Any]:
        """`{"updated_at": timestamp}`; see state.py for what else is understood."""
        return self._saved

    @state.setter
    def state(self, value: MutableMapping[str, Any]) -> None:
        self._saved = value

    @cached_property
    def _schema(self) -> Mapping[str, Any]:
        return with_additional_attributes(super().get_json_schema())

    @cached_property
    def _columns(self) -> Columns:
        return Columns(self._schema)

    def _end(self) -> None:
        # Requests ahead that still wait for a limit have nothing to tell any more.
        self._has_begun = False
        if report := self._columns.report():
            self.logger.info("Stream %s: %s", self.name, report)

    def get_json_schema(self) -> Mapping[str, Any]:  # type: ignore[override]
        """The schema, one object for all records: the CDK asks for it with every one."""
        return self._schema

    def next_page_token(self, response: requests.Response) -> Mapping[str, Any] | None:
        """Unused: both kinds of stream decide on more than one response what to ask next."""
        return None

    def parse_response(self, response: requests.Response, **_: Any) -> Iterable[Mapping[str, Any]]:
        """The resources of a list page, as Kustomer sends them."""
        resources: list[Mapping[str, Any]] = parsed_body(response)["data"]
        return resources

    def validate_page(self, response: requests.Response, body: Any) -> Any:
        """A page is an object with a list of resources under `data`."""
        if not isinstance(body, dict) or not isinstance(body.get("data"), list):
            msg = "expected a list under 'data'"
            raise BrokenBodyError(msg)
        for resource in body["data"]:
            if not (
                isinstance(resource, dict)
                and is_id(resource.get("id"))
                and isinstance(resource.get("attributes"), dict)
            ):
                msg = "expected resources with an 'id' and 'attributes' under 'data'"
                raise BrokenBodyError(msg)
        return body

    def explain_error(self, response: requests.Response) -> ErrorResolution | None:
        """What a 4xx of Kustomer's means to the user.

        401 covers a bad or expired key and a missing role alike
        (https://developer.kustomer.com/kustomer-api-docs/reference/errors).
        """
        text = error_text(response)
        lowered = text.lower()
        if response.status_code < 500 and "pod" in lowered and "token" in lowered:  # noqa: PLR2004
            # "Auth token associated with pod prod2 but request is being handled by prod1".
            return config_failure(
                f"This API key belongs to another region than the one asked ({text}). Set the "
                "subdomain to the one you sign in with, or choose the right region."
            )
        if response.status_code == requests.codes.payment_required:
            return config_failure(
                f"Kustomer's plan does not include {self.name} (HTTP 402: {text}). Ask Kustomer to "
                "add it to the plan, or remove the stream from the sync."
            )
        if response.status_code not in (401, 403):
            return None
        if "expired" in lowered:
            return config_failure(f"The API key has expired. {_NEW_KEY} (Kustomer said: {text})")
        return config_failure(
            f"Kustomer refused the API key for {self.name} (HTTP {response.status_code}: {text}). "
            f"Either the key is wrong, or it lacks the role {self.role}. {_NEW_KEY}"
        )

    @abstractmethod
    def prefetch(self, sync_mode: SyncMode) -> None:
        """Ask for the first pages now, for a read that is to begin soon."""

    def _get(self, token: Mapping[str, Any]) -> requests.Response:
        response = self._fetch_next_page(next_page_token=token)[1]
        self._clock.observe(response)
        return response

    def _resume_point(self, sync_mode: SyncMode) -> EpochMs:
        """Where to begin: the saved state, but a full refresh takes only its own unfinished one."""
        read = unfinished_bookmark if sync_mode is SyncMode.full_refresh else bookmark
        saved = read(self.name, self._saved)
        return self._config.start if saved is None else max(saved.updated_at, self._config.start)


class CurrentToken(KustomerStream):
    """The key itself. "Works for any valid key whatever its roles", so it tells key from role.

    https://developer.kustomer.com/docs/get-started/quickstart
    """

    name = "current_token"
    role = "of any kind"

    def path(self, **_: Any) -> str:
        """The endpoint, below `url_base`."""
        return "auth/tokens/current"

    def validate_page(self, response: requests.Response, body: Any) -> Any:
        """Any answer will do."""
        return body

    def prefetch(self, sync_mode: SyncMode) -> None:
        """There is nothing to read."""

    def is_accepted(self) -> bool:
        """Whether Kustomer knows the key."""
        try:
            return self._get({}).ok
        except AirbyteTracedException:
            return False


def asked_of(response: requests.Response) -> dict[str, str]:
    """The query parameters that an answer was asked for with."""
    return dict(parse_qsl(urlsplit(str(response.request.url)).query))


def part(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """An object within an answer, such as `meta`; {} where it is absent. Raises BrokenBodyError."""
    value = body.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        msg = f"expected an object under '{name}'"
        raise BrokenBodyError(msg)
    return value


def count(meta: Mapping[str, Any], name: str) -> int | None:
    """A number of rows that an answer tells; None where it tells none. Raises BrokenBodyError."""
    value = meta.get(name)
    if isinstance(value, dict):
        value = value.get("value")  # as Elasticsearch tells a total since version 7
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if value is None or (type(value) is int and value < 0):
        return None
    if type(value) is not int:
        msg = f"expected a number under 'meta.{name}'"
        raise BrokenBodyError(msg)
    return value


def next_link(links: Mapping[str, Any]) -> str | None:
    """The link to the next page, or None where there is none. Raises BrokenBodyError."""
    link = links.get("next")
    if link is None or link == "":
        return None
    try:
        if isinstance(link, str) and _LINK.fullmatch(link):
            urlsplit(link)
            return link
    except ValueError:
        pass
    msg = f"expected a URL or null under 'links.next', got {link!r:.200}"
    raise BrokenBodyError(msg)


# A path on the same host, or a whole URL.
_LINK = re.compile(r"(/|https?://)\S*", re.IGNORECASE)


def config_failure(message: str) -> ErrorResolution:
    return ErrorResolution(ResponseAction.FAIL, FailureType.config_error, message)


def system_error(message: str) -> AirbyteTracedException:
    return AirbyteTracedException(
        message=message, internal_message=message, failure_type=FailureType.system_error
    )


def transient_error(message: str) -> AirbyteTracedException:
    return AirbyteTracedException(
        message=message, internal_message=message, failure_type=FailureType.transient_error
    )
