"""The settings of the process that make a sync cheaper. Each can be measured without.

`python -m benchmarks --only tuning` runs the same sync with each of them switched off and writes
what that costs. What no longer pays is to be dropped. Imports next to nothing, because
`before_imports` runs before the CDK is imported.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc

# Importing the CDK makes a million objects, none of them garbage. The collector would look through
# them again and again meanwhile.
COLLECTOR_RESTS_DURING_IMPORT = True
# What is imported lives until the end, so the collector need not look at it any more; and a page
# makes some thousand objects that all die by reference count.
COLLECTOR_FREEZES_IMPORTS = True
COLLECTOR_THRESHOLDS = (100_000, 50, 100)
# Pages are made in one thread and freed in another. With a heap for each thread, as glibc has by
# default, each heap would grow to the peak.
ONE_HEAP = True
# Bodies are read from the socket in pieces of this size. `requests` itself takes 10 kB.
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
    if COLLECTOR_FREEZES_IMPORTS:
        gc.freeze()
    gc.set_threshold(*COLLECTOR_THRESHOLDS)
    if ONE_HEAP:
        # Other C libraries than glibc have no such setting.
        with contextlib.suppress(AttributeError, OSError, TypeError):
            heap = ctypes.CDLL(None)
            heap.mallopt(_M_ARENA_MAX, 1)
            heap.mallopt(_M_MMAP_THRESHOLD, _OWN_PAGES_FROM_BYTES)
