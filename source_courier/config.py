"""The configuration of the Courier source. The spec is generated from this model."""

from typing import ClassVar, Literal

from pydantic import Field

from http_source.config import ApiKey, ApiUrl, SourceConfig

# US is the server in Courier's OpenAPI. EU is the preset of its JavaScript SDK. Both have the same
# paths. https://www.courier.com/docs/reference/api-overview
_HOSTS = {"us": "https://api.courier.com", "eu": "https://api.eu.courier.com"}


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
    api_url: ApiUrl = Field(
        default="",
        title="API URL",
        description=(
            "Only for proxies and tests: a base URL to use in place of Courier's own. "
            "Must be https, or http on a loopback address."
        ),
        examples=["https://courier-proxy.example.com"],
        json_schema_extra={"order": 2},
    )

    @property
    def host(self) -> str:
        """The base URL of the API, without a trailing slash."""
        return self.api_url or _HOSTS[self.region]
