"""`posezoo data`: the data sets of the catalogue, and a look at them before anybody trains."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

Format = Annotated[Literal["human", "json", "quiet"], typer.Option("--format", help="human tables, json, or nothing.")]
Root = Annotated[str | None, typer.Option(help="Folder of the benchmark, instead of POSEZOO_DATA.")]
Split = Annotated[str | None, typer.Option(help="blocks, sequences, or a split file (image, split).")]

app = typer.Typer(help="Data sets: list them, check them, look at their trajectories.", no_args_is_help=True)


@app.command("list")
def list_(
    pattern: Annotated[str, typer.Argument(help="Only names that match.")] = "*", format: Format = "human"
) -> None:
    """The data sets of the catalogue, and whether they are here.

    Example: posezoo data list '7scenes*'
    """
    from posezoo import describe
    from posezoo.cli.commands import _print

    _print(describe.data_sets(pattern), format, "data sets")


@app.command()
def plot(
    name: Annotated[str, typer.Argument(help="A data set, e.g. demo-loop or folder:PATH.")],
    root: Root = None,
    split: Split = None,
    out: Annotated[Path | None, typer.Option(help="The picture; without it NAME.png here.")] = None,
    format: Format = "human",
) -> None:
    """Draw the true trajectories, seen from above, by split.

    Example: posezoo data plot demo-loop --out loop.png
    """
    from posezoo.data.frames import open_dataset
    from posezoo.evaluation.figures import save_dataset_plot
    from posezoo.names import parse_data

    dataset = open_dataset(name, root=root, split=split)
    path = save_dataset_plot(dataset, out or Path(f"{parse_data(name).slug}.png"))
    if format == "json":
        typer.echo(
            json.dumps(
                {"picture": str(path), "frames": len(dataset.frames), "notes": [*dataset.notes, *dataset.remarks]}
            )
        )
    elif format == "human":
        for note in (*dataset.notes, *dataset.remarks):
            typer.echo(f"note: {note}")
        typer.echo(f"picture: {path}")


@app.command()
def export(
    name: Annotated[str, typer.Argument(help="A data set, e.g. demo-loop or 7scenes-chess.")],
    to: Annotated[Literal["csv", "tum", "kitti", "colmap", "nerf", "labels"], typer.Option(help="Form of the poses.")],
    out: Annotated[Path, typer.Option(help="The folder to write to; nothing in it is replaced.")],
    root: Root = None,
    split: Split = None,
    format: Format = "human",
) -> None:
    """Write the poses as the files of another tool; the images stay where they are.

    Example: posezoo data export demo-loop --to tum --out loop-tum
    """
    from posezoo.data import exporters
    from posezoo.data.frames import open_dataset

    frames = open_dataset(name, root=root, split=split).frames
    paths = exporters.export(frames, to, out)
    if format == "json":
        typer.echo(json.dumps({"files": [str(path) for path in paths], "images": str(frames.root)}))
    elif format == "human":
        for path in paths:
            typer.echo(f"written: {path}")
        typer.echo(f"image names are relative to {frames.root}")


@app.command()
def verify(
    name: Annotated[str, typer.Argument(help="A data set, e.g. 7scenes-chess or folder:PATH.")],
    root: Root = None,
    split: Split = None,
    format: Format = "human",
) -> None:
    """Check every pose and image; everything wrong is listed with file and line, exit code 3.

    Example: posezoo data verify 7scenes-chess --root /data/7scenes
    """
    from posezoo.data.verify import verify as check

    counts, findings = check(name, root=root, split=split)
    if format == "json":
        rows = [{"path": f.path, "line": f.line, "message": f.message} for f in findings]
        typer.echo(json.dumps({"name": name, "frames": counts, "findings": rows}, indent=1))
    if findings:
        from posezoo.data.frames import problems

        error = problems(name, findings)
        if format == "json":  # they stand in the answer already
            error.findings = ()
        raise error
    if format == "human":
        typer.echo(f"{name}: " + ", ".join(f"{count} {split}" for split, count in counts.items()) + " frames, all good")
