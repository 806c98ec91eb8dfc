"""Settings of the process that reduce the processor time and the memory of a sync.

`python -m benchmarks --only tuning` runs the same sync with each setting switched off, and reports
the cost. The figures here are for 45,000 rows on CPython 3.11, the minimum of twelve runs. Remove a
setting that no longer helps. This module imports almost nothing, because `before_imports` runs
before the CDK is imported.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc

# The import of the CDK creates a million objects. None of them is garbage, but the collector would
# scan them again and again. Without this setting: 2.02 instead of 1.92 s of processor time for
# `spec`.
COLLECTOR_RESTS_DURING_IMPORT = True
# A page creates some thousand objects. Reference counting frees all of them, so the collector can
# run rarely. Without this setting: 7.2 instead of 6.4 s of processor time.
COLLECTOR_THRESHOLDS = (100_000, 50, 100)
# Pages are created in one thread and freed in another. By default, glibc gives each thread its own
# heap, and each heap would grow to the peak. Without this setting: 150 instead of 128 MB at the
# peak.
ONE_HEAP = True
# Bodies are read from the socket in pieces of this size. `requests` has a default of 10 kB. Without
# this setting: 7.1 instead of 6.4 s of processor time.
BODY_CHUNK_BYTES = 128 * 1024

# Parameters of mallopt (malloc.h): the number of heaps, and the size from which a block gets memory
# pages of its own. These pages return to the system when the block is freed.
_M_ARENA_MAX = -8
_M_MMAP_THRESHOLD = -3
_OWN_PAGES_FROM_BYTES = 128 * 1024


def before_imports() -> None:
    """Call this before the CDK is imported."""
    if COLLECTOR_RESTS_DURING_IMPORT:
        gc.disable()


def after_imports() -> None:
    """Call this after all imports and before the first page is read."""
    gc.enable()
    gc.set_threshold(*COLLECTOR_THRESHOLDS)
    if ONE_HEAP:
        # C libraries other than glibc do not have these settings.
        with contextlib.suppress(AttributeError, OSError, TypeError):
            heap = ctypes.CDLL(None)
            heap.mallopt(_M_ARENA_MAX, 1)
            heap.mallopt(_M_MMAP_THRESHOLD, _OWN_PAGES_FROM_BYTES)
