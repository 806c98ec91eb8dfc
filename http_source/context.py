"""What the streams of one sync share."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from http_source.config import SourceConfig
from http_source.rate_limiter import RateBudget
from http_source.retry import SYNC_PATIENCE, Patience

# Requests under way at once, of all streams together: at most two streams have some, the one that
# is read (six pages of a search, or eight children) and the next one's first pages (three).
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
        # Starts a thread only when a request finds none that is idle.
        self.pool = ThreadPoolExecutor(MAX_REQUESTS_AT_ONCE, thread_name_prefix="requests")
        # The stream that is being read. Requests ahead for the next one have no status to report.
        self.stream_being_read: str | None = None

    def close(self) -> None:
        """Let the threads end once their requests have; those that wait are not sent any more."""
        self.pool.shutdown(wait=False, cancel_futures=True)
