"""`posezoo study`: the figures of the paper on any data set, with numbers and one line of verdict."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from posezoo.cli import complete
from posezoo.cli.options import Format
from posezoo.cli.output import print_content

app = typer.Typer(help="Studies of trained models: where and when one is better.", no_args_is_help=True)


@app.command("error-map")
def error_map(
    first: Annotated[Path, typer.Argument(help="A run folder, with its report.", autocompletion=complete.runs)],
    other: Annotated[Path, typer.Argument(help="The run that it is compared with.", autocompletion=complete.runs)],
    out: Annotated[Path, typer.Option(help="Folder of study.json and error-map.png.")] = Path("outputs/error-map"),
    format: Format = "human",
) -> None:
    """Where along the path the second model is better than the first: a map, numbers, one line.

    Example: posezoo study error-map outputs/posenet/demo-loop/20261122T101500Z outputs/atloc/demo-loop/20261122T111500Z
    """
    from posezoo.studies.error_map import error_map as study
    from posezoo.training.again import stored_report

    reports = [stored_report(run)[1] for run in (first, other)]
    found = study((str(first), str(other)), reports[0], reports[1], out)
    if format == "human":
        turning = found["spearman_with_turning"]
        found = {
            "verdict": found["verdict"],
            "images improved": f"{100 * found['share_improved']:.0f} %",
            "correlation with turning": "-" if turning is None else f"{turning:.2f}",
            "written": [str(out / "study.json"), str(out / "error-map.png")],
        }
    print_content(found, format, "error map: B against A")
