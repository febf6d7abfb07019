"""The notebooks of the site, executed by `python docs/make.py notebooks`, and the pages made of them.

A notebook runs in an empty folder of its own. Its page beside it has the texts, the code, what was printed, and the
pictures as files.
"""

from __future__ import annotations

import base64
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat

FOLDER = Path(__file__).parent / "notebooks"
SECONDS = 900
LINES = 40  # of an output, on its page
WARNED = re.compile(r"^\S+:\d+: (\w+Warning: .*)\n  .*$", re.MULTILINE)
"""A warning; where in whose folder it was given is no matter of the reader's."""
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


def names() -> list[str]:
    """The notebooks, without suffix."""
    return sorted(path.stem for path in FOLDER.glob("*.ipynb"))


def executed(name: str) -> Any:
    """The notebook with the outputs that it has today. Raises nbclient's CellExecutionError."""
    from nbclient import NotebookClient

    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        NotebookClient(
            notebook, timeout=SECONDS, kernel_name="python3", record_timing=False, resources=resources
        ).execute()
    for cell in notebook.cells:
        cell["outputs"] = [each for each in cell.get("outputs", []) if _shown(each)]
        for output in cell["outputs"]:
            if output.get("name") == "stderr":
                output["text"] = WARNED.sub(r"\1", output["text"])
        if cell.cell_type != "code":
            del cell["outputs"]
    notebook.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return notebook


def write(name: str) -> None:
    """Execute the notebook and write it, its page and its pictures."""
    notebook = executed(name)
    nbformat.write(notebook, FOLDER / f"{name}.ipynb")
    (FOLDER / f"{name}.md").write_text(page(name), encoding="utf-8")
    for number, picture in enumerate(pictures(notebook), 1):
        (FOLDER / f"{name}-{number}.png").write_bytes(picture)


def page(name: str) -> str:
    """The notebook as Markdown; its first cell is a text that begins with the title."""
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    parts, count = [], 0
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            if number == 0:
                parts.append(f"This page is a notebook: [{name}.ipynb]({name}.ipynb).")
            continue
        parts.append(f"```python\n{cell.source}\n```")
        lines = [line for output in cell.outputs for line in _text(output).rstrip().splitlines()]
        if lines:
            lines = [*lines[:LINES], "..."] if len(lines) > LINES else lines
            parts.append("```text\n" + "\n".join(lines) + "\n```")
        for _ in pictures({"cells": [cell]}):
            count += 1
            parts.append(f"![What the cell above draws]({name}-{count}.png)")
    return "\n\n".join(parts) + "\n"


def _text(output: Any) -> str:
    """What an output says; nothing where it is a picture."""
    data = output.get("data", {})
    return "" if "image/png" in data else ANSI.sub("", output.get("text") or data.get("text/plain", ""))


def _shown(output: Any) -> bool:
    """Whether a reader sees it: no widget, which is gone, and no empty text."""
    data = output.get("data", {})
    return "application/vnd.jupyter.widget-view+json" not in data and (
        "image/png" in data or bool(_text(output).strip())
    )


def pictures(notebook: Any) -> Iterator[bytes]:
    """The pictures that its cells show, as PNG."""
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                yield base64.b64decode(output["data"]["image/png"])
