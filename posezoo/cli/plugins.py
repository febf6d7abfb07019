"""`posezoo plugins`: list what is installed, write a new one, check one against the contract."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from posezoo.base.errors import UsageError
from posezoo.cli import complete
from posezoo.cli.options import Format, Whole
from posezoo.cli.output import print_content, print_next

app = typer.Typer()


@app.callback(invoke_without_command=True)
def plugins(context: typer.Context, format: Format = "human", no_truncate: Whole = False) -> None:
    """Plugins: what is installed, what each brings, why one is off; write one; check one.

    Example: posezoo plugins
    """
    if context.invoked_subcommand is None:
        from posezoo.cli import rows

        print_content(rows.installed_plugins(), format, "plugins", no_truncate)
    elif format != "human" or no_truncate:
        which = context.invoked_subcommand
        raise UsageError(f"options stand behind {which}", f"posezoo plugins {which} ... --format json")


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="What the model, format or modifier is called; lower case.")],
    kind: Annotated[Literal["model", "reader", "modifier", "training"], typer.Option(help="What the plugin brings.")],
    out: Annotated[Path | None, typer.Option(help="The folder to write; without it posezoo-NAME here.")] = None,
    format: Format = "human",
) -> None:
    """Write a complete, working plugin: pyproject.toml, package, test, README. Nothing is overwritten.

    Example: posezoo plugins new mymodel --kind model
    """
    from posezoo.catalogue import plugins as catalogue
    from posezoo.plugin import scaffold

    taken = {
        taken: owner for (hook, taken), owner in catalogue.manager().owners.items() if hook == scaffold.HOOKS[kind]
    }
    folder = scaffold.new_plugin(name, kind, out, taken)
    if format == "json":
        files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
        typer.echo(json.dumps({"folder": str(folder), "files": files}, indent=1))
    elif format == "human":
        typer.echo(f"written: {folder}")
        print_next(f"pip install -e {folder}", f"posezoo plugins check {name}")


@app.command()
def check(
    name: Annotated[
        str,
        typer.Argument(
            help="A model, MODEL+MODIFIER, a modifier, a data format, or FORMAT:PATH.", autocompletion=complete.models
        ),
    ],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Settings, e.g. hidden=16, to make it small.")
    ] = None,
    format: Format = "human",
    no_truncate: Whole = False,
) -> None:
    """Check a model or data format against the contract: shapes, gradients, saving, exporting, and more.

    Example: posezoo plugins check posenet hidden=64
    """
    from posezoo.catalogue import settings
    from posezoo.cli.console import TrainView
    from posezoo.cli.tables import print_table
    from posezoo.testing import run
    from posezoo.testing.run import raise_if_failed, table

    view = TrainView(format != "human")

    def told(outcome: run.Outcome) -> None:
        view.say(f"{outcome.verdict:7} {outcome.check} {outcome.infusion}".rstrip())

    outcomes = run.check(
        name, settings.parse(overrides or []), lambda done, total: view.progress("checking", done, total), told
    )
    if format == "json":
        typer.echo(json.dumps([outcome._asdict() for outcome in outcomes], indent=1))
    elif format == "human":
        print_table(f"checks of {name}", *table(outcomes), no_truncate)
    raise_if_failed(name, outcomes)
