"""Options that several commands share, with one help text each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import typer

from posezoo.base.errors import UsageError
from posezoo.cli import complete

Format = Annotated[
    Literal["human", "json", "quiet"],
    typer.Option("--format", help="human tables, json on stdout, or nothing but files."),
]
Whole = Annotated[bool, typer.Option("--no-truncate", help="Long cells in full, however narrow the terminal.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE",
        help="Settings, e.g. epochs=30 backbone=resnet18 hyper.rank=64",
        autocompletion=complete.settings,
    ),
]
Root = Annotated[str | None, typer.Option(help="Folder of the benchmark, instead of POSEZOO_DATA.")]
Tta = Annotated[
    bool, typer.Option("--tta", help="One pose from each picture and turned copies of it: five or nine times the work.")
]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Skip bad frames; they are listed in skipped.txt.")]
Split = Annotated[
    str | None,
    typer.Option(help="blocks (blocks:40, blocks:2.5m), sequences, test (all frames), or a CSV file."),
]
Subset = Annotated[Literal["test", "val", "train"], typer.Option(help="Which split.")]
Device = Annotated[str, typer.Option(help="auto (the GPU if there is one), cpu or cuda.")]
Trust = Annotated[bool, typer.Option("--trust", help="Open a .pt2 file: it can run its author's code.")]
_SETTING = re.compile(r"[A-Za-z_][\w.-]*=")  # no model: the = of posenet+hyper=two comes after a +


def job_settings(launcher: str | None, job: Sequence[str] | None) -> dict[str, Any]:
    """The parameters of jobs, `--job KEY=VALUE`. Raises UsageError where there are no jobs."""
    from posezoo.catalogue import settings

    if job and launcher is None:
        raise UsageError("--job says how jobs run, and without --launcher there are none", "--launcher submitit")
    return settings.parse(job or [])


def models_and_settings(words: Sequence[str] | None) -> tuple[list[str], list[str]]:
    """The words of a command that takes models and then settings, KEY=VALUE."""
    given = [word for word in words or () if _SETTING.match(word)]
    return [word for word in words or () if word not in given], given
