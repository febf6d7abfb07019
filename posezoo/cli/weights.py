"""`posezoo weights`: trained models: list, fetch, check, publish, build, convert authors' files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from posezoo.base.errors import UsageError
from posezoo.cli import complete
from posezoo.cli.options import Format, Root, Whole
from posezoo.cli.output import print_content

app = typer.Typer(help="Weights of trained models: list, fetch, check, publish, build, convert.", no_args_is_help=True)


@app.command("list")
def list_(
    pattern: Annotated[str, typer.Argument(help="Only names that match.", autocompletion=complete.aliases)] = "*",
    format: Format = "human",
    no_truncate: Whole = False,
) -> None:
    """The trained models of the catalogue: where their weights are, and how to get those not published.

    Example: posezoo weights list '*demo'
    """
    from posezoo.cli.rows import weights

    print_content(weights(pattern), format, "trained models", no_truncate)


@app.command()
def pull(
    names: Annotated[
        list[str], typer.Argument(help="Aliases, or hf-hub:OWNER/REPO[@REV].", autocompletion=complete.aliases)
    ],
    format: Format = "human",
) -> None:
    """Fetch trained models into the hub's cache and check them, for loading offline. Prints the licence.

    Example: posezoo weights pull hf-hub:posezoo/atloc-anchors-hyper-demo@main
    """
    from posezoo.cli.console import TrainView
    from posezoo.zoo.find import find, full_name

    note = TrainView(format == "quiet").note
    for name in names:
        found = find(full_name(name), note)
        size = len(found.read()) + len(found.read_estimate() or b"")
        if format == "json":
            row = {"name": name, "origin": found.origin, "size": size, "licence": found.licence}
            typer.echo(json.dumps(row))
        elif format == "human":
            typer.echo(f"{name}: {found.origin}, {size / 1e6:.1f} MB, as pinned")


@app.command()
def verify(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Aliases, run folders, ...; none: all published.", autocompletion=complete.trained),
    ] = None,
    format: Format = "human",
    no_truncate: Whole = False,
) -> None:
    """Check that local weights equal what is pinned, byte for byte; no network. Exit code 4 if one does not.

    Example: posezoo weights verify
    """
    from posezoo.base.errors import WeightsError
    from posezoo.catalogue import entries
    from posezoo.cli.rows import verified_weights

    rows = verified_weights(names or [])
    print_content(rows, format, "weights that are here", no_truncate)
    bad = [row["name"] for row in rows if row["state"].startswith("bad")]
    if bad:
        entry = entries.published().get(bad[0])
        own = "install its package again" if entry else "train it again, or copy it anew"
        hint = f"posezoo weights pull {bad[0]}" if entry and not entry.in_package else own
        raise WeightsError(f"{len(bad)} of {len(rows)} are damaged: {', '.join(bad[:3])}", hint)


@app.command()
def card(
    model: Annotated[
        str,
        typer.Argument(
            help="A run folder, local-dir:PATH, hf-hub:OWNER/REPO or an alias.", autocompletion=complete.trained
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="Write to this file; a hand-written one is never overwritten.")
    ] = None,
    format: Format = "human",
) -> None:
    """The model card, regenerated from the model's configuration and its report.

    Example: posezoo weights card outputs/atloc+hyper/demo-loop/20261122T101500Z --out README.md
    """
    from posezoo.zoo.card import text_of, write

    content = text_of(model)
    if out is not None:
        write(out, content)
    if format == "json":
        typer.echo(json.dumps({"card": content, "file": str(out) if out else None}))
    elif format == "human" and out is None:
        typer.echo(content, nl=False)


@app.command()
def push(
    model: Annotated[str, typer.Argument(help="A run folder or local-dir:PATH.", autocompletion=complete.trained)],
    repository: Annotated[str, typer.Argument(help="OWNER/REPO, or REPO in POSEZOO_HUB_NAMESPACE.")],
    private: Annotated[bool, typer.Option("--private", help="A new repository is private.")] = False,
    format: Format = "human",
) -> None:
    """Push a model to the hub: configuration, weights and card in one commit. Log in first: hf auth login.

    Example: posezoo weights push outputs/atloc+hyper/demo-loop/20261122T101500Z you/atloc-my-street
    """
    from posezoo.cli.console import TrainView
    from posezoo.publish.push import full_repository
    from posezoo.publish.push import push as push_model

    repository = full_repository(repository)
    commit = push_model(model, repository, private=private, note=TrainView(format == "quiet").note)
    if format == "json":
        typer.echo(json.dumps({"repository": repository, "commit": commit}))
    elif format == "human":
        typer.echo(f"pushed: hf-hub:{repository}@{commit}")


@app.command()
def build(
    aliases: Annotated[
        list[str],
        typer.Argument(
            metavar="ALIAS... [KEY=VALUE...]", help="Aliases, then settings.", autocompletion=complete.aliases
        ),
    ],
    out: Annotated[Path | None, typer.Option(help="Write to OUT/ALIAS instead of pushing to the hub.")] = None,
    root: Root = None,
    registry: Annotated[
        Path | None, typer.Option(help="The catalogue to write entries into; else posezoo's own.")
    ] = None,
    format: Format = "human",
) -> None:
    """Train aliases by their recipes, evaluate, write cards, publish, pin. A killed build continues where it was.

    Example: posezoo weights build posenet-anchors-demo atloc-anchors-hyper-demo --out plugins/posezoo_demo/weights
    """
    from posezoo.catalogue import settings
    from posezoo.cli.console import TrainView
    from posezoo.publish.build import build as build_model

    view = TrainView(format == "quiet")
    overrides = settings.parse([word for word in aliases if "=" in word])
    wanted = [word for word in aliases if "=" not in word]
    if not wanted:
        raise UsageError("settings and no alias", "posezoo weights list names them")
    for alias in wanted:
        built = build_model(alias, out=out, root=root, overrides=overrides, catalogue=registry, observer=view)
        pinned = built.entry.model_dump() if built.entry else None
        if format == "json":
            typer.echo(json.dumps({"alias": alias, "folder": str(built.folder), "published": pinned}))
        elif format == "human":
            where = f"{built.entry.repository}@{built.entry.revision}".rstrip("@") if built.entry else "not published"
            typer.echo(f"{alias}: {built.folder} ({where})")


@app.command()
def convert(
    file: Annotated[Path, typer.Argument(help="The checkpoint: a torch state dict or safetensors.")],
    source: Annotated[str, typer.Option("--from", help="hyperpose, hyperatloc, atloc or ms-transformer.")],
    data: Annotated[str, typer.Option("--data", help="The labels it was trained on, e.g. 7scenes, cambridge.")],
    out: Annotated[Path, typer.Option(help="A new folder for the model.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="What the file does not contain, e.g. mean=[0.4,0.4,0.4]"),
    ] = None,
    trust: Annotated[
        bool, typer.Option("--i-trust-this", help="Also read a pickle of whole objects, in a process of its own.")
    ] = False,
    format: Format = "human",
    no_truncate: Whole = False,
) -> None:
    """Make a model folder from an authors' checkpoint; its answers are camera-to-world in metres, as always.

    Example: posezoo weights convert hyperpose_7scenes.pth --from hyperpose --data 7scenes --out ms-hyperpose
    """
    from posezoo.catalogue import settings
    from posezoo.cli.console import TrainView
    from posezoo.zoo.convert import convert as convert_weights

    view, given = TrainView(format == "quiet"), settings.nested(settings.parse(overrides or []))
    converted = convert_weights(file, source, data, out, trust=trust, overrides=given, progress=view.progress)
    print_content(
        vars(converted) | {"next": f"posezoo eval {converted.path} --data {data}"}, format, "converted", no_truncate
    )
