"""Writes what is generated: `python docs/make.py` writes everything that follows from the code and the catalogue.

    python docs/make.py                 everything: the shipped models are evaluated on the demo, which takes a minute
    python docs/make.py texts           only what is written from code and catalogue: keys, sizes, tables of the pages
    python docs/make.py results RUN ... first adds what runs on the demo reached to the catalogue, one table a seed
    python docs/make.py question OUT ...  first adds what studies of the grids question/* found (docs/question.py)
    python docs/make.py clusters OUT ...  first adds what studies of weights found (docs/clusters.py)
    python docs/make.py notebooks       executes the notebooks and writes their pages (a few minutes)
    python docs/make.py speed           also measures the milliseconds of registry/sizes (some minutes, one core)

Tests write the same texts again and compare (tests/test_docs_make.py).
"""

from __future__ import annotations

import itertools
import json
import re
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import clusters
import pictures
import question
import question_pictures
import results
import tomli_w

from posezoo.base.files.write import write_whole
from posezoo.catalogue import entries
from posezoo.catalogue.settings import field_names, setting_text

ROOT = Path(__file__).parent.parent
KEYS, SIZES = ROOT / "registry" / "keys.toml", ROOT / "registry" / "sizes" / "models.toml"
GALLERY, RESULTS, README = ROOT / "docs" / "gallery.md", ROOT / "docs" / "results.md", ROOT / "README.md"
SHIPPED, RUNS = (ROOT / "registry" / "results" / f"{name}.toml" for name in ("demo", "runs"))
ROUNDS = 15


def keys_text() -> str:
    """registry/keys.toml: each setting's values and default."""
    from posezoo.cli import keys

    owners: dict[str, dict[str, Any]] = {}
    run = {"data", "optim", "loss", "augment", "checkpoint"}
    for row in keys.of_model(None):
        owner = "run" if row["group"] in run else row["group"]
        entry: dict[str, Any] = {"default": setting_text(row["default"])}
        if row["type"] == "true or false":
            entry["values"] = ["true", "false"]
        elif row["type"].startswith("one of "):
            words, _, none = row["type"].removeprefix("one of ").partition(", or none")
            entry["values"] = words.split(", ") + (["none"] if row["type"].endswith(", or none") else [])
        owners.setdefault(owner, {})[row["key"]] = entry
    return "# Written by `python docs/make.py`.\n\n" + tomli_w.dumps(owners)


def parameters(name: str) -> int:
    """The parameters of a model with its published settings and one scene."""
    import torch

    from posezoo.zoo.build import create_model

    with torch.device("meta"):
        model = create_model(name, pretrained_backbone=False)
    return sum(parameter.numel() for parameter in model.parameters())


def sizes_text(names: list[str], speeds: dict[str, float | None]) -> str:
    """registry/sizes/models.toml."""
    cards = {}
    for name in names:
        ms = speeds.get(name)
        cards[name] = {"parameters": parameters(name), **({"ms": ms} if ms else {})}
    head = "# Written by `python docs/make.py`; the milliseconds by `python docs/make.py speed`, on a 2-core server."
    return f"{head}\n\n{tomli_w.dumps(cards)}"


def gallery_text() -> str:
    """docs/gallery.md: the models and the data sets of the catalogue, with their numbers."""
    from posezoo.cli import rows

    lines = ["# Gallery", "", "Written by `python docs/make.py` from the catalogue. `posezoo list` shows the same.", ""]
    lines += ["## Models", "", "| model | M parameters | MB | ms | what |", "|---|---|---|---|---|"]
    for row in rows.models():
        numbers = " | ".join(str(row[key]) for key in ("params", "MB", "ms"))
        words = "; ".join(filter(None, (row["summary"], row["paper"]))).replace("|", "\\|")
        lines.append(f"| `{row['name']}` | {numbers} | {words} |")
    lines += ["", "MB: in float32. ms: CPU milliseconds an image, one at a time on one core.", ""]
    lines += ["## Trained models", "", "| alias | model | data | weights |", "|---|---|---|---|"]
    for row in rows.weights():
        lines.append(f"| `{row['name']}` | `{row['model']}` | `{row['data']}` | {row['weights']} |")
    lines += ["", "## Data sets", "", "| data set | kind | what | frames | licence |", "|---|---|---|---|---|"]
    for name, card in sorted(entries.data_cards().items()):
        counts = ", ".join(f"{count:,} {split}" for split, count in card.frames.items())
        counts += " (in the package)" if card.package else ""
        summary = f"[{card.summary}]({card.page})" if card.page else card.summary
        lines.append(f"| `{name}` | {card.kind} | {summary} | {counts} | {card.licence} |")
    lines += ["", "## Results", ""]
    lines += ["Medians that the catalogue knows, the best of each model, ours as means over seeds (`posezoo list"]
    lines += ["--data NAME`), with 95 % intervals by blocks of frames where they were kept. Ours on"]
    lines += ["`7scenes-redkitchen` are blocks of sequence 1, not the official split: see [results](results.md).", ""]
    for name in sorted(entries.data_cards()):
        best = sorted(entries.best_results(name).items(), key=lambda item: item[1][1].position_m)
        if best:
            lines += [f"### {name}", "", "| model | m | deg | by |", "|---|---|---|---|"]
            for model, (table, row) in best:
                degrees = "-" if row.orientation_deg is None else row.orientation_deg
                known = (row.position_m_ci95, row.orientation_deg_ci95)
                ends = [f" [{ci95[0]} to {ci95[1]}]" if ci95 else "" for ci95 in known]
                lines.append(f"| `{model}` | {row.position_m}{ends[0]} | {degrees}{ends[1]} | {table.source} |")
            lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def measured_ms(names: list[str]) -> dict[str, float | None]:
    """CPU milliseconds an image of each model, one image at a time on one core; the quickest of the rounds.

    Models of one architecture take turns: what else slows the machine slows all of them.
    """
    import torch

    from posezoo.zoo.build import create_model

    torch.set_num_threads(1)
    found: dict[str, list[float]] = {name: [] for name in names}
    for _, group in itertools.groupby(names, key=lambda name: re.split(r"[+.]", name)[0]):
        models = {name: create_model(name, pretrained_backbone=False).eval() for name in group}
        with torch.inference_mode():
            for _, (name, model) in itertools.product(range(ROUNDS), models.items()):
                image_1CHW = torch.rand(1, 3, model.config.crop, model.config.crop)
                start = time.process_time()  # other work on the machine hardly counts
                model(image_1CHW)
                found[name].append(1000 * (time.process_time() - start))
        for name in models:
            print(f"{name}: {min(found[name]):.1f} ms", flush=True)
    return {name: round(min(times), 1) for name, times in found.items()}


def readme_text() -> str:
    """README.md, its tables written anew."""
    begin, end = "<!-- figures -->\n", "<!-- /figures -->"
    before, _, rest = README.read_text(encoding="utf-8").partition(begin)
    return before + begin + results.readme_text() + end + rest.partition(end)[2]


def evaluate_shipped() -> None:
    """The shipped models on the demo: registry/results/demo.toml and the pictures."""
    import posezoo
    from posezoo.training.config import TrainConfig

    tables: dict[str, Any] = {}
    for alias in results.SHIPPED:
        report = posezoo.evaluate(alias, data="demo-loop")
        settings = flat(entries.weights_cards()[alias].settings)
        training = {key: settings.pop(key) for key in field_names(TrainConfig) if key in settings}
        origin = f"posezoo eval {alias} --data demo-loop"
        table = results.entry(report.to_dict(), origin, alias, settings)
        table["note"] = "trained with " + " ".join(f"{key}={setting_text(value)}" for key, value in training.items())
        tables[f"demo-loop-{alias}"] = table
        if alias == pictures.SHOWN:
            for path in pictures.draw_all(report):
                print(f"{path}: {path.stat().st_size / 1000:.0f} kB", flush=True)
    write_whole(SHIPPED, "# Written by `python docs/make.py`: the shipped models.\n\n" + tomli_w.dumps(tables), "")


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as dotted keys."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return found


def add_runs(folders: list[str]) -> None:
    """registry/results/runs.toml, with the reports of these runs; those of other models and seeds stay."""
    import tomllib

    tables = tomllib.loads(RUNS.read_text(encoding="utf-8")) if RUNS.exists() else {}
    for folder in folders:
        report = json.loads((Path(folder) / "report" / "report.json").read_text(encoding="utf-8"))
        seed = report["settings"]["trained"]["seed"]
        origin = f"posezoo train {report['model']} --data {report['data']}"
        tables[f"{report['data']}-{report['model']}-seed-{seed}"] = results.entry(report, origin)
    head = "# Written by `python docs/make.py results RUN ...`: full trainings, one table a seed.\n\n"
    write_whole(RUNS, head + tomli_w.dumps(dict(sorted(tables.items()))), "")


def main(words: list[str]) -> None:
    """Write everything, or what the words say."""
    if unknown := set(words[:1]) - {"texts", "results", "question", "clusters", "notebooks", "speed"}:
        raise SystemExit(f"unknown: {', '.join(unknown)}\n\n{__doc__}")
    from posezoo.api import list_models

    if "notebooks" in words:
        import notebooks  # needs nbclient

        for name in notebooks.names():
            notebooks.write(name)
        return
    if "results" in words:
        add_runs(words[words.index("results") + 1 :])
    elif "question" in words:
        question.add(words[words.index("question") + 1 :])
    elif "clusters" in words:
        clusters.add(words[words.index("clusters") + 1 :])
    elif "texts" not in words:
        evaluate_shipped()
    if "texts" not in words:
        question_pictures.draw_all()
    write_whole(KEYS, keys_text(), "")
    names = list_models()
    speeds = measured_ms(names) if "speed" in words else {key: card.ms for key, card in entries.size_cards().items()}
    write_whole(SIZES, sizes_text(names, speeds), "")
    write_whole(GALLERY, gallery_text(), "")
    write_whole(RESULTS, results.page_text(), "")
    write_whole(question.PAGE, question.page_text(), "")
    write_whole(README, readme_text(), "")


if __name__ == "__main__":
    main(sys.argv[1:])
