"""The commands that show what there is: models, one thing in full, settings, this installation."""

from __future__ import annotations

from typing import Annotated

import typer

from posezoo.base.errors import UsageError
from posezoo.cli import complete
from posezoo.cli.options import Format, Overrides, Whole
from posezoo.cli.output import print_content

app = typer.Typer()


@app.command("list")
def list_(
    pattern: Annotated[
        str, typer.Argument(help="Only names that match, e.g. 'atloc*'.", autocompletion=complete.models)
    ] = "*",
    exclude: Annotated[str, typer.Option(help="Not names that match this.", autocompletion=complete.models)] = "",
    pretrained: Annotated[bool, typer.Option("--pretrained", help="Only trained models that load at once.")] = False,
    data: Annotated[
        str, typer.Option(help="With the errors on this data set, ours or published.", autocompletion=complete.data)
    ] = "",
    sort: Annotated[str, typer.Option(help="By this column, e.g. MB, ms, m.", autocompletion=complete.columns)] = "",
    format: Format = "human",
    no_truncate: Whole = False,
) -> None:
    """The architectures, with what +MODIFIER adds; then the trained models, in short (posezoo weights list has all).

    params: in millions. MB: in float32. ms: CPU milliseconds an image on one core.
    m, deg, by: the known medians, and whose they are: ours where there are any, each with settings of its own.

    Example: posezoo list 'atloc*' --data 7scenes-chess --sort m
    """
    from posezoo.catalogue import resolve
    from posezoo.cli import rows
    from posezoo.cli.console import TrainView

    if data and pretrained:
        raise UsageError("--data is for architectures, --pretrained for trained models", "one of them at a time")
    if data:
        resolve.data(data)
    trained = rows.ordered(rows.weights_in_short(pattern, exclude, pretrained), sort if pretrained else "")
    found = trained if pretrained else rows.models(pattern, exclude, data, sort)
    print_content(found, format, "trained models" if pretrained else "models", no_truncate)
    if format == "human" and not pretrained and not (data or sort) and trained:
        ways = "not published: train by the recipe or weights convert the authors' file, see posezoo weights list NAME"
        print_content(trained, format, f"trained models ({ways})", no_truncate)
    note = TrainView(format != "human").note
    if data and len({row["by"] for row in found} - {None}) > 1:
        note("ours may be of another split, picture size or number of epochs than the papers': posezoo info NAME")
    if not found and not trained and (near := rows.near_names(pattern)):
        note("did you mean " + " or ".join(f'"{name}"' for name in near) + "?")
    for remark in rows.plugin_remarks():
        note(remark)


@app.command()
def info(
    name: Annotated[
        str,
        typer.Argument(
            help="A model (atloc+hyper), alias, data set (demo-loop), run folder, local-dir: or hf-hub:.",
            autocompletion=complete.anything,
        ),
    ],
    overrides: Overrides = None,
    format: Format = "human",
    no_truncate: Whole = False,
) -> None:
    """Everything about a model, data set or run: settings, parameters by part, paper.

    Example: posezoo info atloc+hyper hyper.rank=256
    """
    from posezoo.catalogue import settings
    from posezoo.cli.info import one

    print_content(one(name, settings.nested(settings.parse(overrides or []))), format, name, no_truncate)


@app.command("settings")
def settings_(
    model: Annotated[
        str | None,
        typer.Argument(help="A model (atloc+hyper); without it, every key there is.", autocompletion=complete.models),
    ] = None,
    study: Annotated[str, typer.Option(help="The settings of this study, study.KEY=VALUE.")] = "",
    format: Format = "human",
) -> None:
    """Every KEY=VALUE that training takes: default, type, range, unit, source; nothing is opened or trained.

    Values are those of the model's published settings; train --print-config shows what a recipe makes of them.

    Example: posezoo settings atloc+hyper
    """
    from posezoo.catalogue import resolve
    from posezoo.cli import keys

    if study and model:
        raise UsageError("--study is for a study's own settings, MODEL for a training's", "one of them at a time")
    if study:
        print_content(keys.of_study(study), format, f"settings of study {study}")
        return
    known = None if model is None else resolve.model(model)
    print_content(keys.of_model(known), format, f"settings of {model}" if model else "settings")


@app.command()
def doctor(format: Format = "human", no_truncate: Whole = False) -> None:
    """What works here: versions, devices, plugins, folders, packaged weights.

    Example: posezoo doctor --format json
    """
    from posezoo.cli import info as installation

    print_content(installation.doctor(), format, "this installation", no_truncate)
