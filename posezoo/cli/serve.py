"""`posezoo serve`: a trained model behind HTTP."""

from __future__ import annotations

from typing import Annotated

import typer

from posezoo.cli import complete
from posezoo.cli.options import Device, Trust


def serve(
    model: Annotated[
        str,
        typer.Argument(
            help="A run folder, local-dir:PATH, hf-hub:OWNER/REPO, an alias or an exported file.",
            autocompletion=complete.trained,
        ),
    ],
    host: Annotated[str, typer.Option(help="The address to listen at; 0.0.0.0 is every one.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 8000,
    max_mb: Annotated[float, typer.Option(min=0.01, max=1e6, help="The largest upload, in megabytes.")] = 20.0,
    timeout: Annotated[float, typer.Option(min=0.1, max=1e6, help="Seconds for an upload, and for its pose.")] = 30.0,
    batch: Annotated[int, typer.Option(min=1, help="Images that the network reads together, at most.")] = 16,
    device: Device = "cpu",
    trust: Trust = False,
) -> None:
    """Answer over HTTP: POST an image to /pose, get its pose. /docs describes it. Ctrl-C ends it.

    Example: posezoo serve outputs/atloc+hyper/demo-loop/20261122T101500Z --port 8000
    """
    from posezoo.cli.console import TrainView
    from posezoo.serving.server import serve as serve_model
    from posezoo.zoo.find import full_name
    from posezoo.zoo.load import load

    note = TrainView(False).note
    serve_model(
        load(full_name(model), device, trust=trust, note=note),
        host,
        port,
        note=note,
        max_bytes=round(max_mb * 1e6),
        timeout_s=timeout,
        batch=batch,
    )
