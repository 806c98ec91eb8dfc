"""What the streams of one sync share."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from http_source.config import SourceConfig
from http_source.rate_limiter import RateBudget
from http_source.retry import SYNC_PATIENCE, Patience

# The limit of concurrent requests, for all streams together. At most two streams send requests: the
# one that is read (six pages of a search, or eight children) and the next one (three first pages).
MAX_REQUESTS_AT_ONCE = 16

ConfigT = TypeVar("ConfigT", bound=SourceConfig)


class SyncContext(Generic[ConfigT]):
    """One configuration, one rate budget and one pool of threads for all streams of a sync."""

    def __init__(
        self,
        config: ConfigT,
        *,
        budget: RateBudget | None = None,
        patience: Patience | None = None,
    ) -> None:
        """`budget` is None for a vendor that announces no limits."""
        self.config = config
        self.patience = patience or SYNC_PATIENCE
        self.budget = budget
        # The pool starts a thread only if no other thread is idle.
        self.pool = ThreadPoolExecutor(MAX_REQUESTS_AT_ONCE, thread_name_prefix="requests")
        # The stream that is being read. Prefetch requests of the next stream report no status.
        self.stream_being_read: str | None = None

    def close(self) -> None:
        """End each thread after its current request. Cancel the requests that still wait."""
        self.pool.shutdown(wait=False, cancel_futures=True)
