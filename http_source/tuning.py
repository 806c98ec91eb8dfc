"""The settings of the process that make a sync cheaper.

`python -m benchmarks --only tuning` runs the same sync with each of them switched off, and writes
what that costs. The figures here are of 45,000 rows on CPython 3.11, the least of twelve runs. Drop
what no longer pays. This module imports next to nothing, because `before_imports` runs before the
CDK is imported.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc

# Importing the CDK makes a million objects, none of them garbage. The collector would look through
# them again and again meanwhile. Without: 2.02 instead of 1.92 s of processor time for `spec`.
COLLECTOR_RESTS_DURING_IMPORT = True
# A page makes some thousand objects that all die by reference count, so the collector need not look
# often. Without: 7.2 instead of 6.4 s of processor time.
COLLECTOR_THRESHOLDS = (100_000, 50, 100)
# Pages are made in one thread and freed in another. glibc gives each thread a heap by default, and
# each of them would grow to the peak. Without: 150 instead of 128 MB at the peak.
ONE_HEAP = True
# Bodies are read from the socket in pieces of this size. `requests` itself takes 10 kB. Without:
# 7.1 instead of 6.4 s of processor time.
BODY_CHUNK_BYTES = 128 * 1024

# mallopt's parameters for the number of heaps, and for the size from which a block gets pages of
# its own, which go back to the system when it is freed (malloc.h).
_M_ARENA_MAX = -8
_M_MMAP_THRESHOLD = -3
_OWN_PAGES_FROM_BYTES = 128 * 1024


def before_imports() -> None:
    """Call this before the CDK is imported."""
    if COLLECTOR_RESTS_DURING_IMPORT:
        gc.disable()


def after_imports() -> None:
    """Call this when everything is imported, and before the first page is read."""
    gc.enable()
    gc.set_threshold(*COLLECTOR_THRESHOLDS)
    if ONE_HEAP:
        # Other C libraries than glibc have no such setting.
        with contextlib.suppress(AttributeError, OSError, TypeError):
            heap = ctypes.CDLL(None)
            heap.mallopt(_M_ARENA_MAX, 1)
            heap.mallopt(_M_MMAP_THRESHOLD, _OWN_PAGES_FROM_BYTES)
