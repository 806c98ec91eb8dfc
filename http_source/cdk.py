"""Every private or surprising part of the CDK that this project relies on, with the reason.

No other file imports or sets these parts. `unit_tests/http_source/test_cdk.py` checks each of them
against the installed CDK. So a new CDK fails in that test and not in a user's sync.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from typing import Any

from airbyte_cdk.models import (
    AirbyteMessage,
    AirbyteStreamStatus,
    FailureType,
    TraceType,
)
from airbyte_cdk.sources.connector_state_manager import ConnectorStateManager
from airbyte_cdk.sources.streams.call_rate import APIBudget, LimiterSession
from airbyte_cdk.sources.streams.core import NO_CURSOR_STATE_KEY
from airbyte_cdk.sources.streams.http.http_client import HttpClient
from airbyte_cdk.sources.utils.schema_helpers import InternalConfig
from airbyte_cdk.sources.utils.slice_logger import SliceLogger
from airbyte_cdk.utils.airbyte_secrets_utils import add_to_secrets, update_secrets
from airbyte_cdk.utils.is_cloud_environment import is_cloud_environment
from airbyte_cdk.utils.stream_status_utils import as_airbyte_message as stream_status
from airbyte_cdk.utils.traced_exception import AirbyteTracedException

__all__ = [
    "FULL_REFRESH_COMPLETE",
    "LEAST_WAIT_SECONDS",
    "NO_CURSOR_STATE",
    "WAIT_ADDED_SECONDS",
    "APIBudget",
    "ConnectorStateManager",
    "HttpClient",
    "InternalConfig",
    "LimiterSession",
    "SliceLogger",
    "add_to_secrets",
    "failure_of",
    "is_cloud_environment",
    "send_prints_to",
    "set_failure_type",
    "started_stream",
    "state_message",
    "stream_status",
    "update_secrets",
]

# The CDK has no public name for the state that ends a resumable full refresh. The platform and
# older versions of our sources use this key.
FULL_REFRESH_COMPLETE: Mapping[str, Any] = {"__ab_full_refresh_sync_complete": True}
# The CDK writes this as the state of a stream that cannot be resumed. When AbstractSource gets it
# back, it treats it as no state.
NO_CURSOR_STATE: Mapping[str, Any] = {NO_CURSOR_STATE_KEY: True}

# HttpClient adds a second to each wait that a backoff strategy returns. It takes a wait of 0 for
# "no opinion" and then waits by its own rule.
WAIT_ADDED_SECONDS = 1.0
LEAST_WAIT_SECONDS = 0.01


def state_message(
    stream: str, state: Mapping[str, Any], manager: ConnectorStateManager
) -> AirbyteMessage:
    """Return a STATE message of one stream.

    The CDK makes this message in a private method of `Stream`, with the same two calls. Our streams
    do not use the CDK's read loop: one state per page is enough, and that loop takes a tenth of
    the processor time of a sync.
    """
    manager.update_state_for_stream(stream, None, state)
    return manager.create_state_message(stream, None)


def failure_of(message: AirbyteMessage) -> FailureType | None:
    """Return the failure type of an error trace, or None for any other message.

    AbstractSource ends every failed sync with a config error, whatever its streams raised. So the
    caller collects the failure types of the streams.
    """
    trace = message.trace
    if trace is None or trace.type is not TraceType.ERROR or trace.error is None:
        return None
    return trace.error.failure_type


def set_failure_type(error: AirbyteTracedException, failure_type: FailureType) -> None:
    """Change the failure type of the error with which AbstractSource ends a failed sync."""
    error.failure_type = failure_type


def started_stream(message: AirbyteMessage) -> str | None:
    """Return the name of the stream that AbstractSource starts to read, or None otherwise.

    AbstractSource emits STARTED before it reads a stream. The CDK gives no other public sign.
    """
    trace = message.trace
    if trace is None or trace.type is not TraceType.STREAM_STATUS or trace.stream_status is None:
        return None
    if trace.stream_status.status is not AirbyteStreamStatus.STARTED:
        return None
    return str(trace.stream_status.stream_descriptor.name)


def send_prints_to(output: Any) -> None:
    """Send everything that the CDK prints to one text stream.

    The CDK's loggers hold stream handlers that were opened when the CDK was imported. HttpClient
    prints the status RATE_LIMITED from the thread that meets the limit.
    """
    sys.stdout = sys.__stdout__ = output  # type: ignore[misc]
    for name in (None, "airbyte"):
        for handler in logging.getLogger(name).handlers:
            if isinstance(handler, logging.StreamHandler):
                handler.setStream(output)
