"""`posezoo predict`: poses of files, folders, globs, videos and cameras, written as they come."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from posezoo.base.errors import UsageError
from posezoo.cli import complete
from posezoo.cli.options import Device, Format, Trust, Tta, Whole
from posezoo.cli.output import print_content

ENDINGS = {
    ".csv": ("csv", "labels"),
    ".tum": ("tum",),
    ".kitti": ("kitti",),
    ".json": ("json", "jsonl", "nerf"),
    ".jsonl": ("jsonl",),
    ".html": ("html",),
}
"""Of files, and the forms that they may have; the first is the one that an ending alone says."""


# Long: most are its options and their help
def predict(
    model: Annotated[
        str,
        typer.Argument(
            help="A run folder, local-dir:PATH, hf-hub:OWNER/REPO, an alias or an exported file.",
            autocompletion=complete.trained,
        ),
    ],
    images: Annotated[
        list[str], typer.Argument(help="Images, folders, globs ('day*/*.jpg'), videos, camera:0.", metavar="IMAGES...")
    ],
    to: Annotated[
        Literal["table", "csv", "tum", "kitti", "json", "colmap", "nerf", "labels", "html"],
        typer.Option(help="Form of the poses; html: the path on the map, with --out to watch while it grows."),
    ] = "table",
    out: Annotated[Path | None, typer.Option(help="Write to this file, as it goes, instead of stdout.")] = None,
    follow: Annotated[bool, typer.Option("--follow", help="A line a picture at once, of JSON too.")] = False,
    every: Annotated[int, typer.Option(min=1, help="Take only every Nth frame of videos and cameras.")] = 1,
    batch: Annotated[int, typer.Option(min=1, help="Pictures that the network reads together.")] = 32,
    exif: Annotated[
        bool | None, typer.Option("--exif/--no-exif", help="Turn photographs by their EXIF tag; else as in training.")
    ] = None,
    viewer: Annotated[
        Path | None, typer.Option(help="Write a recording for rerun's viewer to this file too, e.g. walk.rrd.")
    ] = None,
    tta: Tta = False,
    device: Device = "auto",
    trust: Trust = False,
    format: Format = "human",
    no_truncate: Whole = False,
) -> None:
    """Camera poses of pictures, no ground truth needed: camera-to-world, metres, quaternion (w, x, y, z).

    Example: posezoo predict outputs/atloc+hyper/demo-loop/20261122T101500Z photo.jpg --to tum
    """
    from posezoo.base.poses import printable
    from posezoo.cli import rows
    from posezoo.cli.console import TrainView
    from posezoo.zoo import written
    from posezoo.zoo.find import full_name
    from posezoo.zoo.load import load
    from posezoo.zoo.stream import predict_stream

    form = _form(to, out, format, follow)
    view, full = TrainView(format == "quiet"), full_name(model)
    batches = predict_stream(
        load(full, device, trust=trust, note=view.note),
        images,
        batch_size=1 if follow else batch,
        every=every,
        exif=exif,
        tta=tta,
        note=view.note,
        progress=None if follow else lambda done, total: view.progress("predicting", done, total),
    )
    if viewer is not None:
        from posezoo.evaluation.viewer import recorded

        batches = recorded(batches, viewer)
    try:
        if form == "table":
            for poses in written.whole(batches):
                print_content(rows.poses(poses), "human", "poses", no_truncate)
            return
        if form == "html":  # imported here: reports and training take a second that other forms do without
            from posezoo.evaluation import where
            from posezoo.training.reports import known_map

            where.to_file(out, batches, *known_map(full))
            return
        if out is not None:
            written.to_file(out, form, batches)
        elif format != "quiet":
            for text in written.texts(form, batches):
                typer.echo(printable(text), nl=False)
    finally:
        view.end()


def _form(to: str, out: Path | None, format: str, follow: bool) -> str:
    """The form of the poses; where none is named that of the file, a table for people, or CSV.

    Raises UsageError where they contradict each other.
    """
    from posezoo.base.files.videos import VIDEOS
    from posezoo.nn.inputs import SUFFIXES

    if format == "json" and to not in ("table", "json"):
        raise UsageError(f"--format json is --to json, and --to is {to}", "leave one of them out")
    ending = out.suffix.lower() if out is not None else ""
    if ending in SUFFIXES or ending in VIDEOS:
        raise UsageError(f"--out {out}: a picture's name", f"poses have {', '.join(ENDINGS)}")
    form = "json" if format == "json" else to
    if form == "table" and out is not None:
        form = ENDINGS.get(ending, ("csv",))[0]
    elif form == "table" and (format != "human" or follow):
        form = "csv"
    form = "jsonl" if form == "json" and (follow or ending == ".jsonl") else form
    if form not in ENDINGS.get(ending, (form,)):
        raise UsageError(f"--out {out} is not for {form}", f"--out {out.with_suffix('') if out else ''}.{form}")
    return form
