"""The commands. Each parses, calls one public function and prints; see posezoo.cli for errors and exit codes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from posezoo.base.errors import UsageError
from posezoo.base.version import __version__
from posezoo.cli import complete, evaluation
from posezoo.cli.bench import app as bench_app
from posezoo.cli.data import app as data_app
from posezoo.cli.options import Device, Format, Overrides, Root, SkipBad, Whole
from posezoo.cli.output import print_content, print_result
from posezoo.cli.place import map_
from posezoo.cli.plugins import app as plugins_app
from posezoo.cli.predict import predict
from posezoo.cli.serve import serve
from posezoo.cli.show import app as show_app
from posezoo.cli.study import app as study_app
from posezoo.cli.weights import app as weights_app

app = typer.Typer(
    help="The model zoo of absolute camera pose regression.\n\n--debug anywhere on the line adds an error's traceback."
    "\n\nExample: posezoo train atloc+hyper --data demo-loop",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(show_app)  # without a name: its commands are posezoo's own
app.add_typer(bench_app, name="bench")
app.add_typer(data_app, name="data")
app.add_typer(plugins_app, name="plugins")
app.add_typer(study_app, name="study")
app.add_typer(weights_app, name="weights")
app.command("map")(map_)


@app.callback(invoke_without_command=True)
def version(show: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False) -> None:
    """The model zoo of absolute camera pose regression.

    Example: posezoo train atloc+hyper --data demo-loop

    Add --debug to any command to see the traceback of an error.
    """
    if show:
        typer.echo(f"posezoo {__version__}")
        raise typer.Exit()


# Long: most are its options and their help
@app.command()
def train(
    model: Annotated[
        str,
        typer.Argument(
            help="ARCH[+MODIFIER[=VALUE]], e.g. atloc+hyper; see posezoo list.", autocompletion=complete.models
        ),
    ],
    data: Annotated[
        str,
        typer.Option(
            "--data",
            help="Data set: demo-loop, 7scenes-chess, folder:PATH; see posezoo data list.",
            autocompletion=complete.data,
        ),
    ],
    overrides: Overrides = None,
    root: Root = None,
    skip_bad: SkipBad = False,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="List every key with its value for this run; train nothing.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Open the data, build the model, try two steps, tell; write no run.")
    ] = False,
    config: Annotated[
        Path | None,
        typer.Option("--config", help="Settings of a file: a run's config.toml, or --print-config --format json."),
    ] = None,
    start_from: Annotated[
        str | None,
        typer.Option("--from", help="Start from a run's or model's weights.", autocompletion=complete.trained),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The run folder; without it outputs/MODEL/DATA/TIME.")] = None,
    format: Format = "human",
    no_truncate: Whole = False,
) -> None:
    """Train a model, evaluate it beside the baselines, and print where the report is.

    Settings are KEY=VALUE; --print-config lists them all.

    Example: posezoo train atloc+hyper --data demo-loop epochs=10 seed=1
    """
    from posezoo.catalogue import resolve, settings
    from posezoo.cli import keys
    from posezoo.cli.console import TrainView

    if print_config and dry_run:
        raise UsageError("--print-config and --dry-run are different answers", "one of them at a time")
    known, place = resolve.model(model), resolve.data(data)  # a wrong name is an error before torch is imported
    options = {"data.skip_bad": skip_bad or None, "start_from": start_from, "out": None if out is None else str(out)}
    given = settings.nested(settings.joined(options, settings.parse(overrides or [])))
    if config is not None:
        from posezoo.training.config import settings_of

        given = settings.merged(settings_of(config), given)
    if print_config:
        print_content(keys.of_run(known, place, given, root), format, f"{known.name} on {data}", no_truncate)
        return
    view = TrainView(format == "quiet")
    view.say(f"posezoo {__version__}: {known.name} on {data}, loading torch")  # which takes seconds
    from posezoo.training.train import train as train_model

    if dry_run:
        from posezoo.training.train import tried

        print_content(tried(known, place, given, root=root, observer=view), format, "dry run", no_truncate)
        return
    print_result(train_model(known, place, given, root=root, observer=view), format, no_truncate)


@app.command()
def resume(
    run: Annotated[
        Path | None,
        typer.Argument(help="A run folder; without it the newest below outputs/.", autocompletion=complete.runs),
    ] = None,
    format: Format = "human",
    no_truncate: Whole = False,
) -> None:
    """Continue a run that was stopped or killed: the same losses as if it had never stopped.

    Example: posezoo resume outputs/atloc+hyper/demo-loop/20261122T101500Z
    """
    from posezoo.cli.console import TrainView
    from posezoo.training.train import resume as resume_run

    print_result(resume_run(run, observer=TrainView(format == "quiet")), format, no_truncate)


app.command("eval")(evaluation.evaluate)
app.command("calibrate")(evaluation.calibrate)
app.command("compare")(evaluation.compare)
app.command("report")(evaluation.report)


app.command()(predict)
app.command()(serve)


@app.command()
def export(
    model: Annotated[str, typer.Argument(help="A run folder or local-dir:PATH.", autocompletion=complete.trained)],
    to: Annotated[Literal["onnx", "pt2"], typer.Option(help="onnx for onnxruntime, pt2 for torch.")] = "onnx",
    out: Annotated[Path | None, typer.Option(help="The file; without it MODEL.onnx or MODEL.pt2 here.")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Run it and the model on images; exit 4 if they differ.")
    ] = False,
    format: Format = "human",
    no_truncate: Whole = False,
) -> None:
    """Write a trained model as one file to deploy, complete for use.

    Example: posezoo export outputs/atloc+hyper/demo-loop/20261122T101500Z --to onnx --check
    """
    from posezoo.cli.console import TrainView
    from posezoo.zoo.export import export as export_model
    from posezoo.zoo.find import full_name

    view = TrainView(format == "quiet")
    print_content(export_model(full_name(model), to, out, check, view).rows(), format, "export", no_truncate)


@app.command()
def parity(
    file: Annotated[Path, typer.Argument(metavar="FILE.npz", help="Images and the outputs of the other model.")],
    model: Annotated[
        str,
        typer.Option(
            "--model",
            help="local-dir:PATH, a run folder, hf-hub:OWNER/REPO or an alias.",
            autocompletion=complete.trained,
        ),
    ],
    tolerance: Annotated[
        float, typer.Option(help="Largest difference that passes, in units of an output's largest number.")
    ] = 1e-5,
    device: Device = "cpu",
    format: Format = "human",
    no_truncate: Whole = False,
) -> None:
    """Compare a model with stored outputs of another implementation on the same images; exit code 4 if they differ.

    Example: posezoo parity authors.npz --model local-dir:ms-7scenes
    """
    from posezoo.base.errors import WeightsError
    from posezoo.cli.console import TrainView
    from posezoo.zoo.parity import parity as compare

    note = TrainView(format == "quiet").note
    found = compare(file, model, tolerance=tolerance, device=device, note=note)
    title = f"{found.model} against {file}: {found.images} images, tolerance {tolerance:g}"
    print_content(found.to_dict() if format == "json" else found.rows(), format, title, no_truncate)
    if not found.equal:
        worst = max(found.differences, key=lambda one: one.relative)
        what = f"{worst.output} differs by {worst.relative:.3g} of its largest number, {tolerance:g} is allowed"
        raise WeightsError(f"{file}: {what}", "the same weights, images and eval mode? see Parity in the documentation")
