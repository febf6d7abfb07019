"""The tables of README and of the results page, from registry/results; and the entries there, from reports.

A figure of several seeds is their mean. In brackets stands the 95 % interval by blocks of frames, of several seeds
from the lowest to the highest end; where none is known, the lowest and the highest seed in round ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from posezoo.catalogue import entries
from posezoo.catalogue.forms import Result, ResultTable
from posezoo.catalogue.settings import setting_text
from posezoo.evaluation import baselines

BASELINES = (baselines.MEAN, baselines.ORACLE, baselines.RETRIEVAL)
DEMO = {
    "demo-loop, overcast": "test-overcast", "demo-loop, sunny": "test-sunny", "demo-loop, evening": "test-evening",
    "demo-loop, winter": "test-winter", "demo-loop, all 240": "",
}  # fmt: skip
SHIPPED = ("posenet-anchors-demo", "atloc-anchors-hyper-demo")
KITCHEN = "7scenes-redkitchen"
ERRORS = ("position_m", "orientation_deg")
Interval = tuple[float, float] | None


class Figure(NamedTuple):
    """A median, or mean, of both errors."""

    position_m: float
    orientation_deg: float | None
    position_m_ci95: Interval
    orientation_deg_ci95: Interval


def entry(report: Mapping[str, Any], origin: str, method: str = "", settings: Mapping[str, Any] = {}) -> dict[str, Any]:
    """A table of the catalogue from a report.json: medians overall and by sequence, the baselines too."""
    trained = report["settings"]["trained"]
    rows = []
    for by in ("overall", "sequence"):
        for row in report["results"].get(by, []):
            of_model = row["method"] == report["model"]
            rows.append({
                "method": (method or row["method"]) if of_model else row["method"],
                **({"model": report["model"]} if of_model else {}),
                **({"settings": dict(settings)} if of_model and settings else {}),
                "data": report["data"],
                **({"sequence": row["group"]} if by == "sequence" else {}),
                "position_m": round(row["median_position_m"], 3),
                "orientation_deg": round(row["median_orientation_deg"], 2),
                **{f"{key}_ci95": [float(f"{end:.3g}") for end in row[f"median_{key}_ci95"]] for key in ERRORS},
            })  # fmt: skip
    facts = {"source": "ours", "origin": origin, "seed": trained["seed"], "commit": trained["commit"]}
    return {**facts, "data_digest": report["data_digest"], "rows": rows}


def readme_text() -> str:
    """What stands between the marks `figures` in README.md."""
    tables = entries.results()
    runs = [table for key, table in tables.items() if key.startswith("demo-loop-posenet+anchors-seed-")]
    shipped = {alias: tables[f"demo-loop-{alias}"] for alias in SHIPPED}
    first = shipped[SHIPPED[0]]
    lines = [
        "Median position (m), median orientation (deg) on the demo's four test drives, trained on overcast days alone,",
        "on two CPU cores without a GPU. The baselines go through the same evaluator. The models are trained with",
        "depth maps of the training images ([motion](docs/concepts.md#motion-by-depth)), and read single pictures.",
        "In brackets: 95 % intervals by blocks of neighbouring frames, of several seeds the outermost ends.",
        "",
        f"| test images | `posenet+anchors`, {_seeds([run.seed for run in runs])} | "
        + " | ".join(f"[`{alias}`](plugins/posezoo_demo/weights/{alias}/README.md), one seed" for alias in SHIPPED)
        + " | nearest training image | oracle nearest pose | mean training pose |",
        "|---|---|---|---|---|---|---|",
    ]
    for words, sequence in DEMO.items():
        cells = [_shown([_of(run, "posenet+anchors", sequence) for run in runs])]
        cells += [_shown([_of(table, alias, sequence)]) for alias, table in shipped.items()]
        cells += [_shown([_of(first, name, sequence)]) for name in reversed(BASELINES)]
        lines.append(f"| {words} | {' | '.join(cells)} |")
    lines += [
        "",
        "Beside the papers: ours are blocks of one sequence, theirs the official split: compare orders of magnitude.",
        "",
    ]
    lines += ["| 7Scenes red kitchen | m, deg | split | source |", "|---|---|---|---|"]
    for table, row in _kitchen(tables.values()):
        split = "blocks of sequence 1" if table.source == "ours" else "official"
        seeds = "" if row.method in BASELINES else f", {_seeds([table.seed])}"
        source = f"ours{seeds}" if table.source == "ours" else table.origin
        lines.append(f"| {_method(row)} | {_shown([_figure(row)])} | {split} | {source} |")
    lines += ["", "What the papers report on other data, and all that we measured: [results](docs/results.md)."]
    return "\n".join(lines) + "\n"


def page_text() -> str:
    """docs/results.md: every row of the catalogue, ours first, by data set."""
    lines = [
        "# Results", "",
        "Written by `python docs/make.py` from `registry/results`. Medians in metres and degrees unless it says mean.",
        "Of several seeds the mean is shown; what was run once says so. In square brackets stands the 95 % interval",
        "by [blocks of neighbouring frames](concepts.md#how-to-read-a-report), of several seeds from the lowest end to",
        "the highest; where none was kept, the lowest and the highest seed in round ones. Papers give no intervals;",
        "their numbers stand with the place where they were read. Rows that contradict each other are both kept.", "",
    ]  # fmt: skip
    groups: dict[str, dict[tuple[str, ...], list[Figure]]] = {}
    tables = sorted(entries.results().values(), key=lambda table: table.source != "ours")
    for table in tables:
        for row in table.rows:
            data = row.data if table.ground_truth == "original" else f"{row.data}, {table.ground_truth} ground truth"
            groups.setdefault(data, {}).setdefault(_key(table, row), []).append(_figure(row))
    sources = list(dict.fromkeys(map(_source, tables)))
    for data in sorted(groups):
        rows = [["method", "m, deg", "of", "settings", "seeds", "source"]]
        for (method, settings, of, source, seeded), figures in groups[data].items():
            count = str(len(figures)) if seeded else ""
            rows.append([method, _shown(figures), of, settings, count, f"[{sources.index(source) + 1}](#sources)"])
        kept = [place for place in range(len(rows[0])) if any(row[place] for row in rows[1:])]
        cells = [" | ".join(row[place] for place in kept) for row in rows]
        lines += [
            f"## {data}",
            "",
            f"| {cells[0]} |",
            "|---" * len(kept) + "|",
            *(f"| {row} |" for row in cells[1:]),
            "",
        ]
    lines += ["## Sources", "", *(f"{n}. {source}" for n, source in enumerate(sources, 1))]
    return "\n".join(lines) + "\n"


def _source(table: ResultTable) -> str:
    """Where a table's figures come from, a command as code, and what is to be known of them."""
    command, bracket, more = table.origin.partition(" (")
    origin = f"`{command}`{bracket}{more}" if table.origin.startswith("posezoo ") else table.origin
    return f"{origin} ({table.note})" if table.note else origin


def _method(row: Result) -> str:
    """As the source calls it, with our name for it."""
    if row.method == row.model:
        return f"`{row.method}`"
    return f"`{row.model}`, {row.method}" if row.model else row.method


def _key(table: ResultTable, row: Result) -> tuple[str, ...]:
    """(method, settings, what it is of, source, whether it depends on the seed)."""
    settings = " ".join(f"`{key}={setting_text(value)}`" for key, value in row.settings.items())
    statistic = "" if row.statistic == "median" else row.statistic
    of = ", ".join(filter(None, (row.scene, row.sequence, statistic))) or "all"
    return _method(row), settings, of, _source(table), "seed" * (table.source == "ours" and row.method not in BASELINES)


def _kitchen(tables: Iterable[ResultTable]) -> list[tuple[ResultTable, Result]]:
    """The rows of README's second table: our full trainings and their baselines, then the papers'."""
    rows = [(table, row) for table in tables for row in table.rows if row.data == KITCHEN]
    full = [pair for pair in rows if pair[0].source == "paper" or "bench grid" not in pair[0].origin]
    return sorted(full, key=lambda pair: (pair[0].source == "paper", pair[1].method in BASELINES, pair[1].position_m))


def _of(table: ResultTable, method: str, sequence: str) -> Figure:
    (row,) = (row for row in table.rows if (row.method, row.sequence) == (method, sequence))
    return _figure(row)


def _figure(row: Result) -> Figure:
    return Figure(row.position_m, row.orientation_deg, row.position_m_ci95, row.orientation_deg_ci95)


def _seeds(seeds: list[int | None]) -> str:
    return "one seed" if len(seeds) == 1 else f"{len(seeds)} seeds"


def _shown(figures: list[Figure]) -> str:
    metres = _spread([one.position_m for one in figures], [one.position_m_ci95 for one in figures])
    degrees = [one.orientation_deg for one in figures if one.orientation_deg is not None]
    return f"{metres}, {_spread(degrees, [one.orientation_deg_ci95 for one in figures])}" if degrees else metres


def _spread(values: list[float], intervals: list[Interval]) -> str:
    mean, known = _number(sum(values) / len(values)), [interval for interval in intervals if interval]
    if len(known) == len(values):
        return f"{mean} [{_number(min(low for low, _ in known))} to {_number(max(high for _, high in known))}]"
    return mean if min(values) == max(values) else f"{mean} ({_number(min(values))} to {_number(max(values))})"


def _number(value: float) -> str:
    """Two decimals; three where a value below 1 has them."""
    return f"{value:.2f}" if value >= 1 or abs(round(value, 2) - value) < 1e-9 else f"{value:.3f}"
