"""`posezoo study`: the figures and tables of the paper on any data set, with numbers and one line of verdict."""

# no `from __future__ import annotations`: the help of a study's command is made of the study

from pathlib import Path
from typing import Annotated, Literal

import typer

from posezoo.cli import complete
from posezoo.cli.options import Format, Root, Whole, job_settings, models_and_settings
from posezoo.cli.output import print_content
from posezoo.studies.declared import STUDIES, Declared

app = typer.Typer(
    help="The paper's figures and tables on any data: train what is missing, measure, draw, and say in one line what"
    " the numbers say.",
    no_args_is_help=True,
)


def _add(study: Declared) -> None:
    """The command of a study; all have the same words and options."""

    # Long: its options and their help
    def command(
        words: Annotated[
            list[str] | None,
            typer.Argument(
                metavar="[MODEL]... [KEY=VALUE]...",
                help="Models: architectures, which are trained, or trained ones; none: those of the grid"
                f" {study.grid}. Then settings of the trainings, epochs=5, and of the study, study.KEY=VALUE.",
                autocompletion=complete.models,
            ),
        ] = None,
        data: Annotated[str, typer.Option("--data", help="Data set.", autocompletion=complete.data)] = study.data,
        seeds: Annotated[str, typer.Option(help="e.g. 0,1,2; without it the grid's own.")] = "",
        out: Annotated[Path, typer.Option(help="Folder of studies and of their runs; what is there is used.")] = Path(
            "outputs/study"
        ),
        root: Root = None,
        launcher: Annotated[
            Literal["local", "submitit"] | None,
            typer.Option(help="Trainings as jobs: local, one for each device here; submitit, on the cluster."),
        ] = None,
        job: Annotated[list[str] | None, typer.Option(help="A parameter of submitit's jobs.")] = None,
        format: Format = "human",
        no_truncate: Whole = False,
    ) -> None:
        from posezoo.catalogue import settings
        from posezoo.cli.console import TrainView
        from posezoo.studies.grid import parse_seeds
        from posezoo.studies.study import run

        models, given = models_and_settings(words)
        found = run(
            study.name,
            models,
            data=data,
            seeds=parse_seeds(seeds),
            out=out,
            root=root,
            given=settings.parse(given),
            launcher=launcher,
            job=job_settings(launcher, job),
            observer=TrainView(format == "quiet"),
        )
        rows = found.pop("rows")
        if format != "human":
            print_content(found, format, study.name)
            return
        print_content(rows, format, f"{study.name} on {data}", no_truncate)
        from posezoo.cli.tables import print_lines

        print_lines(*(f"note: {line}" for line in found["notes"]), found["verdict"])
        typer.echo(f"written: {found['written']}/study.json, {', '.join(found['figures'])}")

    command.__doc__ = f"{study.summary}\n\nExample: posezoo study {study.name} {study.example}"
    app.command(study.name)(command)


for _study in STUDIES.values():
    _add(_study)


@app.command("error-map")
def error_map(
    first: Annotated[Path, typer.Argument(help="A run folder, with its report.", autocompletion=complete.runs)],
    other: Annotated[Path, typer.Argument(help="The run that it is compared with.", autocompletion=complete.runs)],
    out: Annotated[Path, typer.Option(help="Folder of study.json and error-map.png.")] = Path("outputs/error-map"),
    difficulty: Annotated[
        Path | None,
        typer.Option(
            help="A third run: its errors part the images in quarters of difficulty.", autocompletion=complete.runs
        ),
    ] = None,
    format: Format = "human",
    no_truncate: Whole = False,
) -> None:
    """Where along the path the second model is better than the first: a map, numbers, one line.

    Example: posezoo study error-map outputs/posenet/demo-loop/20261122T101500Z outputs/atloc/demo-loop/20261122T111500Z
    """
    from posezoo.studies.error_map import error_map as study
    from posezoo.studies.error_map import shown
    from posezoo.training.reports import stored_report

    reports = [stored_report(run)[1] for run in (first, other)]
    judge = None if difficulty is None else stored_report(difficulty)[1]
    found = study((str(first), str(other)), reports[0], reports[1], out, judge)
    if format != "human":
        print_content(found, format, "error map")
        return
    print_content(shown(found), format, "error map: B against A", no_truncate)
    from posezoo.cli.tables import print_lines

    turning = found["spearman_with_turning"]
    lines = [f"note: {line}" for line in found["notes"]]
    lines += [] if turning is None else [f"correlation of B - A in position with the turns of the path: {turning:.2f}"]
    print_lines(*lines, found["verdict"])
    typer.echo(f"written: {out}/study.json, error-map.png")
