"""The three failure types of Airbyte. Each error carries one sentence for the user."""

from __future__ import annotations

from airbyte_cdk.models import FailureType
from airbyte_cdk.utils.traced_exception import AirbyteTracedException

from http_source.body import without_surrogates


def config_error(message: str) -> AirbyteTracedException:
    """Return an error that only the user can fix. The message says how."""
    return _error(message, FailureType.config_error)


def system_error(message: str) -> AirbyteTracedException:
    """Return an error for a broken contract. The message names stream, request and expectation."""
    return _error(message, FailureType.system_error)


def transient_error(message: str) -> AirbyteTracedException:
    """Return an error that passes. The next sync may succeed without any change."""
    return _error(message, FailureType.transient_error)


def unforeseen(error: BaseException) -> str:
    """Return the sentence for an error that the connector does not expect: a defect in it."""
    return without_surrogates(
        f"The connector has a defect: it did not expect {type(error).__name__}: {error}. "
        "Please report this together with the log."
    )


def _error(message: str, failure_type: FailureType) -> AirbyteTracedException:
    return AirbyteTracedException(
        message=message, internal_message=message, failure_type=failure_type
    )
