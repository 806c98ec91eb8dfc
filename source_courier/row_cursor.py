"""Cursors in the published form, `base64("<enqueued ms>,<id>")`, and the proof of them. Pure.

The only cursor of `GET /messages` that Courier ever published has this form. Nothing says that it
holds today. So a walk builds a cursor only after this proof, and never relies on it for a row.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from http_source.columns import Row
from http_source.instants import EpochMs

# 13 digits: milliseconds from 2001 to 2286.
_FORM = re.compile(r"(\d{13}),(\S+)")
# An ID in the form of AWS trace IDs, which no message has.
_NO_ID = "1-00000000-000000000000000000000000"


def build_cursor(moment: EpochMs, ident: str = _NO_ID) -> str:
    """Return the cursor of a row, or of a moment between two rows."""
    return base64.b64encode(f"{moment},{ident}".encode()).decode()


def names_row(cursor: str, moment: EpochMs, ident: str) -> bool:
    """Whether a cursor has the published form and names this row, byte for byte."""
    try:
        text = base64.b64decode(cursor, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return False
    return bool(_FORM.fullmatch(text)) and build_cursor(moment, ident) == cursor


@dataclass(frozen=True)
class Jump:
    """One request of the proof: a built cursor, and the IDs with which its page must begin.

    A cursor may include the row that it names. `named` is this row, if there is one.
    """

    cursor: str
    named: str | None
    following: Sequence[str]

    def succeeds(self, rows: Sequence[Row]) -> bool:
        """Whether the rows of the answer are those that follow the cursor."""
        ids = [row["id"] for row in rows]
        if self.named is not None and ids[:1] == [self.named]:
            ids = ids[1:]
        return bool(self.following) and ids[: len(self.following)] == list(self.following)


def proof(rows: Sequence[Row], moments: Sequence[EpochMs]) -> list[Jump]:
    """Return the two jumps that prove built cursors, from the rows of one page.

    `moments` are those of the rows. The first jump names a row in the middle of the page. The
    second one lies between two rows. Empty if no two neighbours are at least 2 ms apart.
    """
    gap, place = max(_gaps(moments), default=(0, 0))
    if gap < 2:  # noqa: PLR2004 - see above
        return []
    ids = [row["id"] for row in rows]
    middle = (len(rows) - 1) // 2
    between = build_cursor(moments[place] - gap // 2)
    return [
        Jump(build_cursor(moments[middle], ids[middle]), ids[middle], ids[middle + 1 :]),
        Jump(between, None, ids[place + 1 :]),
    ]


def _gaps(moments: Sequence[EpochMs]) -> Iterator[tuple[int, int]]:
    """Each difference of two neighbours with the place of the newer one, if a row follows."""
    for place, (newer, older) in enumerate(pairwise(moments)):
        yield newer - older, place
