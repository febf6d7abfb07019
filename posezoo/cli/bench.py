"""`posezoo bench`: measurements of this machine, each a comparison, and grids of runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from posezoo.cli import complete
from posezoo.cli.options import Format, Root, Split, Whole, job_settings, models_and_settings
from posezoo.cli.output import print_content, print_study

app = typer.Typer(help="Measure: loading, start-up, speed; train grids of models.", no_args_is_help=True)


@app.command()
def loading(
    data: Annotated[str, typer.Option("--data", help="Data set.", autocompletion=complete.data)] = "demo-loop",
    root: Root = None,
    split: Split = None,
    format: Format = "human",
    no_truncate: Whole = False,
) -> None:
    """Images a second: reading the warm cache, decoding the originals, and building the cache; interleaved.

    Example: posezoo bench loading --data 7scenes-redkitchen --root /data/7scenes
    """
    from posezoo.bench import machine

    print_content(machine.loading(data, root, split), format, "bench loading", no_truncate)


@app.command()
def startup(format: Format = "human", no_truncate: Whole = False) -> None:
    """The seconds that `posezoo --help` and `posezoo list` take, and whether they import torch.

    Example: posezoo bench startup
    """
    from posezoo.bench import machine

    print_content(machine.startup(), format, "bench startup", no_truncate)


@app.command()
def scale(format: Format = "human", no_truncate: Whole = False) -> None:
    """Seconds, memory and microseconds a frame for opening 1e3, 1e4 and 1e5 frames, generated for it (a minute).

    Example: posezoo bench scale
    """
    from posezoo.bench import machine
    from posezoo.cli.console import TrainView

    print_content(machine.scale(TrainView(format == "quiet")), format, "bench scale", no_truncate)


@app.command()
def speed(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL]... [KEY=VALUE]...",
            help="Without a model, four; settings go with --device.",
            autocompletion=complete.models,
        ),
    ] = None,
    device: Annotated[
        str, typer.Option(help="Instead: training on this device, against compute alone and waiting for the loader.")
    ] = "",
    data: Annotated[
        str, typer.Option("--data", help="What is trained on with --device.", autocompletion=complete.data)
    ] = "demo-loop",
    format: Format = "human",
    no_truncate: Whole = False,
) -> None:
    """Inference, training step and peak memory of models against the published code's cost, interleaved (minutes).

    With --device: how much of training on it is computing.

    Example: posezoo bench speed ms-transformer+hyper

    Example: posezoo bench speed posenet+hyper --device cuda batch_size=128
    """
    from posezoo.base.errors import UsageError
    from posezoo.bench import speed, training
    from posezoo.catalogue import settings
    from posezoo.cli.console import TrainView

    (names, given), view = models_and_settings(models), TrainView(format == "quiet")
    if given and not device:
        raise UsageError("settings without --device", "the comparison with published code has its own")
    rows: list[dict[str, Any]] = (
        training.training(names, data, device, view, settings.parse(given)) if device else speed.speed(names, view)
    )
    print_content(rows, format, "bench speed", no_truncate)


@app.command()
def grid(
    name: Annotated[str, typer.Argument(help="A grid of the catalogue (registry/grids), e.g. hypernetwork.")],
    data: Annotated[str, typer.Option("--data", help="Data set, e.g. demo-loop.", autocompletion=complete.data)],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Settings of all runs, e.g. epochs=5.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the runs; a grid that was stopped continues there.")] = Path(
        "outputs/grid"
    ),
    seeds: Annotated[str, typer.Option(help="e.g. 0,1,2; without it the grid's own.")] = "",
    root: Root = None,
    launcher: Annotated[
        Literal["local", "submitit"] | None,
        typer.Option(help="Runs as jobs: local, one for each device here; submitit, on the cluster."),
    ] = None,
    job: Annotated[
        list[str] | None, typer.Option(help="A parameter of submitit's jobs, e.g. --job slurm_partition=gpu.")
    ] = None,
    format: Format = "human",
) -> None:
    """Train every model of a grid in every way of training with every seed; print one table with the baselines.

    Example: posezoo bench grid hypernetwork --data demo-loop --out outputs/hypernetwork
    """
    from posezoo.catalogue import entries, settings
    from posezoo.cli.console import TrainView
    from posezoo.studies import grid

    view, parameters = TrainView(format == "quiet"), job_settings(launcher, job)
    given = settings.parse(overrides or [])
    plan = grid.cells(name, data, out / name, grid.parse_seeds(seeds), root, given)
    small = grid.demo_notes(entries.grid(name), data, given)
    for note in small:
        view.note(note)
    if launcher is None:
        rows = grid.run(plan, lambda cell: grid.announced(cell, plan, view))
    else:
        rows = grid.run_as_jobs(plan, out / name / "jobs", parameters, view, launcher == "local")
    if format != "human":
        print_content(rows, format, name)
        return
    print_study(grid.formatted(rows), f"{name} on {data}", [*small, *grid.notes(plan)])
