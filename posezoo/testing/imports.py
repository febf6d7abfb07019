"""A plugin imports the public parts only: `posezoo`, `posezoo.plugin`, `posezoo.nn` and `posezoo.testing`."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from posezoo.catalogue.guard import Plugin
from posezoo.nn.promises import require

PUBLIC = ("plugin", "nn", "testing")


def require_public(plugins: Iterable[Plugin]) -> None:
    """Raise PluginError for the first import of another part of posezoo in the plugins' packages."""
    for plugin in plugins:
        spec = find_spec(plugin.module.partition(":")[0])
        if spec is None or not spec.origin:
            continue
        top = Path(spec.origin)
        for path in sorted(top.parent.rglob("*.py")) if top.name == "__init__.py" else [top]:
            for line, module in private_imports(path.read_text(encoding="utf-8")):
                where = f"{path.name}, line {line}"
                require(False, f"{where}: {module} is not public: import it from posezoo.{', posezoo.'.join(PUBLIC)}")


def private_imports(source: str) -> list[tuple[int, str]]:
    """(line, module) of each import of a part of posezoo that is not public."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules = [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            whole = node.module == "posezoo"  # `from posezoo import data` is the module, `... import load` a function
            modules = [f"posezoo.{name.name}" for name in node.names] if whole else [node.module or ""]
        else:
            continue
        found += [(node.lineno, module) for module in modules if _is_private(module)]
    return found


def _is_private(module: str) -> bool:
    top, _, rest = module.partition(".")
    room = rest.partition(".")[0]
    return top == "posezoo" and bool(room) and room not in PUBLIC and find_spec(f"posezoo.{room}") is not None
