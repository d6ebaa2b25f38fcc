"""Outcomes as tables: for a terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from fleet_bench.compare.results.outcome import ComparedFigure, ModelComparison, Rounds


def table(outcome: ModelComparison) -> Table:
    """A row for each figure, then one for each fact about agreement."""
    made = Table(
        "figure", f"A: {outcome.a}", f"B: {outcome.b}", "B is better",
        title=title(outcome), title_justify="left",
    )  # fmt: skip
    for column in made.columns[1:]:
        column.justify, column.overflow = "right", "fold"
    for row in outcome.rows:
        made.add_row(*cells(row))
    made.add_section()
    for fact in outcome.agreement:
        made.add_row(fact.name, "", fact.text, "")
    return made


def markdown(outcomes: Sequence[ModelComparison], taken_on: str) -> str:
    """A section for each model, after an explanation of the columns."""
    parts = [
        "# Comparison",
        "",
        f"{taken_on}.",
        "",
        "Rounds of A and B in turns. A cell is the median of the rounds, with minimum and maximum; "
        "the last column is the median of the ratios of all rounds, above 1 if B is better.",
    ]
    for outcome in outcomes:
        parts += ["", f"## {title(outcome)}", ""]
        parts += [f"| figure | A: {outcome.a} | B: {outcome.b} | B is better |"]
        parts += ["|---|---:|---:|---:|"]
        parts += [f"| {' | '.join(cells(row))} |" for row in outcome.rows]
        if outcome.agreement:
            parts += ["", "| agreement of outputs | |", "|---|---:|"]
            parts += [f"| {fact.name} | {fact.text} |" for fact in outcome.agreement]
    return "\n".join(parts) + "\n"


def title(outcome: ModelComparison) -> str:
    """Model, task and load."""
    return (
        f"{outcome.model}, {outcome.task}: {outcome.requests} requests a round, "
        f"{outcome.concurrency} at once"
    )


def cells(row: ComparedFigure) -> tuple[str, str, str, str]:
    """Name and unit, both sides, ratio."""
    ratio = "" if row.ratio is None else f"{row.ratio:.2f} times"
    return (f"{row.name}, {row.unit}", spread(row.a), spread(row.b), ratio)


def spread(rounds: Rounds) -> str:
    """`median (minimum to maximum)`, or the median alone where rounds do not differ."""
    least, most = min(rounds.values), max(rounds.values)
    if short(least) == short(most):
        return short(rounds.median)
    return f"{short(rounds.median)} ({short(least)} to {short(most)})"


def short(value: float) -> str:
    """About three digits."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
