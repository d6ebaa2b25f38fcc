"""Outcomes as a plot: a row of panels for each model, a panel for each figure.

Requires matplotlib (the extra `plots`).
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fleet_bench.compare.results.outcome import ComparedFigure, ModelComparison, Rounds
from fleet_bench.compare.results.report import short, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#8a8f98", "#2f6fb2")
"""A is grey, B blue; they differ in a greyscale print too."""
PANEL_INCHES = 2.6
ROW_INCHES = 3.4
HEADROOM = 1.22


def plot(outcomes: Sequence[ModelComparison], files: Sequence[Path]) -> None:
    """Draw `outcomes` into each of `files`; the suffix (.png, .svg) is the format.

    Bars are medians, error bars minimum and maximum of the rounds. Raises ImportError without
    matplotlib.
    """
    from matplotlib.figure import Figure

    columns = max(len(outcome.rows) for outcome in outcomes)
    figure = Figure(
        figsize=(max(3, columns) * PANEL_INCHES, ROW_INCHES * len(outcomes)), layout="constrained"
    )
    for strip, outcome in zip(
        _list(figure.subfigures(len(outcomes), 1, hspace=0.04)), outcomes, strict=True
    ):
        strip.suptitle(
            f"{title(outcome)}\n{agreement(outcome)}".rstrip(), fontsize=9, x=0.01, ha="left"
        )
        panels = _list(strip.subplots(1, columns))
        for panel in panels[len(outcome.rows) :]:
            panel.set_axis_off()
        for panel, row in zip(panels, outcome.rows, strict=False):
            _draw(panel, row, (outcome.a, outcome.b))
    for path in files:
        figure.savefig(path, dpi=150)


def agreement(outcome: ModelComparison) -> str:
    """The facts about agreement as one line."""
    return "Outputs: " + "; ".join(f"{fact.name} {fact.text}" for fact in outcome.agreement)


def _draw(panel: Axes, row: ComparedFigure, names: tuple[str, str]) -> None:
    sides = (row.a, row.b)
    heights = [side.median for side in sides]
    labels = [textwrap.fill(name, 16) for name in names]
    panel.bar([0, 1], heights, color=COLOURS, width=0.68)
    whiskers = [_whisker(side) for side in sides]
    if any(low or high for low, high in whiskers):
        panel.errorbar(
            [0, 1], heights, yerr=list(zip(*whiskers, strict=True)), fmt="none",
            ecolor="#202020", elinewidth=1, capsize=4,
        )  # fmt: skip
    for place, side in enumerate(sides):
        panel.annotate(
            short(side.median), (place, max(side.values)), xytext=(0, 4),
            textcoords="offset points", ha="center", fontsize=8,
        )  # fmt: skip
    panel.set_xticks([0, 1], labels, fontsize=7)
    panel.tick_params(axis="y", labelsize=7)
    panel.set_ylim(0, HEADROOM * max(max(side.values) for side in sides) or 1)
    panel.spines[["top", "right"]].set_visible(False)
    panel.set_title(f"{row.name}, {row.unit}\n{_verdict(row)}", fontsize=8)


def _verdict(row: ComparedFigure) -> str:
    wanted = "more is better" if row.more_is_better else "less is better"
    return wanted if row.ratio is None else f"B {row.ratio:.2f} times ({wanted})"


def _whisker(side: Rounds) -> tuple[float, float]:
    return side.median - min(side.values), max(side.values) - side.median


def _list(found: Any) -> list[Any]:
    """A list of what matplotlib returns: one object, or an array of them."""
    return list(found.ravel()) if hasattr(found, "ravel") else [found]
