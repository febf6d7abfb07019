"""`posezoo weights`: trained weights, ours and other people's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

Format = Annotated[Literal["human", "json", "quiet"], typer.Option("--format", help="human tables, json, or nothing.")]

app = typer.Typer(help="Trained weights: convert other people's checkpoints.", no_args_is_help=True)


@app.command()
def convert(
    file: Annotated[Path, typer.Argument(help="The checkpoint: a torch state dict or safetensors.")],
    source: Annotated[str, typer.Option("--from", help="hyperpose, hyperatloc, atloc or ms-transformer.")],
    data: Annotated[str, typer.Option("--data", help="The labels it was trained on, e.g. 7scenes, cambridge.")],
    out: Annotated[Path, typer.Option(help="A new folder for the model.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="What the file cannot tell, e.g. mean=[0.4,0.4,0.4]"),
    ] = None,
    trust: Annotated[
        bool, typer.Option("--i-trust-this", help="Also read a pickle of whole objects, in a process of its own.")
    ] = False,
    format: Format = "human",
) -> None:
    """Make a model folder of an authors' checkpoint; it answers camera-to-world in metres like every other.

    Example: posezoo weights convert hyperpose_7scenes.pth --from hyperpose --data 7scenes --out ms-hyperpose
    """
    from posezoo import api, settings
    from posezoo.cli.commands import _print
    from posezoo.console import TrainView

    view, given = TrainView(format == "quiet"), settings.parse(overrides or [])
    made = api.convert_weights(file, source, data, out, trust=trust, observer=view, **given)
    _print(vars(made) | {"next": f"posezoo eval {made.path} --data {data}"}, format, "converted")
