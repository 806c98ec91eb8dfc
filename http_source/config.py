"""The base of both config models: the spec is generated from them, configs are checked by them."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from airbyte_cdk.models import FailureType
from airbyte_cdk.utils.airbyte_secrets_utils import add_to_secrets
from airbyte_cdk.utils.traced_exception import AirbyteTracedException
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError


def config_error(message: str) -> AirbyteTracedException:
    """A failure that only the user can mend; the message says how."""
    return AirbyteTracedException(
        message=message, internal_message=message, failure_type=FailureType.config_error
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _api_url(value: str) -> str:
    if not value:
        return value
    parts = urlsplit(value)
    # Reading the port raises ValueError where it is none.
    if not parts.hostname or parts.query or parts.fragment or parts.username or parts.port == 0:
        msg = "must be a plain base URL such as https://proxy.example.com"
        raise ValueError(msg)
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(parts.hostname)):
        msg = "must use https (http is accepted for a loopback address only)"
        raise ValueError(msg)
    return value.rstrip("/")


# A base URL without a trailing slash; "" stands for the vendor's own.
ApiUrl = Annotated[str, AfterValidator(_api_url)]


def _key(value: str) -> str:
    # Keys are copied by hand; what sneaks in breaks the header, and with it the masking of the key.
    key = value.strip()
    if not key.isascii() or not key.isprintable() or " " in key or not key:
        msg = "is empty, or holds characters that no key has; copy it again"
        raise ValueError(msg)
    return key


# A key as it is sent in a header, without the blanks and line ends that copying adds.
ApiKey = Annotated[str, AfterValidator(_key)]


class SourceConfig(BaseModel):
    """A config as users save it. Unknown keys are kept and ignored, as retired versions did."""

    model_config = ConfigDict(extra="allow", frozen=True)

    @classmethod
    def from_mapping(cls, config: Mapping[str, Any]) -> Self:
        """Check a config. Raises a config error that names the field, never its value."""
        try:
            checked = cls.model_validate(dict(config))
        except ValidationError as error:
            sentences = (
                f"{'.'.join(str(part) for part in problem['loc']) or 'config'}: "
                f"{problem['msg'].removeprefix('Value error, ')}"
                for problem in error.errors(include_input=False, include_url=False)
            )
            message = f"The configuration is not valid. {'; '.join(sentences)}"
            raise config_error(message) from None
        for name, field in cls.model_fields.items():
            # As sent: the CDK masks what the user typed, blanks and line ends included.
            extra = field.json_schema_extra
            if isinstance(extra, dict) and extra.get("airbyte_secret"):
                add_to_secrets(getattr(checked, name))
        return checked

    @classmethod
    def connection_specification(cls) -> dict[str, Any]:
        """The JSON schema of the form that Airbyte shows."""
        schema = cls.model_json_schema()
        schema["$schema"] = "http://json-schema.org/draft-07/schema#"
        schema.pop("description", None)
        return schema
