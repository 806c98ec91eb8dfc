"""Proposes windows of about equal size for a backfill side by side: the verb `windows`.

Kustomer's counts are only a basis for a proposal. A sync of a window is exact, whatever it holds:
see docs/backfill.md.

The sizes are found with few searches. Each search of a stream (the normal one, and the archive's)
is counted as a whole. If Kustomer stops counting at 10,000, the timeline is divided into parts, and
parts that still cannot be counted are sampled. Then parts at the border of two windows are halved
until the border is precise enough.
"""

from __future__ import annotations

import argparse
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal, TextIO

from http_source.errors import config_error
from http_source.instants import EpochMs, format_instant
from http_source.verbs import Verb
from source_kustomer.client import UnsupportedAttributeError
from source_kustomer.config import KustomerConfig
from source_kustomer.context import DOCUMENTED_LIMITS, SEARCHES, KustomerContext
from source_kustomer.paging import PAGE_SIZE
from source_kustomer.search import SearchStream
from source_kustomer.stream import KustomerStream
from source_kustomer.timeline import INDEX_LAG

# A count of exactly this many rows may be a higher one that was cut off: see section 5 of
# docs/vendors/kustomer.md.
COUNT_CAP = 10_000
# The most counts for one search of one stream. It bounds the time that a proposal takes.
MAX_COUNTS = 60
# How many of these may divide parts whose count is cut off, each into four, and how many may divide
# and sample such parts. The rest makes borders more precise.
_MAX_DIVIDING = 24
_MAX_CENSUS = 48
_FAN = 4
# How many counts may look for the width of one sample.
_MAX_TRIES = 8
# Parts are divided at whole seconds.
_SECOND: EpochMs = 1000
# A border between two windows is precise enough if the parts around it hold this share of a window.
_PRECISE = 0.1
_MAX_WINDOWS = 100


class CountedSearch:
    """One search of one stream in [lower, upper). `ask` counts its rows in a part of that."""

    def __init__(
        self, stream: str, lower: EpochMs, upper: EpochMs, ask: Callable[[EpochMs, EpochMs], int]
    ) -> None:
        self.stream = stream
        self.lower = lower
        self.upper = upper
        self.requests = 0
        self._ask = ask

    def count(self, lower: EpochMs, upper: EpochMs) -> int:
        """Count the rows in [lower, upper), with one request."""
        self.requests += 1
        return self._ask(lower, upper)


@dataclass(frozen=True)
class Part:
    """The rows of one search in [lower, upper).

    They are counted, estimated from a sample, or at least so many because the count is cut off.
    """

    search: CountedSearch
    lower: EpochMs
    upper: EpochMs
    rows: int
    certainty: Literal["counted", "sampled", "at least"] = "counted"
    # How long the sample is.
    width: EpochMs = 0

    def within(self, lower: EpochMs, upper: EpochMs) -> float:
        """About how many of the rows are in [lower, upper), if they are spread evenly."""
        shared = min(self.upper, upper) - max(self.lower, lower)
        return self.rows * max(0, shared) / (self.upper - self.lower)


def survey(searches: Sequence[CountedSearch], wanted: int) -> list[Part]:
    """Count the searches in parts that are fine enough for `wanted` windows.

    It sends at most `MAX_COUNTS` requests per search on average.
    """
    parts = [part for search in searches for part in _census(search)]
    most = MAX_COUNTS * len(searches)
    while sum(search.requests for search in searches) + 2 * _MAX_TRIES <= most:
        coarse = _coarsest(parts, wanted)
        if coarse is None:
            break
        parts.remove(coarse)
        parts.extend(_halves(coarse))
    return parts


def borders(parts: Sequence[Part], start: EpochMs, end: EpochMs, wanted: int) -> list[EpochMs]:
    """Return the borders of at most `wanted` windows of about equal size, from start to end. Pure.

    They ascend. Those between windows are whole seconds. There are fewer windows if there are fewer
    rows, or if one second holds more rows than a window.
    """
    found = [start]
    for cut in _cuts(parts, wanted):
        border = round(cut / _SECOND) * _SECOND
        if found[-1] < border < end:
            found.append(border)
    return [*found, end]


def _census(search: CountedSearch) -> Iterator[Part]:
    """Count a search: as a whole, or in parts if the count is cut off."""
    whole = _counted(search, search.lower, search.upper)
    waiting = deque([whole])
    unknown = []
    while waiting:
        part = waiting.popleft()
        if part.certainty == "counted":
            yield part
            continue
        edges = _quarters(part)
        if search.requests + len(edges) - 1 > _MAX_DIVIDING or len(edges) == 2:  # noqa: PLR2004
            unknown.append(part)
            continue
        # The widest part is the next to be divided.
        waiting.extend(_counted(search, lower, upper) for lower, upper in pairwise(edges))
    width = search.upper - search.lower
    for part in sorted(unknown, key=lambda one: one.lower):
        room = _MAX_CENSUS - search.requests
        sampled = _sampled(part, width, min(room, _MAX_TRIES))
        width = sampled.width or width
        yield sampled


def _counted(search: CountedSearch, lower: EpochMs, upper: EpochMs) -> Part:
    rows = search.count(lower, upper)
    return Part(search, lower, upper, rows, "at least" if rows == COUNT_CAP else "counted")


def _sampled(part: Part, width: EpochMs, tries: int) -> Part:
    """Estimate the rows of a part from a shorter time in its middle, which can be counted.

    The first try is `width` long. If no sample says more than the part, that is returned as it is.
    """
    whole = part.upper - part.lower
    width = max(_SECOND, min(width, whole // _FAN))
    sample: tuple[int, EpochMs] | None = None
    is_cut_off = False
    for _ in range(tries):
        if not _SECOND <= width < whole:
            break
        lower = part.lower + (whole - width) // 2
        rows = part.search.count(lower, lower + width)
        if rows == COUNT_CAP:
            if sample is not None:
                break
            is_cut_off = True
            width //= _FAN
            continue
        sample = rows, width
        if is_cut_off or rows * _FAN >= COUNT_CAP:
            break
        width *= _FAN
    rows, width = sample or (0, 0)
    estimate = rows * whole // width if width else 0
    if estimate < part.rows:
        # The rows are dense elsewhere.
        return part
    return replace(part, rows=estimate, certainty="sampled", width=width)


def _halves(part: Part) -> Iterator[Part]:
    """Count the halves of a part, or sample them if their counts are cut off."""
    middle = _second_within(part.lower, part.upper)
    if part.certainty == "counted":
        # Rows may have moved since the part was counted.
        left = min(part.rows, part.search.count(part.lower, middle))
        yield replace(part, upper=middle, rows=left)
        yield replace(part, lower=middle, rows=part.rows - left)
        return
    for lower, upper in ((part.lower, middle), (middle, part.upper)):
        half = _counted(part.search, lower, upper)
        is_counted = half.certainty == "counted"
        width = part.width or upper - lower
        yield half if is_counted else _sampled(half, width, _MAX_TRIES - 1)


def _second_within(lower: EpochMs, upper: EpochMs) -> EpochMs:
    """The whole second that is nearest to the middle; `lower` if none lies in between."""
    middle = (lower + upper) // 2 // _SECOND * _SECOND
    if middle <= lower:
        middle += _SECOND
    return middle if middle < upper else lower


def _quarters(part: Part) -> list[EpochMs]:
    """The edges of up to four pieces of a part. Between them are whole seconds."""
    middle = _second_within(part.lower, part.upper)
    first, last = _second_within(part.lower, middle), _second_within(middle, part.upper)
    return sorted({part.lower, first, middle, last, part.upper})


def _coarsest(parts: Sequence[Part], wanted: int) -> Part | None:
    """The part to be halved next: the largest one around the least precise border."""
    share = sum(part.rows for part in parts) / wanted
    found: list[Part] = []
    least = max(_PRECISE * share, 1.0)
    for cut in _cuts(parts, wanted):
        around = [part for part in parts if part.lower < cut < part.upper]
        fine = sum(part.rows for part in around)
        halvable = [
            part
            for part in around
            if part.rows and _second_within(part.lower, part.upper) > part.lower
        ]
        if halvable and fine > least:
            least, found = fine, halvable
    return max(found, key=lambda part: part.rows, default=None)


def _cuts(parts: Sequence[Part], wanted: int) -> list[float]:
    """The moments that divide all rows into equal shares, if each part's are spread evenly."""
    total = sum(part.rows for part in parts)
    shares = min(wanted, total)
    changes: dict[EpochMs, float] = {}
    for part in parts:
        rate = part.rows / (part.upper - part.lower)
        changes[part.lower] = changes.get(part.lower, 0.0) + rate
        changes[part.upper] = changes.get(part.upper, 0.0) - rate
    cuts: list[float] = []
    rate = passed = 0.0
    for lower, upper in pairwise(sorted(changes)):
        rate = max(0.0, rate + changes[lower])
        after = passed + rate * (upper - lower)
        while len(cuts) + 1 < shares and (target := total * (len(cuts) + 1) / shares) <= after:
            cuts.append(lower + (target - passed) / rate if rate else float(lower))
        passed = after
    return cuts


class WindowsVerb(Verb):
    """`source-kustomer windows --config secrets/kustomer.json --windows 4`."""

    name = "windows"
    summary = "Propose windows of about equal size for a backfill with several API keys."
    purpose = (
        "Propose windows of about equal size for a backfill with several API keys, from Kustomer's "
        "counts. See docs/backfill.md."
    )

    def __init__(self, streams: Sequence[type[KustomerStream]]) -> None:
        """`streams` are all streams of the source. Those read by a search can be counted."""
        self._searches = {
            stream.name: stream for stream in streams if issubclass(stream, SearchStream)
        }

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add `--windows` and `--streams`."""
        documented = [name for name, stream in self._searches.items() if not stream.is_guarded]
        parser.add_argument(
            "--windows",
            type=int,
            required=True,
            choices=range(1, _MAX_WINDOWS + 1),
            metavar=f"1..{_MAX_WINDOWS}",
            help="how many windows, at most",
        )
        parser.add_argument(
            "--streams",
            default=",".join(documented),
            help="the streams of the backfill that a search finds (default: %(default)s)",
        )

    def run(self, config: Mapping[str, Any], args: argparse.Namespace, out: TextIO) -> int:
        """Write the windows. Raises an AirbyteTracedException."""
        chosen = self._chosen(args.streams)
        context = KustomerContext(KustomerConfig.from_mapping(config))
        try:
            streams = [stream(context) for stream in chosen]
            proposal = _propose(context, streams, args.windows, out)
        except UnsupportedAttributeError as error:
            raise config_error(
                "Kustomer's search does not support the cursor of one of these streams, so "
                f"it cannot be counted ({error}). Leave out of --streams: "
                f"{', '.join(stream.name for stream in chosen if stream.is_guarded)}."
            ) from None
        finally:
            context.close()
        out.write("\n".join(proposal.lines(args.windows)) + "\n")
        return 0

    def _chosen(self, text: str) -> list[type[SearchStream]]:
        names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
        unknown = [name for name in names if name not in self._searches]
        if unknown or not names:
            raise config_error(
                f"--streams names {', '.join(unknown) or 'no stream'}. Windows are proposed for "
                f"streams that a search finds: {', '.join(self._searches)}."
            )
        return [self._searches[name] for name in names]


@dataclass(frozen=True)
class _Proposal:
    """The windows between borders, the parts that tell their size, and what they are told with."""

    streams: Sequence[str]
    parts: Sequence[Part]
    borders: Sequence[EpochMs]
    requests: int
    searches_a_minute: int

    def lines(self, wanted: int) -> Iterator[str]:
        """Yield the text for the user, line by line."""
        yield ""
        minutes = []
        for number, (lower, upper) in enumerate(pairwise(self.borders), start=1):
            rows = {name: self._rows(name, lower, upper) for name in self.streams}
            minutes.append(self._minutes(rows.values()))
            about = "at least" if self._has("at least", lower, upper) else "about"
            yield f"Window {number}: {about} {sum(rows.values()):,} rows, {minutes[-1]:,} min"
            yield f'  "start_date": "{_text(lower)}", "end_date": "{_text(upper)}"'
            yield f"  {', '.join(f'{name} {count:,}' for name, count in rows.items())}"
        start, end = self.borders[0], self.borders[-1]
        everything = [self._rows(name, start, end) for name in self.streams]
        one, many = self._minutes(everything), max(minutes)
        about = "at least" if self._has("at least", start, end) else "about"
        yield ""
        yield (
            f"In all: {about} {sum(everything):,} rows. At best, one key takes {one:,} min, and "
            f"one key per window {many:,} min: {self.searches_a_minute} searches a minute per key, "
            f"{PAGE_SIZE} rows a search."
        )
        if len(minutes) < wanted:
            yield (
                f"These are fewer windows than {wanted}: there are few rows, or many rows share "
                "one moment."
            )
        if self._has("sampled", start, end):
            yield (
                f"Kustomer counts no further than {COUNT_CAP:,} rows. So some of these figures are "
                "estimated from samples."
            )
        if self._has("at least", start, end):
            yield (
                f"Kustomer counts no further than {COUNT_CAP:,} rows. Figures with 'at least' are "
                "lower bounds."
            )
        yield (
            f"Kustomer was asked {self.requests} times. The counts only propose dates: each window "
            "is read completely, whatever it holds."
        )
        yield "Next: docs/backfill.md, 'The recipe'."

    def _rows(self, stream: str, lower: EpochMs, upper: EpochMs) -> int:
        return round(
            sum(part.within(lower, upper) for part in self.parts if part.search.stream == stream)
        )

    def _minutes(self, rows: Iterable[int]) -> int:
        searches = sum(math.ceil(count / PAGE_SIZE) for count in rows)
        return math.ceil(searches / self.searches_a_minute)

    def _has(self, certainty: str, lower: EpochMs, upper: EpochMs) -> bool:
        return any(part.certainty == certainty and part.within(lower, upper) for part in self.parts)


def _propose(
    context: KustomerContext, streams: Sequence[SearchStream], wanted: int, out: TextIO
) -> _Proposal:
    config = context.config
    # The answer tells Kustomer's clock too. It raises what a sync would raise.
    streams[0].probe()
    now = context.clock.now()
    start = config.start
    end = (now - INDEX_LAG) // _SECOND * _SECOND
    if config.end is not None:
        end = min(end, config.end)
    if start >= end:
        raise config_error(
            "The start date is not before the moment up to which a sync reads (two minutes before "
            "now). So there is nothing to divide into windows."
        )
    searches = [
        search
        for stream in streams
        for search in _searches(stream, start, end, now, include_archived=config.include_archived)
    ]
    out.write(
        f"Counting {', '.join(stream.name for stream in streams)} from {_text(start)} to "
        f"{_text(end)}, with at most {MAX_COUNTS * len(searches) + 1} searches.\n"
    )
    out.flush()
    parts = survey(searches, wanted)
    return _Proposal(
        [stream.name for stream in streams],
        parts,
        borders(parts, start, end, wanted),
        1 + sum(search.requests for search in searches),
        max(1, DOCUMENTED_LIMITS[SEARCHES] * config.rate_limit_share // 100),
    )


def _searches(
    stream: SearchStream, start: EpochMs, end: EpochMs, now: EpochMs, *, include_archived: bool
) -> Iterator[CountedSearch]:
    """The searches that contain the rows of a stream, without the overlap of the seam."""
    has_archive = stream.has_archive and include_archived
    horizon = now - stream.horizon
    for archive, lower, upper in (
        (True, start, min(horizon, end)),
        (False, max(start, horizon), end),
    ):
        if lower < upper and (has_archive or not archive):
            yield CountedSearch(stream.name, lower, upper, _counting(stream, archive=archive))


def _counting(stream: SearchStream, *, archive: bool) -> Callable[[EpochMs, EpochMs], int]:
    def count(lower: EpochMs, upper: EpochMs) -> int:
        rows = stream.count(lower, upper, archive=archive)
        if rows is None:
            raise config_error(
                f"Kustomer's search does not tell how many {stream.name} it finds (meta.total is "
                "missing). So no windows of equal size can be proposed. Choose the dates by hand: "
                "see 'The recipe' in docs/backfill.md."
            )
        return rows

    return count


def _text(instant: EpochMs) -> str:
    return format_instant(instant).replace(".000Z", "Z")
