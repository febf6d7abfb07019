"""Hooks of mkdocs: the changelog as a page, where other projects' names are described, names in one piece."""

from __future__ import annotations

import re
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from mkdocs.plugins import event_priority
from mkdocstrings import Inventory

ROOT = Path(__file__).parent.parent
FOLDER = tempfile.TemporaryDirectory(prefix="inventories-")  # lives as long as the build


@event_priority(100)  # before mkdocstrings reads its inventories
def on_config(config: Any) -> None:
    """Hand docs/inventories.toml to mkdocstrings, as it would fetch it from the projects' sites."""
    found = tomllib.loads((ROOT / "docs" / "inventories.toml").read_text(encoding="utf-8"))
    handler = config.plugins["mkdocstrings"].config.handlers["python"]
    handler["inventories"] = []
    for project, entry in found.items():
        inventory = Inventory(project=project)
        for uri, names in entry["pages"].items():
            for name in names:
                inventory.register(name, domain="py", role="class", uri=uri.format(name=name))
        path = Path(FOLDER.name) / f"{project}.inv"
        path.write_bytes(inventory.format_sphinx())
        handler["inventories"].append({"url": path.as_uri(), "base_url": entry["base"]})


def on_page_content(html: str, **_: Any) -> str:
    """The page with names (code without a space, that fits a phone) and cells of numbers marked, not to be broken."""
    html = re.sub(r"<code>([^<\s]{1,34})</code>", r'<code class="whole">\1</code>', html)
    return re.sub(r"<td>([\d., ]+)</td>", r'<td class="whole">\1</td>', html)


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """The page's text; for the changelog that of CHANGELOG.md, its links turned."""
    if page.file.src_uri != "changelog.md":
        return markdown
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    for path in ROOT.glob("*.md"):
        text = text.replace(f"]({path.name})", f"]({config['repo_url']}/blob/main/{path.name})")
    return text.replace("](docs/", "](")
