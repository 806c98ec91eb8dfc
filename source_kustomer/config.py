"""The configuration of the Kustomer source. The spec is generated from this model."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from http_source.config import ApiKey, ApiUrl, SourceConfig
from http_source.instants import EARLIEST, EpochMs, parse_instant

# One host per region: https://developer.kustomer.com/api lists the three.
_HOSTS = {
    "us": "https://api.kustomerapp.com",
    "eu": "https://api.prod2.kustomerapp.com",
    "in": "https://api.prod4.kustomerapp.com",
}


class KustomerConfig(SourceConfig):
    """`api_token` and `start_date` have the same names as in the retired connector."""

    vendor_domain: ClassVar[str] = "kustomerapp.com"

    api_token: ApiKey = Field(
        title="API key",
        description=(
            "A Kustomer API key, from Settings > Security > API Keys. It needs the role "
            "org.permission.search.create (or org.user.search.read) for conversations, customers, "
            "kobjects, messages and notes. Each other stream needs a read role of its own, such "
            "as org.permission.user.read for users: see docs/streams.md."
        ),
        min_length=1,
        json_schema_extra={"airbyte_secret": True, "order": 0},
    )
    start_date: str = Field(
        title="Start date",
        description=(
            "Records updated before this moment (UTC) are not read. Dates more than two years "
            "back are read from Kustomer's archive."
        ),
        pattern=r"^\d{4}-\d{2}-\d{2}([T ][0-9:.]+(Z|[+-]\d{2}:?\d{2})?)?$",
        examples=["2024-01-01", "2019-01-01T00:00:00Z"],
        json_schema_extra={
            "pattern_descriptor": "YYYY-MM-DD or YYYY-MM-DDTHH:MM:SSZ",
            "order": 1,
        },
    )
    end_date: str = Field(
        default="",
        title="End date",
        description=(
            "Records updated at or after this moment (UTC) are not read. Leave empty to read up to "
            "the present. For backfills in windows; see docs/backfill.md."
        ),
        pattern=r"^(\d{4}-\d{2}-\d{2}([T ][0-9:.]+(Z|[+-]\d{2}:?\d{2})?)?)?$",
        examples=["2024-01-01", "2019-01-01T00:00:00Z"],
        json_schema_extra={
            "pattern_descriptor": "YYYY-MM-DD or YYYY-MM-DDTHH:MM:SSZ",
            "order": 2,
        },
    )
    subdomain: str = Field(
        default="",
        title="Subdomain",
        description=(
            "The first part of the address where you sign in: 'acme' for "
            "https://acme.kustomerapp.com. Leave empty to use the region instead."
        ),
        # A label of a host name has 63 characters at most (RFC 1035, 2.3.4).
        pattern=r"^([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)?$",
        examples=["acme"],
        json_schema_extra={
            "pattern_descriptor": "acme (without .kustomerapp.com)",
            "order": 3,
        },
    )
    region: Literal["us", "eu", "in"] = Field(
        default="us",
        title="Region",
        description="Where your Kustomer organisation lives. Used when no subdomain is given.",
        json_schema_extra={"order": 4},
    )
    include_archived: bool = Field(
        default=True,
        title="Include archived records",
        description=(
            "Read what was last updated more than two years ago from Kustomer's archive search. "
            "Turn it off if your plan or key refuses the archive. Notes have no archive."
        ),
        json_schema_extra={"order": 5},
    )
    include_deleted: bool = Field(
        default=False,
        title="Include deleted records",
        description=(
            "Also read records that were deleted, as rows with deleted: true. Permanently deleted "
            "customers may not be among them."
        ),
        json_schema_extra={"order": 6},
    )
    rate_limit_share: int = Field(
        default=100,
        title="Share of the rate limit",
        description=(
            "Percent of Kustomer's rate limits that this source may use. Lower it to leave room "
            "for your other integrations, which share the organisation's limit."
        ),
        ge=1,
        le=100,
        json_schema_extra={"order": 7},
    )
    typed_custom_fields: bool = Field(
        default=False,
        title="Custom attributes as columns",
        description=(
            "Give each custom attribute a column of its own, custom_<name>, and each klass a "
            "stream of its own, kobject_<klass>. Refresh the schema after you change this, and "
            "after custom attributes are added. The key needs the roles "
            "org.permission.metadata.read and org.permission.klass.read."
        ),
        json_schema_extra={"order": 8},
    )
    api_url: ApiUrl = Field(
        default="",
        title="API URL",
        description=(
            "Only for proxies and tests: a base URL to use in place of Kustomer's own. "
            "Must be https, or http on a loopback address."
        ),
        examples=["https://kustomer-proxy.example.com"],
        json_schema_extra={"order": 9},
    )

    @field_validator("start_date", "end_date")
    @classmethod
    def _is_a_date(cls, value: str) -> str:
        try:
            if value:
                parse_instant(value)
        except ValueError:
            msg = "is not a date; write it as YYYY-MM-DD or YYYY-MM-DDTHH:MM:SSZ"
            raise ValueError(msg) from None
        return value

    @field_validator("start_date")
    @classmethod
    def _is_past(cls, value: str) -> str:
        if parse_instant(value) > parse_instant(datetime.now(tz=UTC).isoformat()):
            msg = "is in the future: nothing would be read"
            raise ValueError(msg)
        return value

    @field_validator("end_date")
    @classmethod
    def _is_after_the_start(cls, value: str, fields: ValidationInfo) -> str:
        start = fields.data.get("start_date")
        if value and start and parse_instant(value) <= parse_instant(start):
            msg = "is not after the start date: nothing would be read"
            raise ValueError(msg)
        return value

    @property
    def start(self) -> EpochMs:
        """The start date, in epoch ms."""
        return max(EARLIEST, parse_instant(self.start_date))

    @property
    def end(self) -> EpochMs | None:
        """The end date in epoch ms, or None. A record at the end date is not read."""
        return parse_instant(self.end_date) if self.end_date else None

    @property
    def host(self) -> str:
        """The base URL of the API, without a trailing slash and without the version."""
        if self.api_url:
            return self.api_url
        if self.subdomain:
            return f"https://{self.subdomain.lower()}.api.kustomerapp.com"
        return _HOSTS[self.region]
