"""Draws the pictures of the README from the last results of the benchmarks.

    python -m benchmarks.charts

Reads the tables of results.md and completeness.md, which the other modules write, so the pictures
cannot say anything else. Needs matplotlib (requirements/bench.txt). `make bench` runs it last.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

_HERE = Path(__file__).parent
_PICTURES = _HERE.parent / "docs/pictures"
# The scenario in which all readers wait for the same slow vendor.
_SPEED_SCENARIO = "## 1-s"
# Okabe and Ito's palette. It is readable with any kind of colour vision.
_OURS, _ORANGE, _GREY = "#0072b2", "#e69f00", "#999999"
_BAR = 0.27
_STYLE = {
    # Text stays text, so that it can be searched, and tests can read it.
    "svg.fonttype": "none",
    # The same figures make the same file.
    "svg.hashsalt": "charts",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.titlesize": 11,
}


def table(text: str) -> list[dict[str, str]]:
    """Return the rows of the first Markdown table in a text."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    head, _, *rows = ([cell.strip() for cell in line.strip("|").split(" | ")] for line in lines)
    return [dict(zip(head, row, strict=True)) for row in rows]


def draw_speed(results: str) -> Figure:
    """Draw how long each reader takes if each answer takes a second."""
    section = results.partition(f"\n{_SPEED_SCENARIO}")[2].partition("\n## ")[0]
    title = section.partition("\n")[0].removeprefix(": ")
    names = {"ours": "this source", "floor": "one request after the other"}
    runs = [
        (
            names.get(row["reader"], row["reader"]),
            float(row["wall s"].split()[0]),
            row["requests"].split()[0],
        )
        for row in table(section)
    ]
    runs.sort(key=lambda run: run[1])
    figure = Figure((8, 2.4), layout="constrained")
    axes = figure.subplots()
    for place, (name, seconds, requests) in enumerate(runs):
        axes.barh(place, seconds, 0.6, color=_OURS if name == "this source" else _GREY)
        axes.annotate(
            f"{seconds:.1f} s, {requests} requests",
            (seconds, place),
            (4, 0),
            textcoords="offset points",
            va="center",
        )
    figure.suptitle(f"Seconds for a whole read. {title}", x=0.01, ha="left")
    axes.set_yticks(range(len(runs)), [name for name, *_ in runs])
    axes.set_xlim(0, 1.35 * max(seconds for _, seconds, _ in runs))
    _tidy(axes)
    return figure


def draw_lost(completeness: str) -> Figure:
    """Draw how many rows each reader loses, in the scenarios in which any reader loses some."""
    rows = table(completeness)
    readers = [head.removesuffix(": lost") for head in rows[0] if head.endswith(": lost")]
    losses = [
        (_titled(row, before), [row[f"{reader}: lost"] for reader in readers])
        for before, row in zip([None, *rows], rows, strict=False)
    ]
    losses = [(title, cells) for title, cells in losses if any(map(_lost, cells))]
    figure = Figure((8, 0.6 * len(losses) + 0.8), layout="constrained")
    axes = figure.subplots()
    for number, (reader, colour) in enumerate(zip(readers, (_OURS, _ORANGE, _GREY), strict=True)):
        places = [place + (number - 1) * _BAR for place in range(len(losses))]
        cells = [cells[number] for _, cells in losses]
        bars = axes.barh(places, list(map(_lost, cells)), _BAR, color=colour, label=reader)
        words = [f"{_lost(cell):,}{', never ends' * cell.startswith('loops')}" for cell in cells]
        axes.bar_label(bars, words, padding=3, fontsize=8)
    figure.suptitle("Rows lost", x=0.01, ha="left")
    axes.set_yticks(range(len(losses)), [title for title, _ in losses])
    axes.set_xlim(0, 1.25 * max(_lost(cell) for _, cells in losses for cell in cells))
    axes.margins(y=0.01)
    figure.legend(frameon=False, loc="outside upper right", ncols=len(readers))
    _tidy(axes)
    return figure


def _titled(row: dict[str, str], before: dict[str, str] | None) -> str:
    """Name a scenario. "The same" needs the words of the row before."""
    title = row["Scenario"].partition(". ")[2]
    if title.startswith("The same") and before is not None:
        title = f"{before['Scenario'].partition('. ')[2]}{title.removeprefix('The same')}"
    title = title.replace("`", "")
    if row["Sync"] != "full refresh":
        title += f" ({row['Sync']})"
    return "\n".join(_lines(title))


def _lines(text: str, most: int = 44) -> Sequence[str]:
    """Break a text into lines."""
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + len(word) >= most:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def _lost(cell: str) -> int:
    """Return the number in a cell such as "6,898" or "loops, 16,952 never reached"."""
    return int(cell.removeprefix("loops, ").removesuffix(" never reached").replace(",", ""))


def _tidy(axes: Axes) -> None:
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#dddddd")
    axes.set_axisbelow(True)


def main() -> None:
    """Write both pictures."""
    _PICTURES.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(_STYLE):
        for name, figure in (
            ("speed", draw_speed((_HERE / "results.md").read_text())),
            ("lost", draw_lost((_HERE / "completeness.md").read_text())),
        ):
            path = _PICTURES / f"{name}.svg"
            figure.savefig(path, metadata={"Date": None, "Creator": None})
            print(f"Written to docs/pictures/{path.name}.")


if __name__ == "__main__":
    main()
