"""What the streams of one Kustomer sync share."""

from __future__ import annotations

from typing import Any

from http_source.clock import VendorClock
from http_source.context import SyncContext
from http_source.rate_limiter import RateBudget
from http_source.retry import Patience
from source_kustomer.config import KustomerConfig

# The two buckets. Kustomer limits each of them on its own.
SEARCHES, LISTS = "search", "list"

# "machine users (API keys) get 100 search requests per minute", apart from the organisation's
# limit, which the headers announce: https://developer.kustomer.com/docs/concepts/rate-limits.
DOCUMENTED_LIMITS = {SEARCHES: 100}


class KustomerContext(SyncContext[KustomerConfig]):
    """The configuration, the rate budget and the threads of a sync, and Kustomer's clock."""

    def __init__(self, config: KustomerConfig, *, patience: Patience | None = None) -> None:
        budget = RateBudget(DOCUMENTED_LIMITS, share=config.rate_limit_share / 100)
        super().__init__(config, budget=budget, patience=patience)
        self.clock = VendorClock("Kustomer")
        # The streams that also read a list for other streams, by their names: see lists.py.
        self.shared: dict[str, Any] = {}
        # The streams of one klass each, that are read in this sync.
        self.klass_streams: list[Any] = []
