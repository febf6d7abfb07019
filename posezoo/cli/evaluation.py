"""The commands on what was measured: compare models."""

from __future__ import annotations

from typing import Annotated

import typer

from posezoo.cli.options import Device, Format, Root, SkipBad, Split


def compare(
    models: Annotated[
        list[str], typer.Argument(help="Run folders, local-dir:PATH, hf-hub:OWNER/REPO or aliases; A is the first.")
    ],
    data: Annotated[
        str | None, typer.Option("--data", help="Evaluate all on this data set; without it their reports are compared.")
    ] = None,
    root: Root = None,
    split: Split = None,
    subset: Annotated[str, typer.Option(help="Which split: test, val or train.")] = "test",
    skip_bad: SkipBad = False,
    device: Device = "cpu",
    format: Format = "human",
) -> None:
    """Models on the same images: better, not distinguishable or worse than the first, overall and where.

    Example: posezoo compare outputs/posenet/demo-loop/20261122T101500Z posenet-hyper-demo
    """
    from posezoo.cli.console import TrainView
    from posezoo.cli.output import print_comparison
    from posezoo.training.again import compare as compare_models

    view = TrainView(format == "quiet")
    found = compare_models(
        *models, data=data, root=root, split=split, subset=subset, skip_bad=skip_bad, device=device, observer=view
    )
    print_comparison(found, format)
