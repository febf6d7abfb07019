"""How far a reader walks to follow one call until the first loss: our files, functions and switches of file.

    python tools/walk.py                                       # posezoo train atloc+hyper --data demo-loop
    python tools/walk.py --list                                # the walk itself, file: function, in order
    python tools/walk.py --format json -- train posenet --data demo-loop epochs=1
    python tools/walk.py --until PoseModel.predict -- predict atloc+hyper photo.jpg
    python tools/walk.py --at-most files=30 functions=150 switches=80     # exit code 1 if the walk is longer

A file is opened when a function in it is called; a function counts once, where it is first called. Module and class
bodies, comprehensions, lambdas and what a dataclass generates are no steps of a walk. Calls in other processes (data
workers) are not seen; threads that build the image cache move the switches by one or two from run to run. The default
command starts with an empty image cache in a temporary folder, as a newcomer does; a command of your own runs where
you stand, with your cache.
"""

from __future__ import annotations

import argparse
import contextlib
import inspect
import json
import os
import sys
import tempfile
import threading
from collections import Counter
from itertools import pairwise
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
OURS = (str(ROOT / "posezoo") + os.sep, str(ROOT / "plugins") + os.sep)
CATALOGUE = str(ROOT / "registry") + os.sep
COMMAND = ["train", "atloc+hyper", "--data", "demo-loop", "precision=fp32"]
# without precision= a run first times bf16, which takes minutes on most processors; the figures are the same
PARSERS = ("parse_model", "parse_data")


class Reached(BaseException):
    """The walk is over. No handler of the code under way may take it for an error of its own."""


class Walk:
    """What was called, recorded by `profile` until the function `until` returns."""

    def __init__(self, until: str) -> None:
        self.until, self.reached = until, False
        self.steps: dict[CodeType, tuple[str, str]] = {}
        """Code -> (file, function), in the order of first calls."""
        self.resolved: Counter[str] = Counter()
        """How often names were parsed and specs looked up, by who asked."""
        self.toml: Counter[str] = Counter()
        """How often each file of the catalogue was read."""
        self.last_toml = ""

    def profile(self, frame: FrameType, event: str, _: Any) -> None:
        """The profile function (sys.setprofile)."""
        code = frame.f_code
        if event == "call":
            if code.co_filename.startswith(OURS):
                self._call(code, frame.f_back)
            elif code.co_name == "loads" and "tomllib" in code.co_filename and self.last_toml:
                self.toml[self.last_toml] += 1
                self.last_toml = ""
        elif event == "return" and code.co_qualname == self.until and code.co_filename.startswith(OURS):
            self.reached = True
            raise Reached

    def _call(self, code: CodeType, caller: FrameType | None) -> None:
        if not code.co_flags & inspect.CO_OPTIMIZED or code.co_name.startswith("<"):
            return  # a module's or a class's body; a comprehension or a lambda
        file = str(Path(code.co_filename).relative_to(ROOT))
        self.steps.setdefault(code, (file, code.co_qualname))
        name = "plugins.get" if code.co_name == "get" and file.endswith("/plugins.py") else code.co_name
        if name in (*PARSERS, "plugins.get"):
            place = f"{Path(caller.f_code.co_filename).name}:{caller.f_lineno}" if caller else "?"
            self.resolved[f"{name} from {place}"] += 1

    def audit(self, event: str, args: tuple[Any, ...]) -> None:
        """The audit hook: which file the next call of tomllib.loads reads."""
        if event == "open" and str(args[0]).endswith(".toml"):
            path = os.path.realpath(args[0])
            self.last_toml = os.path.relpath(path, ROOT) if path.startswith(CATALOGUE) else ""

    def counts(self) -> dict[str, int]:
        """The figures, by name."""
        files = [file for file, _ in self.steps.values()]
        places = [getattr(module, "__file__", None) or "" for module in list(sys.modules.values())]
        times = {
            f"{name} called": sum(n for who, n in self.resolved.items() if who.startswith(f"{name} "))
            for name in (*PARSERS, "plugins.get")
        }
        return {
            "files": len(set(files)),
            "functions": len(files),
            "switches": sum(a != b for a, b in pairwise(files)),
            "lines": sum((ROOT / file).read_text(encoding="utf-8").count("\n") for file in set(files)),
            "modules imported": sum(place.startswith(OURS) for place in places),
            "catalogue files read": self.toml.total(),
            "catalogue files": len(self.toml),
            **times,
        }


def walk(command: list[str], until: str) -> Walk:
    """The walk of a command of posezoo, run in this process; what it prints goes to stderr."""
    for place in (ROOT / "plugins", ROOT):  # this tree, whichever is installed
        sys.path.insert(0, str(place))
    from posezoo.cli import main

    found = Walk(until)
    sys.addaudithook(found.audit)
    with contextlib.redirect_stdout(sys.stderr):
        threading.setprofile(found.profile)
        sys.setprofile(found.profile)
        try:
            main(command)
        except (Reached, SystemExit):
            pass
        finally:
            sys.setprofile(None)
            threading.setprofile(None)  # type: ignore[arg-type]
    return found


def main() -> int:
    """Print the walk; 1 if it is longer than `--at-most`, 2 if it ends before the function `--until` returns."""
    own, command = sys.argv[1:], []
    if "--" in own:
        own, command = own[: own.index("--")], own[own.index("--") + 1 :]
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], epilog="The command goes after --.")
    parser.add_argument("--until", default="PoseLoss.forward", help="the function whose return ends the walk")
    parser.add_argument(
        "--list", action="store_true", help="print every step, and who parsed names and looked up specs"
    )
    parser.add_argument("--format", choices=("human", "json"), default="human")
    parser.add_argument("--at-most", nargs="+", default=[], metavar="COUNT=N", help="files, functions, switches, lines")
    options = parser.parse_args(own)
    limits = {name: int(most) for name, _, most in (limit.partition("=") for limit in options.at_most)}

    with contextlib.ExitStack() as stack:
        if not command:
            os.environ["POSEZOO_CACHE"] = stack.enter_context(tempfile.TemporaryDirectory())
            stack.enter_context(contextlib.chdir(os.environ["POSEZOO_CACHE"]))
        found = walk(command or COMMAND, options.until)
    counts = found.counts()
    if unknown := limits.keys() - counts.keys():
        parser.error(f"--at-most knows {', '.join(counts)}, not {', '.join(unknown)}")

    if options.format == "json":
        steps = list(found.steps.values()) if options.list else []
        print(json.dumps({**counts, "toml": found.toml, "resolved": found.resolved, "steps": steps}, indent=1))
    else:
        for file, function in found.steps.values() if options.list else ():
            print(f"{file}: {function}")
        for name, count in [*counts.items(), *found.toml.items(), *(found.resolved.items() if options.list else ())]:
            print(f"{count:6,}  {name}")
    if not found.reached:
        print(f"the command ended before {options.until} returned", file=sys.stderr)
        return 2
    longer = [f"{name}: {counts[name]}, at most {most}" for name, most in limits.items() if counts[name] > most]
    print("\n".join(longer), end="\n" if longer else "", file=sys.stderr)
    return 1 if longer else 0


if __name__ == "__main__":
    sys.exit(main())
