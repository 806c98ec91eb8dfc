"""The configuration of the Courier source. The spec is generated from this model."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import ClassVar, Literal

from pydantic import Field, field_validator

from http_source.config import ApiKey, ApiUrl, SourceConfig
from http_source.instants import EpochMs, parse_instant

# US is the server in Courier's OpenAPI. EU is the preset of its JavaScript SDK. Both have the same
# paths. https://www.courier.com/docs/reference/api-overview
_HOSTS = {"us": "https://api.courier.com", "eu": "https://api.eu.courier.com"}
_DAY_MS: EpochMs = 24 * 60 * 60 * 1000


class CourierConfig(SourceConfig):
    """The retired connector took only `api_key`, so its saved configs stay valid."""

    vendor_domain: ClassVar[str] = "courier.com"

    api_key: ApiKey = Field(
        title="API key",
        description=(
            "A Courier API key, from Settings > API Keys. The key decides which environment is "
            "read: a Production key reads production messages, a Test key test messages."
        ),
        min_length=1,
        json_schema_extra={"airbyte_secret": True, "order": 0},
    )
    region: Literal["us", "eu"] = Field(
        default="us",
        title="Region",
        description="Where your Courier workspace lives. Most workspaces are in the US.",
        json_schema_extra={"order": 1},
    )
    start_date: str = Field(
        default="",
        title="Start date",
        description=(
            "Messages enqueued and runs created before this moment (UTC) are not read. Leave empty "
            "to read everything that Courier still keeps."
        ),
        pattern=r"^(\d{4}-\d{2}-\d{2}([T ][0-9:.]+(Z|[+-]\d{2}:?\d{2})?)?)?$",
        examples=["2024-01-01", "2024-01-01T00:00:00Z"],
        json_schema_extra={
            "pattern_descriptor": "YYYY-MM-DD or YYYY-MM-DDTHH:MM:SSZ",
            "order": 2,
        },
    )
    # Courier tracks deliveries for up to 72 hours after a send. Opens and clicks have no limit:
    # docs/vendors/courier.md.
    lookback_days: int = Field(
        default=3,
        ge=0,
        le=365,
        title="Look-back for messages, in days",
        description=(
            "An incremental sync reads messages again that were enqueued up to this many days "
            "before the last sync, because their status may have changed. Three days cover "
            "deliveries. Opens and clicks may come later."
        ),
        json_schema_extra={"order": 3},
    )
    # Runs are kept for 95 days, says Courier's Python SDK 9.13.0.
    runs_lookback_days: int = Field(
        default=7,
        ge=0,
        le=95,
        title="Look-back for runs, in days",
        description=(
            "An incremental sync reads runs of journeys and automations again that were created up "
            "to this many days before the last sync, because a run may wait for days."
        ),
        json_schema_extra={"order": 4},
    )
    include_archived: bool = Field(
        default=False,
        title="Include archived messages",
        description=(
            "Read archived messages too. Courier does not document which rows have a mark for "
            "this, so archived messages look like others."
        ),
        json_schema_extra={"order": 5},
    )
    include_profiles: bool = Field(
        default=False,
        title="Include profiles",
        description=(
            "Read the profiles of tenants and of their users: personal data. Credentials of "
            "channels in them are masked."
        ),
        json_schema_extra={"order": 6},
    )
    parallel_walks: int = Field(
        default=4,
        ge=1,
        le=16,
        title="Parallel walks",
        description=(
            "How many parts of the list of messages are read at once, if Courier's cursors allow "
            "it. Lower it if Courier answers slowly."
        ),
        json_schema_extra={"order": 7},
    )
    api_url: ApiUrl = Field(
        default="",
        title="API URL",
        description=(
            "Only for proxies and tests: a base URL to use in place of Courier's own. "
            "Must be https, or http on a loopback address."
        ),
        examples=["https://courier-proxy.example.com"],
        json_schema_extra={"order": 8},
    )

    @field_validator("start_date")
    @classmethod
    def _is_a_past_date(cls, value: str) -> str:
        try:
            is_future = bool(value) and parse_instant(value) > parse_instant(_now())
        except ValueError:
            msg = "is not a date; write it as YYYY-MM-DD or YYYY-MM-DDTHH:MM:SSZ"
            raise ValueError(msg) from None
        if is_future:
            msg = "is in the future: nothing would be read"
            raise ValueError(msg)
        return value

    @property
    def host(self) -> str:
        """The base URL of the API, without a trailing slash."""
        return self.api_url or _HOSTS[self.region]

    @property
    def start(self) -> EpochMs | None:
        """The start date in epoch ms, or None."""
        return parse_instant(self.start_date) if self.start_date else None

    @property
    def lookback(self) -> EpochMs:
        """The look-back for messages, in ms."""
        return self.lookback_days * _DAY_MS

    @property
    def runs_lookback(self) -> EpochMs:
        """The look-back for runs, in ms."""
        return self.runs_lookback_days * _DAY_MS


def _now() -> str:
    return datetime.now(tz=UTC).isoformat()
