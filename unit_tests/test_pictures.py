"""The pictures say what the tables of the benchmarks say, and the documents show them."""

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "docs/pictures"
RESULTS = (ROOT / "benchmarks/results.md").read_text()
COMPLETENESS = (ROOT / "benchmarks/completeness.md").read_text()


def words(name):
    """All texts in a picture."""
    return [
        text.text for text in ET.parse(PICTURES / name).iter("{http://www.w3.org/2000/svg}text")
    ]


def test_the_picture_of_speed_has_the_figures_of_the_last_run():
    section = RESULTS.partition("\n## 1-s")[2].partition("\n## ")[0]
    runs = re.findall(
        r"^\| \S[^|]*\| [\d,]+ +\| ([\d.]+)[^|]*\|[^|]*\|[^|]*\| (\d+)", section, re.MULTILINE
    )
    assert len(runs) == 4
    shown = [text for text in words("speed.svg") if "requests" in text]
    expected = sorted((float(seconds), int(requests)) for seconds, requests in runs)
    assert shown == [f"{seconds:.1f} s, {requests} requests" for seconds, requests in expected]


def test_the_picture_of_lost_rows_has_the_figures_of_the_last_run():
    rows = [line.split(" | ") for line in COMPLETENESS.splitlines() if re.match(r"\| \d+\. ", line)]
    # Ours, "gte, page 1" and "gt after page 100".
    losses = [[row[column] for column in (3, 5, 7)] for row in rows]
    losses = [lost for lost in losses if set(lost) != {"0"}]
    expected = [
        cell.replace("loops, ", "").replace(" never reached", ", never ends")
        for reader in zip(*losses, strict=True)
        for cell in reader
    ]
    shown = [text for text in words("lost.svg") if re.fullmatch(r"[\d,]+(, never ends)?", text)]
    assert len(losses) > 8
    assert shown[-len(expected) :] == expected


@pytest.mark.parametrize("name", sorted(path.name for path in PICTURES.iterdir()))
def test_every_picture_is_shown_with_words_for_those_who_do_not_see_it(name):
    assert re.search(
        rf"!\[[^\]]{{20,}}\]\(docs/pictures/{re.escape(name)}\)", (ROOT / "README.md").read_text()
    )
    assert (PICTURES / name).stat().st_size < 100_000
