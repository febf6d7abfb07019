"""No call in posezoo or its plugins may run code that comes from outside, or write outside its folder.

The calls are found in the syntax tree. What must be allowed stands in ALLOWED with its reason.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted(path for folder in ("posezoo", "plugins", "docs/examples") for path in (ROOT / folder).rglob("*.py"))
ALLOWED: dict[tuple[str, str], str] = {
    ("posezoo/base/files/objects.py", "pickle"): "finds its own few functions whatever a file names; test_objects.py",
}
"""(file, what): why this one is safe."""

NEVER = {
    "eval": "eval",
    "exec": "exec",
    "__import__": "__import__",
    "os.system": "os.system",
    "os.popen": "os.popen",
    "tempfile.mktemp": "tempfile.mktemp",
    "yaml.load": "yaml.load",
    "yaml.unsafe_load": "yaml.load",
    "yaml.full_load": "yaml.load",
    "runpy.run_path": "runpy",
    "runpy.run_module": "runpy",
}
PICKLES = ("pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "jsonpickle")
FETCHERS = ("load_state_dict_from_url", "download_url_to_file", "load_url")


def dotted(node: ast.AST) -> str:
    """`a.b.c` as text; empty for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        inner = dotted(node.value)
        return f"{inner}.{node.attr}" if inner else f"?.{node.attr}"
    return ""


def real_names(tree: ast.AST) -> dict[str, str]:
    """What local names stand for: `from torch import load as l` makes l torch.load."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return {"np": "numpy", **names}


def is_true(call: ast.Call, keyword: str) -> bool:
    return any(k.arg == keyword and isinstance(k.value, ast.Constant) and k.value.value is True for k in call.keywords)


def unsafe(source: str) -> Iterator[tuple[int, str]]:
    """(line, what) of every unsafe call."""
    tree = ast.parse(source)
    names = real_names(tree)

    def full(node: ast.AST) -> str:
        first, _, rest = dotted(node).partition(".")
        return names.get(first, first) + (f".{rest}" if rest else "")

    for node in ast.walk(tree):
        if isinstance(node, ast.keyword):
            value = getattr(node.value, "value", None)
            if (node.arg in ("trust_remote_code", "allow_pickle", "shell") and value is not False) or (
                node.arg == "verify" and value is False
            ):
                yield node.value.lineno, str(node.arg)
        if isinstance(node, ast.ClassDef) and any(full(base).endswith(".Unpickler") for base in node.bases):
            yield node.lineno, "pickle"
        if not isinstance(node, ast.Call):
            continue
        name = full(node.func)
        last = name.rpartition(".")[2]
        if name in NEVER:
            yield node.lineno, NEVER[name]
        elif name.partition(".")[0] in PICKLES and last in ("load", "loads", "Unpickler", "open", "decode"):
            yield node.lineno, "pickle"
        elif name == "torch.load" and not is_true(node, "weights_only"):
            yield node.lineno, "torch.load"
        elif name.startswith("torch.hub.") or last in FETCHERS:
            yield node.lineno, "torch.hub"
        elif last in ("extractall", "unpack_archive") and not any(
            k.arg == "filter" and getattr(k.value, "value", None) == "data" for k in node.keywords
        ):
            yield node.lineno, last


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_unsafe_call(path: Path) -> None:
    name = str(path.relative_to(ROOT))
    found = [(line, what) for line, what in unsafe(path.read_text(encoding="utf-8")) if (name, what) not in ALLOWED]
    assert not found, f"{name}: {found}"


def test_what_is_allowed_is_still_needed() -> None:
    for name, what in ALLOWED:
        assert what in [found for _, found in unsafe((ROOT / name).read_text(encoding="utf-8"))], name


@pytest.mark.parametrize(
    "line",
    [
        "import pickle; pickle.loads(x)",
        "from pickle import load as l; l(f)",
        "import pickle as p; p.Unpickler(f).load()",
        "from pickle import Unpickler\nclass Mine(Unpickler): ...",
        "import pickle\nclass Mine(pickle.Unpickler): ...",
        "import torch; torch.load(f)",
        "import torch; torch.load(f, weights_only=False)",
        "import torch; torch.load(f, weights_only=flag)",
        "from torch import load; load(f)",
        "import torch; torch.hub.load('a', 'b')",
        "from torch.hub import load_state_dict_from_url; load_state_dict_from_url(u)",
        "import yaml; yaml.load(f)",
        "eval(text)",
        "exec(text)",
        "import numpy as np; np.load(f, allow_pickle=True)",
        "import tarfile; tarfile.open(f).extractall(d)",
        "import shutil; shutil.unpack_archive(f)",
        "AutoModel.from_pretrained(n, trust_remote_code=True)",
        "import subprocess; subprocess.run(c, shell=True)",
        "import os; os.system(c)",
        "session.get(u, verify=False)",
    ],
)
def test_each_unsafe_call_is_found(line: str) -> None:
    assert list(unsafe(line))


@pytest.mark.parametrize(
    "line",
    [
        "model.eval()",
        "import torch; torch.load(f, weights_only=True)",
        "import json; json.loads(x)",
        "import tarfile; tarfile.open(f).extractall(d, filter='data')",
        "import numpy as np; np.load(f, allow_pickle=False)",
        "import pickle; raise pickle.UnpicklingError",
    ],
)
def test_safe_calls_are_not(line: str) -> None:
    assert not list(unsafe(line))


def test_no_secret_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from posezoo.base.errors import HubError, redacted
    from posezoo.cli.console import error_line

    monkeypatch.setenv("HF_TOKEN", "some-other-form-of-token")
    text = "Authorization: Bearer abc.def-123, hf_AbCdEf123456 and some-other-form-of-token"
    for shown in (redacted(text), error_line(HubError(text, text))):
        for secret in ("abc.def", "AbCdEf", "some-other"):
            assert secret not in shown
