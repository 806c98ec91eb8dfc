"""Every private or surprising part of the CDK that this project relies on, with the reason.

Nothing else imports or sets these. `unit_tests/http_source/test_cdk.py` asserts each of them
against the installed CDK, so that a new CDK fails there and not in a user's sync.
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
# older versions of our sources know it by this key.
FULL_REFRESH_COMPLETE: Mapping[str, Any] = {"__ab_full_refresh_sync_complete": True}
# What the CDK writes as the state of a stream that cannot be resumed. AbstractSource takes it for
# no state when it is handed back.
NO_CURSOR_STATE: Mapping[str, Any] = {NO_CURSOR_STATE_KEY: True}

# HttpClient adds a second to each wait that a backoff strategy names, and takes a wait of 0 for
# "no opinion", after which it would wait by a rule of its own.
WAIT_ADDED_SECONDS = 1.0
LEAST_WAIT_SECONDS = 0.01


def state_message(
    stream: str, state: Mapping[str, Any], manager: ConnectorStateManager
) -> AirbyteMessage:
    """A STATE message of one stream.

    The CDK's own stream reading makes it in a private method of `Stream`; these two calls are what
    that method does. Our streams read themselves, because one state a page is enough, and because
    the CDK's loop takes a tenth of the processor time of a sync.
    """
    manager.update_state_for_stream(stream, None, state)
    return manager.create_state_message(stream, None)


def failure_of(message: AirbyteMessage) -> FailureType | None:
    """The failure type of an error trace; None for any other message.

    AbstractSource calls every failed sync a config error in the end, whatever its streams said.
    """
    trace = message.trace
    if trace is None or trace.type is not TraceType.ERROR or trace.error is None:
        return None
    return trace.error.failure_type


def set_failure_type(error: AirbyteTracedException, failure_type: FailureType) -> None:
    """Give the error with which AbstractSource ends a failed sync another failure type."""
    error.failure_type = failure_type


def started_stream(message: AirbyteMessage) -> str | None:
    """The name of the stream that AbstractSource is about to read; None for any other message.

    It says STARTED before it reads. This is the one public sign of a stream's turn.
    """
    trace = message.trace
    if trace is None or trace.type is not TraceType.STREAM_STATUS or trace.stream_status is None:
        return None
    if trace.stream_status.status is not AirbyteStreamStatus.STARTED:
        return None
    return str(trace.stream_status.stream_descriptor.name)


def send_prints_to(output: Any) -> None:
    """Let all that the CDK prints go to one stream of text.

    Its loggers hold stream handlers that were opened when it was imported, and HttpClient prints
    the status RATE_LIMITED from whatever thread meets the limit.
    """
    sys.stdout = sys.__stdout__ = output  # type: ignore[misc]
    for name in (None, "airbyte"):
        for handler in logging.getLogger(name).handlers:
            if isinstance(handler, logging.StreamHandler):
                handler.setStream(output)
