"""The base of both config models. They generate the spec and check the configs."""

from __future__ import annotations

import contextlib
import ipaddress
import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from http_source.cdk import add_to_secrets, is_cloud_environment, update_secrets
from http_source.errors import config_error


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_host(name: str) -> bool:
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(name)
        return True
    return len(name) <= _LONGEST_HOST and all(map(_LABEL.fullmatch, name.split(".")))


# RFC 1035, 2.3.4. Names in internal networks may also have underscores.
_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_LONGEST_HOST = 253


def _api_url(value: str) -> str:
    if not value:
        return value
    parts = urlsplit(value)
    if not _URL_CHARACTERS.fullmatch(value):
        msg = "contains a space or another character that a URL cannot have; copy it again"
        raise ValueError(msg)
    if parts.hostname and not _is_host(parts.hostname):
        msg = "contains a host name that is not valid"
        raise ValueError(msg)
    # `parts.port` raises ValueError if the port is not a number.
    if not parts.hostname or parts.query or parts.fragment or parts.username or parts.port == 0:
        msg = "must be a plain base URL such as https://proxy.example.com"
        raise ValueError(msg)
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(parts.hostname)):
        msg = "must use https (http is accepted for a loopback address only)"
        raise ValueError(msg)
    return value.rstrip("/")


# A base URL without a trailing slash. "" means the vendor's own URL.
ApiUrl = Annotated[str, AfterValidator(_api_url)]


def _key(value: str) -> str:
    # Users copy keys by hand. A stray character would break the header and the masking of the key.
    key = value.strip()
    if not key.isascii() or not key.isprintable() or not _NO_KEY_HAS.isdisjoint(key) or not key:
        msg = "is empty, or contains characters that a key cannot have; copy it again"
        raise ValueError(msg)
    if len(key) < _SHORTEST_KEY:
        msg = "is too short to be a key; copy the whole key again"
        raise ValueError(msg)
    return key


# JSON escapes quotes and backslashes. So a key that contains one would not be found and masked.
_NO_KEY_HAS = frozenset(" \"'\\")
# Both vendors' keys have dozens of characters. A very short key would mask parts of every message.
_SHORTEST_KEY = 4
# The characters that RFC 3986 allows in a URL.
_URL_CHARACTERS = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]*")


# A key without the spaces and line ends that users may copy with it.
ApiKey = Annotated[str, AfterValidator(_key)]


class SourceConfig(BaseModel):
    """A config as users save it. Unknown keys are kept and ignored, as in the retired versions."""

    model_config = ConfigDict(extra="allow", frozen=True)

    # The domain of all of the vendor's hosts.
    vendor_domain: ClassVar[str]

    @classmethod
    def from_mapping(cls, config: Mapping[str, Any]) -> Self:
        """Check a config. Raises a config error that names the field, but not its value."""
        try:
            checked = cls.model_validate(dict(config))
        except ValidationError as error:
            sentences = (
                f"{'.'.join(str(part) for part in problem['loc']) or 'config'}: "
                f"{problem['msg'].removeprefix('Value error, ')}"
                for problem in error.errors(include_input=False, include_url=False)
            )
            message = f"The configuration is not valid. {'; '.join(sentences)}"
            cls._mask_no_more_than_keys(config)
            raise config_error(message) from None
        checked.require_vendor_in_the_cloud()
        for name, field in cls.model_fields.items():
            # The key as it is sent. The CDK itself masks the text that the user typed.
            extra = field.json_schema_extra
            if isinstance(extra, dict) and extra.get("airbyte_secret"):
                add_to_secrets(getattr(checked, name))
        return checked

    def require_vendor_in_the_cloud(self) -> None:
        """Raise a config error if `api_url` is not a host of the vendor, on Airbyte Cloud only.

        Many customers share that platform. Any other address could reach their networks.
        """
        host = urlsplit(getattr(self, "api_url", "")).hostname
        if host and is_cloud_environment() and not f".{host}".endswith(f".{self.vendor_domain}"):
            raise config_error(
                f"api_url: must be empty or a host of {self.vendor_domain} on Airbyte Cloud."
            )

    @classmethod
    def _mask_no_more_than_keys(cls, config: Mapping[str, Any]) -> None:
        """Mask what the user typed as a key, unless it is so short that this garbles messages."""
        typed = [
            config.get(name)
            for name, field in cls.model_fields.items()
            if isinstance(field.json_schema_extra, dict)
            and field.json_schema_extra.get("airbyte_secret")
        ]
        update_secrets(
            [key for key in typed if isinstance(key, str) and len(key.strip()) >= _SHORTEST_KEY]
        )

    @classmethod
    def connection_specification(cls) -> dict[str, Any]:
        """The JSON schema of the form that Airbyte shows."""
        schema = cls.model_json_schema()
        schema["$schema"] = "http://json-schema.org/draft-07/schema#"
        schema.pop("description", None)
        return schema
