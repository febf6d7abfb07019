"""`posezoo plugins new`: a complete plugin, copied from one of the examples with its names changed.

The examples are `posezoo/_examples` in a wheel and `../docs/examples` in a checkout: what the documentation shows, what
the tests install and what this writes are the same files.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from posezoo.base.paths import user_path
from posezoo.plugin import ResourceError, UsageError

EXAMPLES = {"model": "hello", "reader": "hello-data", "modifier": "tta", "training": "route"}
"""Kind of plugin -> the name in the example `posezoo-NAME`."""
SHARED = {"gitignore": ".gitignore", "LICENSE": "LICENSE", "test.yml": ".github/workflows/test.yml"}
"""File in `shared` -> where it goes in every new plugin; NAME in it is the plugin's."""
HOOKS = {
    "model": "posezoo_models",
    "reader": "posezoo_readers",
    "modifier": "posezoo_modifiers",
    "training": "posezoo_modifiers",
}
"""What a plugin of this kind registers: `training` is a modifier that learns the place and brings a loss."""


def examples() -> Path:
    """The folder of the example plugins."""
    here = Path(__file__).parent.parent
    return here / "_examples" if (here / "_examples").is_dir() else here.parent / "docs" / "examples"


def new_plugin(name: str, kind: str, out: Path | None = None, taken: Mapping[str, object] = {}) -> Path:
    """The folder of the plugin `name`, written to `out` (without it `posezoo-NAME` here).

    `taken`: names of this kind -> the plugin that brings each. Raises UsageError for a name that cannot be used or is
    taken, and if the folder exists already.
    """
    source = examples() / f"posezoo-{EXAMPLES[kind]}"
    paths = sorted(p for p in source.rglob("*") if p.is_file() and p.suffix in (".py", ".toml", ".md"))
    texts = {str(path.relative_to(source)): path.read_text(encoding="utf-8") for path in paths}
    _check_name(name, kind, taken, "\n".join(texts.values()))
    written = {
        _renamed(path, EXAMPLES[kind], name): _renamed(text, EXAMPLES[kind], name) for path, text in texts.items()
    }
    for path, place in SHARED.items():
        written[place] = (examples() / "shared" / path).read_text(encoding="utf-8").replace("NAME", name)
    folder = user_path(out or Path(f"posezoo-{name}"))
    try:
        folder.mkdir(parents=True)
        for path, text in written.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
    except FileExistsError:
        raise UsageError(f"{folder} exists already: nothing is written", "choose another --out") from None
    except OSError as error:
        raise ResourceError(f"cannot write {folder}: {error.strerror}", "choose another --out") from None
    return folder


def _check_name(name: str, kind: str, taken: Mapping[str, object], text: str) -> None:
    """`text`: the example's code, in whose modules the new classes must not hide what is imported."""
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name) or len(name) > 40:
        raise UsageError(f"{ascii(name)[:60]} cannot be a plugin's name", "lower case letters, digits and single -")
    if name in taken:
        raise UsageError(f'{kind} "{name}" exists already, from plugin {taken[name]}', "choose another name")
    package, class_name = f"posezoo_{_snake(name)}", _camel(name)
    if find_spec(package):
        raise UsageError(f"a package {package} exists already", "choose another name")
    if name != EXAMPLES[kind] and (keyword.iskeyword(class_name) or re.search(rf"\b{class_name}(Config)?\b", text)):
        raise UsageError(f"{name}: its class {class_name} would hide another", "choose another name")


def _renamed(text: str, old: str, new: str) -> str:
    """`text` with the example's name changed in all its forms: hello-data, posezoo_hello_data, HelloDataConfig."""
    text = re.sub(rf"{_camel(old)}(?![a-z])", _camel(new), text)
    text = re.sub(rf"(?<=_){_snake(old)}(?![a-z])", _snake(new), text)
    return re.sub(rf"(?<![a-z_]){old}(?![a-z])", new, text)


def _snake(name: str) -> str:
    return name.replace("-", "_")


def _camel(name: str) -> str:
    return name.title().replace("-", "")
