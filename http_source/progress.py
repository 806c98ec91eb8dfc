"""Reports the progress of a read: estimates, a log line per minute, and waits for rate limits."""

from __future__ import annotations

import logging
import time

import orjson
from airbyte_cdk.models import (
    AirbyteEstimateTraceMessage,
    AirbyteMessage,
    AirbyteMessageSerializer,
    AirbyteStreamStatus,
    AirbyteStreamStatusReason,
    AirbyteStreamStatusReasonType,
    AirbyteTraceMessage,
    EstimateType,
    StreamDescriptor,
    TraceType,
    Type,
)
from airbyte_cdk.utils.stream_status_utils import as_airbyte_message

_LOG_EVERY_SECONDS = 60.0


def estimate(stream: str, rows: int) -> AirbyteMessage:
    """Return a message with the total number of rows that a stream is expected to emit."""
    return AirbyteMessage(
        type=Type.TRACE,
        trace=AirbyteTraceMessage(
            type=TraceType.ESTIMATE,
            emitted_at=time.time() * 1000,
            estimate=AirbyteEstimateTraceMessage(
                name=stream, type=EstimateType.STREAM, row_estimate=rows
            ),
        ),
    )


def announce_rate_limit(stream: str) -> None:
    """Print that the stream waits for a rate limit. Any thread may call this, as in the CDK."""
    message = as_airbyte_message(
        StreamDescriptor(name=stream),
        AirbyteStreamStatus.RUNNING,
        [AirbyteStreamStatusReason(type=AirbyteStreamStatusReasonType.RATE_LIMITED)],
    )
    line = orjson.dumps(AirbyteMessageSerializer.dump(message)).decode()
    print(f"{line}\n", end="", flush=True)  # noqa: T201 - a protocol message


class ProgressLog:
    """Logs at most one line per minute: rows, rows per second, rows left, and time waited."""

    def __init__(self, logger: logging.Logger, stream: str) -> None:
        self._logger = logger
        self._stream = stream
        self._began = self._logged = time.monotonic()

    def note(self, rows: int, left: int | None, waited: float) -> None:
        """Log if a minute has passed. `waited`: seconds that all threads waited for rate limits."""
        now = time.monotonic()
        if now - self._logged < _LOG_EVERY_SECONDS:
            return
        self._logged = now
        self._logger.info(
            "Stream %s: %d rows, %.0f a second, %s left, %.0f s waited for the rate limit.",
            self._stream,
            rows,
            rows / (now - self._began),
            "unknown" if left is None else left,
            waited,
        )
