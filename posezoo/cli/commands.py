"""The commands. Each parses, calls one public function and prints; see posezoo.cli for errors and exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from posezoo.cli.bench import app as bench_app
from posezoo.cli.data import app as data_app
from posezoo.cli.plugins import app as plugins_app
from posezoo.cli.weights import app as weights_app

Format = Annotated[
    Literal["human", "json", "quiet"],
    typer.Option("--format", help="human tables, json on stdout, or nothing but files."),
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE", help="Settings, e.g. epochs=30 backbone=resnet18 hyper.rank=64"),
]
Root = Annotated[str | None, typer.Option(help="Folder of the benchmark, instead of POSEZOO_DATA.")]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Leave out what is wrong with the data, and record it.")]

app = typer.Typer(
    help="The model zoo of absolute camera pose regression.\n\nExample: posezoo train atloc+hyper --data demo-loop",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(bench_app, name="bench")
app.add_typer(data_app, name="data")
app.add_typer(plugins_app, name="plugins")
app.add_typer(weights_app, name="weights")


@app.callback(invoke_without_command=True)
def version(show: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False) -> None:
    """The model zoo of absolute camera pose regression.

    Example: posezoo train atloc+hyper --data demo-loop

    Add --debug to any command to see the traceback of an error.
    """
    if show:
        from posezoo.version import __version__

        typer.echo(f"posezoo {__version__}")
        raise typer.Exit()


@app.command("list")
def list_(
    pattern: Annotated[str, typer.Argument(help="Only names that match, e.g. 'atloc*'.")] = "*",
    format: Format = "human",
) -> None:
    """The architectures, with what +MODIFIER adds; then the trained models, in short (posezoo weights list has all).

    Example: posezoo list 'atloc*'
    """
    from posezoo import describe
    from posezoo.console import TrainView

    _print(describe.models(pattern), format, "models")
    trained = describe.weights_in_short(pattern) if format == "human" else []
    if trained:
        ways = "not published: train by the recipe or weights convert the authors' file, see posezoo weights list NAME"
        _print(trained, format, f"trained models ({ways})")
    for remark in describe.plugin_remarks():
        TrainView(format != "human").note(remark)


@app.command()
def info(
    name: Annotated[
        str,
        typer.Argument(help="A model (atloc+hyper), alias, data set (demo-loop), run folder, local-dir: or hf-hub:."),
    ],
    overrides: Overrides = None,
    format: Format = "human",
) -> None:
    """Everything about one model: its settings, its parameters by part, its paper.

    Example: posezoo info atloc+hyper hyper.rank=256
    """
    from posezoo import describe, settings

    _print(describe.one(name, settings.nested(settings.parse(overrides or []))), format, name)


@app.command()
def doctor(format: Format = "human") -> None:
    """What works here: versions, devices, plugins, folders, packaged weights.

    Example: posezoo doctor --format json
    """
    from posezoo import describe

    _print(describe.doctor(), format, "this installation")


@app.command()
def train(
    model: Annotated[str, typer.Argument(help="ARCH[+MODIFIER[=VALUE]], e.g. atloc+hyper; see posezoo list.")],
    data: Annotated[
        str, typer.Option("--data", help="Data set: demo-loop, 7scenes-chess, folder:PATH; see posezoo data list.")
    ],
    overrides: Overrides = None,
    root: Root = None,
    skip_bad: SkipBad = False,
    format: Format = "human",
) -> None:
    """Train a model, evaluate its best epoch beside the baselines, and say where the report lies.

    Example: posezoo train atloc+hyper --data demo-loop epochs=10 seed=1
    """
    from posezoo import api, settings
    from posezoo.console import TrainView

    view = TrainView(format == "quiet")
    given = ({"data.skip_bad": True} if skip_bad else {}) | settings.parse(overrides or [])
    _print_result(api.train(model, data, root=root, observer=view, **given), format)


@app.command()
def resume(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    format: Format = "human",
) -> None:
    """Continue a run that was stopped or killed: the same losses as if it had never stopped.

    Example: posezoo resume outputs/atloc+hyper/demo-loop/20261122T101500Z
    """
    from posezoo import api
    from posezoo.console import TrainView

    _print_result(api.resume(run, observer=TrainView(format == "quiet")), format)


@app.command("eval")
def eval_(
    model: Annotated[str, typer.Argument(help="A run folder, local-dir:PATH, hf-hub:OWNER/REPO or an alias.")],
    data: Annotated[
        str | None, typer.Option("--data", help="Data set; without it, the one the run was trained on.")
    ] = None,
    root: Root = None,
    split: Annotated[str | None, typer.Option(help="blocks, sequences, or a split file (image, split).")] = None,
    subset: Annotated[str, typer.Option(help="Which split: test, val or train.")] = "test",
    out: Annotated[
        Path | None, typer.Option(help="Where the report goes; without it, report/ in the run folder.")
    ] = None,
    skip_bad: SkipBad = False,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    to: Annotated[
        Literal["csv", "tum", "kitti", "colmap", "nerf", "labels"] | None,
        typer.Option(help="Write the model's poses in this form too, to a folder of that name in the report."),
    ] = None,
    format: Format = "human",
) -> None:
    """Evaluate a trained model beside the baselines; write report.json, predictions.csv, TUM files and pictures.

    Example: posezoo eval outputs/atloc+hyper/demo-loop/20261122T101500Z
    """
    from posezoo import api
    from posezoo.console import TrainView
    from posezoo.trained import report_folder

    view = TrainView(format == "quiet")
    report = api.evaluate(
        model, data, root=root, split=split, subset=subset, skip_bad=skip_bad, device=device, observer=view
    )
    folder = report.save(out or report_folder(model))
    if to:
        report.export(to, folder / to)
    _print_report(report, folder, None, format)


@app.command()
def predict(
    model: Annotated[
        str, typer.Argument(help="A run folder, local-dir:PATH, hf-hub:OWNER/REPO, an alias or an exported file.")
    ],
    images: Annotated[list[Path], typer.Argument(help="Image files.")],
    to: Annotated[
        Literal["table", "csv", "tum", "kitti", "json", "colmap", "nerf", "labels"],
        typer.Option(help="Form of the poses."),
    ] = "table",
    out: Annotated[Path | None, typer.Option(help="Write to this file instead of stdout.")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    trust: Annotated[bool, typer.Option("--trust", help="Open a .pt2 file: it can run code of who wrote it.")] = False,
    format: Format = "human",
) -> None:
    """Camera poses of images, no ground truth needed: camera-to-world, metres, quaternion (w, x, y, z).

    Example: posezoo predict outputs/atloc+hyper/demo-loop/20261122T101500Z photo.jpg --to tum
    """
    from posezoo import api, describe
    from posezoo.console import TrainView
    from posezoo.types import printable

    note = TrainView(format == "quiet").note
    poses = api.load(_place(model), device, trust=trust, note=note).predict(list(images), note=note)
    if to == "table" and out is None and format == "human":
        _print(describe.poses(poses), "human", "poses")
        return
    kind = "json" if format == "json" else "csv" if to == "table" else to
    text = getattr(poses, f"to_{kind}")()
    if out is not None:
        out.write_text(text, encoding="utf-8", errors="surrogateescape")
    elif format != "quiet":
        typer.echo(printable(text), nl=False)


@app.command()
def export(
    model: Annotated[str, typer.Argument(help="A run folder or local-dir:PATH.")],
    to: Annotated[Literal["onnx", "pt2"], typer.Option(help="onnx for onnxruntime, pt2 for torch.")] = "onnx",
    out: Annotated[Path | None, typer.Option(help="The file; without it MODEL.onnx or MODEL.pt2 here.")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Run it and the model on images; exit 4 if they differ.")
    ] = False,
    format: Format = "human",
) -> None:
    """Write a trained model as one file to deploy, with everything needed to use it.

    Example: posezoo export outputs/atloc+hyper/demo-loop/20261122T101500Z --to onnx --check
    """
    from posezoo import exporter
    from posezoo.console import TrainView

    view = TrainView(format == "quiet")
    _print(exporter.export(_place(model), to, out, check, view).rows(), format, "export")


def _place(model: str) -> str:
    """What `posezoo.load` calls the model: a bare path is a folder, unless it is a file that posezoo export wrote."""
    from posezoo.trained import full_name

    return model if model.endswith((".onnx", ".pt2")) else full_name(model)


def _print(content: Any, format: str, title: str) -> None:
    """Rows (a list of dicts) as a table, a dict as two columns and a table for each list of rows in it; all as JSON."""
    from posezoo.console import print_table

    if format == "json":
        typer.echo(json.dumps(content, indent=1, default=str))
    elif format == "human" and isinstance(content, list):
        header = list(content[0]) if content else ["nothing"]
        print_table(title, header, [[_cell(row[key]) for key in header] for row in content])
    elif format == "human":
        tables = {key: value for key, value in content.items() if isinstance(value, list) and _is_rows(value)}
        rows = [[key, _shown(value)] for key, value in content.items() if key not in tables]
        print_table(title, ["what", "value"], rows)
        for key, value in tables.items():
            _print(value, format, f"{title}: {key}")


def _is_rows(value: list[Any]) -> bool:
    return bool(value) and all(isinstance(row, dict) for row in value)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "\n".join(f"{key} = {item}" for key, item in value.items())
    return "\n".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _print_result(result: Any, format: str) -> None:
    from posezoo.console import duration, is_main_process

    if not is_main_process():  # torchrun started several: one table is enough
        return
    _print_report(result.report, result.path / "report", result.path, format)
    if format == "human":
        typer.echo(f"training took {duration(result.seconds)}")


def _print_report(report: Any, folder: Path, run: Path | None, format: str) -> None:
    from posezoo.console import print_table

    if format == "json":
        typer.echo(
            json.dumps(report.to_dict() | {"report": str(folder)} | ({"run": str(run)} if run else {}), indent=1)
        )
    if format != "human":
        return
    for title, header, rows in report.table_rows():
        print_table(title, header, rows)
    for note in report.notes:
        typer.echo(f"note: {note}")
    if report.selection:
        typer.echo(f"weights: {report.selection}")
    typer.echo(f"report: {folder}/report.json, predictions.csv, trajectory.png, errors.png")
    if run is not None:
        typer.echo(f"next: posezoo predict {run} IMAGE...   posezoo eval {run}")
