"""`posezoo study`: the figures and tables of the paper on any data set, with numbers and one line of verdict."""

# no `from __future__ import annotations`: the help of a study's command is made of the study

from pathlib import Path
from typing import Annotated, Literal

import typer

from posezoo.cli import complete
from posezoo.cli.options import Format, Root, job_settings, models_and_settings
from posezoo.cli.output import print_content, print_study
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
    ) -> None:
        from posezoo.catalogue import settings
        from posezoo.cli.console import TrainView
        from posezoo.cli.tables import print_lines
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
        print_study(rows, f"{study.name} on {data}", found["notes"])
        print_lines(found["verdict"])
        typer.echo(f"written: {found['written']}/study.json, {', '.join(found['figures'])}")

    command.__doc__ = f"{study.summary}\n\nExample: posezoo study {study.name} {study.example}"
    app.command(study.name)(command)


for _study in STUDIES.values():
    _add(_study)
