"""Hooks of mkdocs: the changelog of the repository is a page of the site, its links turned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """The page's text; for the changelog that of CHANGELOG.md."""
    if page.file.src_uri != "changelog.md":
        return markdown
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    files = (path.name for path in ROOT.glob("*.md"))
    for name in files:
        text = text.replace(f"]({name})", f"]({config['repo_url']}/blob/main/{name})")
    return text.replace("](docs/", "](")
