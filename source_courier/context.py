"""What the streams of one Courier sync share."""

from __future__ import annotations

from typing import Any

from http_source.clock import VendorClock
from http_source.context import SyncContext
from http_source.rate_limiter import RateBudget
from http_source.retry import Patience
from source_courier.config import CourierConfig


class CourierContext(SyncContext[CourierConfig]):
    """The configuration, the threads and the rate budget of a sync, and Courier's clock.

    Courier documents no limit for reads. The budget learns of one from headers and from 429.
    """

    def __init__(self, config: CourierConfig, *, patience: Patience | None = None) -> None:
        super().__init__(config, budget=RateBudget({}), patience=patience)
        self.clock = VendorClock("Courier")
        # Whether an endpoint takes `limit`. One that refuses it is asked without it from then on.
        self.takes_limit: dict[str, bool] = {}
        # Walks of parents that several streams use, by the name of the parents' stream.
        self.shared: dict[str, Any] = {}
        # The streams of a sync whose parents are messages.
        self.message_children: list[Any] = []
