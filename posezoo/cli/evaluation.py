"""The commands that measure: evaluate a model, compare several, write a report again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from posezoo.base.errors import UsageError
from posezoo.cli import complete
from posezoo.cli.options import Device, Format, Root, SkipBad, Split, Subset, Tta, Whole
from posezoo.cli.output import print_comparison, print_content, print_report


# Long: most are its options and their help
def evaluate(
    model: Annotated[
        str,
        typer.Argument(
            help="A run folder, local-dir:PATH, hf-hub:OWNER/REPO, alias, or baseline:mean|retrieval|oracle.",
            autocompletion=complete.trained,
        ),
    ],
    data: Annotated[
        str | None,
        typer.Option(
            "--data", help="Data set; without it, the one the run was trained on.", autocompletion=complete.data
        ),
    ] = None,
    root: Root = None,
    split: Split = None,
    subset: Subset = "test",
    scene: Annotated[
        str | None, typer.Option(help="The model's name for the one scene of the data: a new recording of it.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Where the report goes; without it, report/ in the model's folder, or outputs/reports/NAME."),
    ] = None,
    skip_bad: SkipBad = False,
    tta: Tta = False,
    device: Device = "auto",
    to: Annotated[
        Literal["csv", "tum", "kitti", "colmap", "nerf", "labels"] | None,
        typer.Option(help="Write the model's poses in this form too, to a folder of that name in the report."),
    ] = None,
    viewer: Annotated[
        bool, typer.Option("--viewer", help="Write recording.rrd too: a walk along the images in rerun's viewer.")
    ] = False,
    format: Format = "human",
    no_truncate: Whole = False,
) -> None:
    """Evaluate a trained model beside the baselines; write report.html, predictions.csv, TUM files, pictures.

    Example: posezoo eval outputs/atloc+hyper/demo-loop/20261122T101500Z
    """
    from posezoo.cli.console import TrainView
    from posezoo.training.again import evaluate as evaluate_model
    from posezoo.zoo.find import report_folder

    if out is not None and out.exists() and not out.is_dir():
        raise UsageError(f"--out {out} is a file", "give a folder, or a name that is free")
    view = TrainView(format == "quiet")
    report = evaluate_model(
        model,
        data,
        root=root,
        split=split,
        subset=subset,
        scene=scene,
        skip_bad=skip_bad,
        tta=tta,
        device=device,
        observer=view,
    )
    folder = report.save(out or report_folder(model))
    if to:
        report.export(to, folder / to)
    if viewer:
        from posezoo.evaluation.viewer import NAME, record_report

        view.note(f"written: {record_report(report, folder / NAME)}")
    print_report(report, folder, None, format, no_truncate)


def calibrate(
    model: Annotated[
        str, typer.Argument(help="A run folder, or local-dir:PATH of a model folder.", autocompletion=complete.trained)
    ],
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            help="A new recording of the place; without it, the frames that the run held apart.",
            autocompletion=complete.data,
        ),
    ] = None,
    root: Root = None,
    scene: Annotated[str | None, typer.Option(help="The model's name for the one scene of the data.")] = None,
    skip_bad: SkipBad = False,
    device: Device = "auto",
    format: Format = "human",
    no_truncate: Whole = False,
) -> None:
    """Find how far off poses may be, from frames not trained on: predictions then come with a radius and familiarity.

    Example: posezoo calibrate outputs/atloc+hyper/demo-loop/20261122T101500Z --data folder:new-walk
    """
    from posezoo.cli.console import TrainView
    from posezoo.training.calibrate import calibrate as calibrate_model

    view = TrainView(format == "quiet")
    try:
        found = calibrate_model(model, data, root=root, scene=scene, skip_bad=skip_bad, device=device, observer=view)
    finally:
        view.end()
    print_content(found.rows(), format, "calibrated", no_truncate)


def compare(
    models: Annotated[
        list[str],
        typer.Argument(
            help="Run folders, local-dir:PATH, hf-hub:OWNER/REPO, aliases or baseline:...; A is the first.",
            autocompletion=complete.trained,
        ),
    ],
    data: Annotated[
        str | None, typer.Option("--data", help="Evaluate all on this data set; without it their reports are compared.")
    ] = None,
    root: Root = None,
    split: Split = None,
    subset: Subset = "test",
    skip_bad: SkipBad = False,
    device: Device = "auto",
    format: Format = "human",
    no_truncate: Whole = False,
) -> None:
    """Models on the same images: better, not distinguishable or worse than the first, overall and where.

    Example: posezoo compare outputs/posenet/demo-loop/20261122T101500Z posenet-anchors-demo
    """
    from posezoo.cli.console import TrainView
    from posezoo.training.again import compare as compare_models

    view = TrainView(format == "quiet")
    found = compare_models(
        *models, data=data, root=root, split=split, subset=subset, skip_bad=skip_bad, device=device, observer=view
    )
    print_comparison(found, format, no_truncate)


def report(
    run: Annotated[
        Path, typer.Argument(help="A run folder, or a folder that has a report.", autocompletion=complete.runs)
    ],
    show: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    latex: Annotated[bool, typer.Option("--latex", help="Print the medians as a LaTeX table (booktabs).")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print every row as CSV.")] = False,
    figures: Annotated[
        Literal["svg", "pdf"] | None, typer.Option(help="Write the figures in this form too, for a paper.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The folder to write to; without it, where the report is.")] = None,
    format: Format = "human",
) -> None:
    """Write report.html and report.md again from what was measured; nothing is computed anew.

    Example: posezoo report outputs/atloc+hyper/demo-loop/20261122T101500Z --open
    """
    from posezoo.base.poses import printable
    from posezoo.evaluation import page
    from posezoo.training.reports import stored_report

    folder, found = stored_report(run)
    if (latex or csv) and (out is not None or figures or show):
        raise UsageError("--latex and --csv print, the others are for pages and figures", "write them with > FILE")
    if latex + csv + (format != "human") > 1:
        raise UsageError("--latex, --csv and --format are different answers", "one of them at a time")
    if latex or csv:
        typer.echo(printable((page.latex if latex else page.csv)(found)), nl=False)
        return
    folder = out or folder
    written = [str(path) for path in found.write_pages(folder)]
    drawn = [str(path) for path in found.draw(folder, figures)] if figures else []
    more = {"figures": drawn} if drawn else {}
    print_content({"page": written[0], "text": written[1], **more}, format, "report")
    if show:
        import webbrowser

        from posezoo.cli.console import TrainView

        if not webbrowser.open(Path(written[0]).resolve().as_uri()):
            TrainView(format == "quiet").note(
                f"no browser was found here (the variable BROWSER names one): {written[0]}"
            )
