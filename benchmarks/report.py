"""What ``table.py`` writes: results as a Markdown table, and that table in its place in a README."""

from __future__ import annotations

import json
import textwrap
from argparse import Namespace
from typing import Any

from mmgan.cli.bench import duration

#: Characters in a line of text.
WIDTH = 118
#: What the table stands between in a README.
BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"


def publish(table: str, results: dict[str, Any], options: Namespace) -> None:
    """Print a table, and write it and its results where ``--markdown`` and ``--json`` say."""
    print(table, end="")
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    if options.markdown:
        options.markdown.write_text(table, encoding="utf-8")


def markdown(results: dict[str, Any]) -> str:
    """Write results as a table, with where and when they were measured and how to do it again."""
    rates = [
        f"{ceiling['flops_per_s'] / 1e9:,.0f} GFLOP/s in {name}"
        for name, ceiling in results["ceiling"].items()
    ]
    threads = f"{results['threads']} thread{'s' if results['threads'] > 1 else ''}"
    features = " ".join(results["cpu_features"])
    torch = results["torch"].partition("+")[0]
    head = (
        f"{results['date'][:10]}, {results['cpu']} ({features}), {threads}, torch {torch}, "
        f"mmgan {results['mmgan']}; medians of {results['rounds']} rounds, with quartiles. The plain loop is "
        "in fp32. Engine overhead is the extra time per step over a hand-written loop with the same "
        "optimisations. The ceiling is the rate of a matrix product in the same precision: "
        f"{' and '.join(rates)}."
    )
    lines = [
        textwrap.fill(head, WIDTH),
        "",
        'Measured and written by `make bench ARGS="--readme README.md"`:',
        "",
        "| a step of | precision | plain loop | mmgan | times faster | engine overhead | of the ceiling |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [row(case, results["ceiling"]) for case in results["cases"].values()]
    return "\n".join(lines) + "\n"


def row(case: dict[str, Any], ceilings: dict[str, Any]) -> str:
    """Write a case as a row of the table."""
    seconds, faster, engine = case["seconds_per_step"], case["times_faster"], case["engine"]
    times = [duration(seconds[loop]["median"]) if loop in seconds else "" for loop in ("plain", "mmgan")]
    costs = [f"{100 * (value - 1):+.1f}" for value in in_order(engine)] if engine else []
    ratios = [f"{value:.2f}" for value in in_order(faster)] if faster else []
    fraction = f"{fraction_of_ceiling(case, ceilings):.0%}"
    cells = [case["what"], case["precision"], *times, ranged(ratios), ranged(costs, "%"), fraction]
    return f"| {' | '.join(cells)} |"


def in_order(spread: dict[str, float]) -> list[float]:
    """Return the median and the lower and upper quartiles."""
    return [spread[name] for name in ("median", "lower_quartile", "upper_quartile")]


def ranged(texts: list[str], unit: str = "") -> str:
    """Write a median with its quartiles; nothing where there is none."""
    if not texts:
        return ""
    median, lower, upper = texts
    return f"{median}{unit} ({lower} to {upper})"


def fraction_of_ceiling(case: dict[str, Any], ceilings: dict[str, Any]) -> float:
    """Return mmgan's rate of operations as a part of a matrix product's in the same format."""
    rate = case["flops_per_step"] / case["seconds_per_step"]["mmgan"]["median"]
    return rate / ceilings[case["precision"]]["flops_per_s"]


def replaced(text: str, table: str) -> str:
    """Return a text with what is between the markers replaced by a table.

    Raises:
        ValueError: The markers are not there, once and in their order.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end) or BEGIN in rest or END in before + after:
        raise ValueError(f"the table's place is missing, or is there twice: {BEGIN} … {END}")
    return f"{before}{BEGIN}\n\n{table}\n{END}{after}"
