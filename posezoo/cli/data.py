"""`posezoo data`: the data sets of the catalogue, to inspect before any training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from posezoo.cli import complete
from posezoo.cli.options import Format, Root, SkipBad, Split, Whole
from posezoo.cli.output import print_content, print_next

Options = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE", help="Options of the data, e.g. scenes=redkitchen sequences=1"),
]
Subset = Annotated[Literal["test", "val", "train", "all"], typer.Option(help="Which frames.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Only the first frames.")]
Seed = Annotated[int, typer.Option(help="Each picture has its own seed, derived from this one and its name.")]

app = typer.Typer(
    help="Data sets: get, check, plot and export them, or render them in other weather.", no_args_is_help=True
)


@app.command("list")
def list_(
    pattern: Annotated[str, typer.Argument(help="Only names that match.", autocompletion=complete.data)] = "*",
    format: Format = "human",
    no_truncate: Whole = False,
) -> None:
    """The data sets of the catalogue, and whether they are here.

    Example: posezoo data list '7scenes*'
    """
    from posezoo.cli import rows
    from posezoo.cli.console import TrainView

    print_content(rows.data_sets(pattern), format, "data sets", no_truncate)
    for remark in rows.plugin_remarks():
        TrainView(format != "human").note(remark)


@app.command("how-to")
def how_to(
    name: Annotated[
        str, typer.Argument(help="A data set, e.g. 7scenes-chess, or folder:PATH.", autocompletion=complete.data)
    ],
    options: Options = None,
    root: Root = None,
    format: Format = "human",
) -> None:
    """How to get a data set: licence, official page, archives, disk, where to put them, step by step.

    Example: posezoo data how-to 7scenes-chess --root /data/7scenes
    """
    from posezoo.catalogue.names import with_options
    from posezoo.cli.tables import print_how_to
    from posezoo.data.how_to import how_to as steps

    found = steps(with_options(name, options or []), root=root)
    if format == "json":
        typer.echo(json.dumps(found, indent=1))
    elif format == "human":
        print_how_to(found)


@app.command()
def stats(
    name: Annotated[
        str, typer.Argument(help="A data set, e.g. demo-loop or folder:PATH.", autocompletion=complete.data)
    ],
    options: Options = None,
    root: Root = None,
    split: Split = None,
    format: Format = "human",
    no_truncate: Whole = False,
) -> None:
    """A data set in numbers: frames, paths, spread, spacing, nearest training frames, errors of the mean pose.

    Example: posezoo data stats demo-loop
    """
    from posezoo.catalogue.names import with_options
    from posezoo.cli.console import watching
    from posezoo.evaluation.statistics import dataset_statistics

    name = with_options(name, options or [])
    with watching(format == "quiet") as view:
        found = dataset_statistics(
            name, root=root, split=split, progress=lambda done, total: view.progress("reading sizes", done, total)
        )
    print_content(found, format, name, no_truncate)


@app.command()
def prepare(
    name: Annotated[
        str, typer.Argument(help="A data set, e.g. 7scenes-chess or robotcar-loop.", autocompletion=complete.data)
    ],
    options: Options = None,
    root: Root = None,
    split: Split = None,
    skip_bad: SkipBad = False,
    format: Format = "human",
) -> None:
    """Unpack a benchmark's archives, check the data, build the image cache. If stopped, run it again to continue.

    Example: posezoo data prepare robotcar-loop --root /data/robotcar
    """
    from posezoo.catalogue.names import with_options
    from posezoo.cli.console import watching
    from posezoo.data.prepare import prepare as prepare_dataset

    name = with_options(name, options or [])
    with watching(format == "quiet") as view:
        ready = prepare_dataset(name, root=root, split=split, skip_bad=skip_bad, progress=view.progress, note=view.note)
    if format == "json":
        typer.echo(json.dumps(ready.to_dict(), indent=1))
    elif format == "human":
        from posezoo.cli.tables import print_lines

        print_lines(*ready.lines())


@app.command()
def plot(
    name: Annotated[
        str, typer.Argument(help="A data set, e.g. demo-loop or folder:PATH.", autocompletion=complete.data)
    ],
    options: Options = None,
    root: Root = None,
    split: Split = None,
    out: Annotated[Path | None, typer.Option(help="The picture; without it NAME.png here.")] = None,
    format: Format = "human",
) -> None:
    """Draw the true trajectories, seen from above, by split.

    Example: posezoo data plot demo-loop --out loop.png
    """
    from posezoo.catalogue.names import parse_data, with_options
    from posezoo.cli.console import watching
    from posezoo.data.open import open_dataset
    from posezoo.data.plot import save_dataset_plot

    name = with_options(name, options or [])
    with watching(format == "quiet"):
        dataset = open_dataset(name, root=root, split=split)
        path = save_dataset_plot(dataset, out or Path(f"{parse_data(name).slug}.png"))
    if format == "json":
        typer.echo(
            json.dumps(
                {"picture": str(path), "frames": len(dataset.frames), "notes": [*dataset.notes, *dataset.remarks]}
            )
        )
    elif format == "human":
        from posezoo.cli.tables import print_lines

        print_lines(*(f"note: {note}" for note in (*dataset.notes, *dataset.remarks)), f"picture: {path}")


@app.command()
def export(
    name: Annotated[
        str, typer.Argument(help="A data set, e.g. demo-loop or 7scenes-chess.", autocompletion=complete.data)
    ],
    to: Annotated[Literal["csv", "tum", "kitti", "colmap", "nerf", "labels"], typer.Option(help="Form of the poses.")],
    out: Annotated[Path, typer.Option(help="The folder to write to; nothing in it is replaced.")],
    options: Options = None,
    root: Root = None,
    split: Split = None,
    format: Format = "human",
) -> None:
    """Write the poses in another tool's format; the images stay where they are.

    Example: posezoo data export demo-loop --to tum --out loop-tum
    """
    from posezoo.catalogue.names import with_options
    from posezoo.cli.console import watching
    from posezoo.data.export import data_name, not_held, reads_back
    from posezoo.data.export import export as export_poses
    from posezoo.data.open import open_dataset

    with watching(format == "quiet") as view:
        dataset = open_dataset(with_options(name, options or []), root=root, split=split)
        frames = dataset.frames
        paths = export_poses(frames, to, out, lambda done, total: view.progress("reading sizes", done, total))
        if dataset.unit != "m":
            view.note(f"positions are in {dataset.unit}, which the files do not say")
        if lost := not_held(to, frames):
            view.note(f"{to} files do not hold: {', '.join(lost)}")
    if format == "json":
        answer = {"files": [str(path) for path in paths], "images": str(frames.root), "unit": dataset.unit}
        typer.echo(json.dumps(answer))
    elif format == "human":
        for path in paths:
            typer.echo(f"written: {path}")
        typer.echo(f"image names are relative to {frames.root}")
        if reads_back(to, frames):
            typer.echo(f"to read it: --data '{data_name(to, out, frames.root, dataset.unit)}'")


@app.command()
def verify(
    name: Annotated[
        str, typer.Argument(help="A data set, e.g. 7scenes-chess or folder:PATH.", autocompletion=complete.data)
    ],
    options: Options = None,
    root: Root = None,
    split: Split = None,
    manifest: Annotated[
        Path | None, typer.Option("--hash", help="Compare the images' sha256 with this file; write it if it is new.")
    ] = None,
    format: Format = "human",
) -> None:
    """Check for completeness, and every pose and image; lists all problems, then exits with 3.

    Example: posezoo data verify 7scenes scenes=redkitchen sequences=1 --root /data/7scenes
    """
    from posezoo.catalogue.names import with_options
    from posezoo.cli.console import watching
    from posezoo.data.verify import verify_dataset

    name = with_options(name, options or [])
    with watching(format == "quiet") as view:
        found = verify_dataset(
            name,
            root=root,
            split=split,
            manifest=manifest,
            progress=lambda done, total: view.progress("decoding images", done, total),
        )
    if format == "json":
        typer.echo(json.dumps(found.as_dict(), indent=1))
    elif format == "human":
        from posezoo.cli.tables import print_lines

        print_lines(*([found.share] if found.left_out else []), *(f"note: {note}" for note in found.notes))
    if found.error:
        if format == "json":  # they are in the answer already
            found.error.findings = ()
        raise found.error
    if format == "human":
        print_lines(found.verdict)


@app.command()
def corrupt(
    name: Annotated[
        str, typer.Argument(help="A data set, e.g. demo-loop or folder:PATH.", autocompletion=complete.data)
    ],
    out: Annotated[Path, typer.Option(help="The folder to fill.")],
    options: Options = None,
    kind: Annotated[
        str,
        typer.Option(help="Some of fog, snow, night, rain, blur, occlusion; original: unchanged.", show_default="all"),
    ] = "fog,snow,night,rain,blur,occlusion",
    severity: Annotated[str, typer.Option(help="1 to 5, for example 3, 1,3,5 or 1..5.")] = "3",
    seed: Seed = 0,
    subset: Subset = "test",
    limit: Limit = None,
    root: Root = None,
    split: Split = None,
    format: Format = "human",
) -> None:
    """Pictures in worse weather or from a worse camera, with their poses; no generative model.

    Example: posezoo data corrupt demo-loop --kind original,fog,snow --severity 1..5 --out loop-weather
    """
    from posezoo.catalogue.names import with_options
    from posezoo.cli.console import TrainView
    from posezoo.data.appearance.corrupt import corrupt, parse_severities

    counts = corrupt(
        with_options(name, options or []),
        out,
        kinds=_words(kind),
        severities=parse_severities(severity),
        seed=seed,
        root=root,
        split=split,
        subset=subset,
        limit=limit,
        observer=TrainView(format == "quiet"),
    )
    _print_pictures(out, counts, format)


@app.command("make-ecl")
def make_ecl(
    name: Annotated[
        str, typer.Argument(help="A data set, e.g. cambridge-shop-facade or folder:PATH.", autocompletion=complete.data)
    ],
    out: Annotated[Path, typer.Option(help="The folder to fill.")],
    options: Options = None,
    flavours: Annotated[str, typer.Option(help="Some of winter,summer,evening.")] = "winter,summer,evening",
    seed: Seed = 0,
    model: Annotated[str, typer.Option(help="OWNER/REPO or a folder, instead of timbrooks/instruct-pix2pix.")] = "",
    revision: Annotated[str, typer.Option(help="The commit of another OWNER/REPO, 40 hexadecimal digits.")] = "",
    batch: Annotated[int, typer.Option(min=1, help="Pictures drawn together.")] = 4,
    device: Annotated[str, typer.Option(help="cpu or cuda; without it cuda where present.")] = "",
    subset: Subset = "test",
    limit: Limit = None,
    root: Root = None,
    split: Split = None,
    format: Format = "human",
) -> None:
    """Redraw pictures for other seasons and hours with InstructPix2Pix, as Extended Cambridge Landmarks was made.

    Example: posezoo data make-ecl cambridge --flavours winter,evening --root /data/cambridge --out /data/ecl
    """
    from posezoo.catalogue.names import with_options
    from posezoo.cli.console import TrainView
    from posezoo.data.appearance.redraw import redraw

    counts = redraw(
        with_options(name, options or []),
        out,
        flavours=_words(flavours),
        seed=seed,
        model=model,
        revision=revision,
        batch=batch,
        device=device,
        root=root,
        split=split,
        subset=subset,
        limit=limit,
        observer=TrainView(format == "quiet"),
    )
    _print_pictures(out, counts, format)


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _print_pictures(out: Path, counts: dict[str, int], format: str) -> None:
    if format == "json":
        typer.echo(json.dumps({"folder": str(out), "pictures": counts}))
    elif format == "human":
        typer.echo(f"{out}: " + ", ".join(f"{count} {condition}" for condition, count in counts.items()))
        print_next(f"posezoo eval MODEL --data folder:{out}")
