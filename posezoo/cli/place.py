"""`posezoo map`: from videos or photographs of a place to a data set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from posezoo.cli.options import Format
from posezoo.cli.output import print_next


def map_(
    sources: Annotated[list[Path], typer.Argument(help="Videos, or folders of photographs.")],
    out: Annotated[Path, typer.Option(help="The folder of the place; called again, it continues there.")],
    conditions: Annotated[str, typer.Option(help="One for each source, for example sun,rain.")] = "",
    scale_from: Annotated[
        str,
        typer.Option(
            metavar="WAY",
            help="known-distance:A,B=3.2, two-points:IMG:X,Y:X,Y=1.8, gps, arkit, FILE.csv (image, x, y, z), FILE.txt.",
        ),
    ] = "",
    gravity_from: Annotated[
        str,
        typer.Option(
            metavar="FILE.csv", help="The phone's accelerometer during the first source: t, ax, ay, az (m/s^2)."
        ),
    ] = "",
    frames: Annotated[int, typer.Option(min=3, help="The most frames that are taken of a video.")] = 300,
    format: Format = "human",
) -> None:
    """Map a place: frames of videos, poses by structure from motion, a report; then train on colmap:PLACE.

    Example: posezoo map walk.mp4 --out kitchen
    """
    from posezoo.cli.console import watching
    from posezoo.place.build import map_place

    words = [word.strip() for word in conditions.split(",")] if conditions else []
    measured = {"scale_from": scale_from, "gravity_from": gravity_from}
    with watching(format == "quiet") as view:
        report = map_place(sources, out, conditions=words, **measured, limit=frames, progress=view.progress)
    if format == "json":
        typer.echo(json.dumps(report.as_dict(), indent=1))
    elif format == "human":
        from posezoo.cli.tables import print_lines

        print_lines(*report.lines())
        typer.echo(f"report: {out}/report.md, above.png, worst.jpg")
        print_next(f"posezoo data verify colmap:{out}", f"posezoo train posenet+anchors --data colmap:{out}")
