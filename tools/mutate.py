"""Mutation testing on demand: small changes of the code, one at a time, and which of them the tests notice.

    python tools/mutate.py                                           # 120 mutants of the parts that compute
    python tools/mutate.py --paths posezoo/data/splits.py --count 30 --seed 1
    python tools/mutate.py --paths posezoo/nn/losses.py --tests tests/nn --at-least 90    # exit code 1 below

Needs `pip install coverage`. First each test file is run once with coverage (kept in .mutate/, which git ignores, and
measured anew only where files change); then each mutant (tools/mutants.py) runs the tests that run its lines, those of
the file's own test first, fastest first, until one fails. A mutant is `killed` by a failing test or by a `timeout`; it
has `survived` if all pass, is `uncovered` if no test runs its lines, and `doubtful` if the test that killed it also
fails without it. Mutants that no test can notice are listed in tools/equivalent.toml and not counted.

Everything runs in temporary copies of the tree; the work tree is only read. Each mutant is a fork of this process,
which has torch imported, so none waits for that.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import sys
import tempfile
import tomllib
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

# read when numpy, torch and huggingface_hub are imported: one core each, no network
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1", HF_HUB_OFFLINE="1")

import pytest
from covering import PYTEST, Covering, kept, measure
from forks import SOURCES, Job, copied, forked, noted
from mutants import Mutant, mutants

ROOT = Path(__file__).resolve().parent.parent
KEPT = ROOT / ".mutate"
EQUIVALENT = Path(__file__).with_name("equivalent.toml")
WARM = (
    "torch",
    "torchvision",
    "timm",
    "accelerate",
    "pydantic",
    "typer",
    "rich",
    "hypothesis",
    "scipy",
    "roma",
    "PIL.Image",
)
PATHS = (  # the parts that compute
    "posezoo/nn",
    "posezoo/training",
    *(f"posezoo/evaluation/{name}.py" for name in ("metrics", "retrieval", "baselines")),
    *("posezoo/data/splits.py", "posezoo/catalogue/settings.py"),
)


@dataclass
class Outcome:
    """What became of a mutant."""

    mutant: Mutant
    verdict: str
    seconds: float = 0.0
    by: str = ""
    """The test that failed, or how many passed."""


@dataclass
class Plan:
    """The tests of a mutant, those of its own test file and the others."""

    own: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    seconds: float = 0.0
    left_out: int = 0
    """Tests that the budget has no time for."""

    def __str__(self) -> str:
        slower = f", {self.left_out} slower ones not run" if self.left_out else ""
        return f"{len(self.own) + len(self.others)} tests pass{slower}"


def main() -> int:
    """Run the mutants and print what became of them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--paths", nargs="+", help="files and folders to change (default: the parts that compute)")
    parser.add_argument("--tests", nargs="+", default=["tests"], help="test files and folders to use")
    parser.add_argument("--count", type=int, default=120, help="how many mutants, spread evenly over the files")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--budget", type=float, default=60, help="seconds of own tests, and of others")
    parser.add_argument("--at-least", type=float, default=0, help="exit with 1 if a smaller share (%%) is killed")
    options = parser.parse_args()

    paths = options.paths or PATHS
    chosen = sample(python_files(paths), options.count, options.seed)
    for package in WARM:
        __import__(package)
    with tempfile.TemporaryDirectory(prefix="mutate-") as temporary:
        folders = [copied(ROOT, Path(temporary, str(n))) for n in range(options.workers)]
        coverings = measured(python_files(options.tests), folders)
        outcomes = []
        for outcome in tried(chosen, coverings, folders, options.budget):
            outcomes.append(outcome)
            print(f"{len(outcomes):4}/{len(chosen)}  {described(outcome)}", flush=True)
        doubt(outcomes, folders)
    share = report(outcomes)
    return 1 if share < options.at_least else 0


def python_files(paths: Sequence[str]) -> list[str]:
    """The Python files under paths of the tree (of tests: the test files), relative to its root."""
    found: set[Path] = set()
    for path in paths:
        place = ROOT / path
        found |= (
            {place} if place.is_file() else set(place.rglob("test_*.py" if Path(path).parts[0] == "tests" else "*.py"))
        )
    if not found:
        raise SystemExit(f"no Python files: {' '.join(paths)}")
    return sorted(str(path.relative_to(ROOT)) for path in found)


def sample(files: Sequence[str], count: int, seed: int) -> list[Mutant]:
    """`count` mutants, as many of each file, and within a file as many of each kind, as there are."""
    equivalent = tomllib.loads(EQUIVALENT.read_text(encoding="utf-8")).get("equivalent", [])
    by_file = []
    for n, file in enumerate(files):
        found = mutants(file, (ROOT / file).read_text(encoding="utf-8"))
        found = [mutant for mutant in found if not any(_is_listed(mutant, entry) for entry in equivalent)]
        random.Random(f"{seed} {n}").shuffle(found)
        kinds = [[m for m in found if m.kind == kind] for kind in dict.fromkeys(m.kind for m in found)]
        by_file.append(_in_turn(kinds))
    return sorted(_in_turn(by_file)[:count], key=lambda mutant: (mutant.file, mutant.start))


def _is_listed(mutant: Mutant, entry: dict[str, str]) -> bool:
    return mutant.file.endswith(entry["file"]) and (mutant.text, mutant.change) == (entry["line"], entry["mutation"])


def _in_turn(groups: list[list[Mutant]]) -> list[Mutant]:
    """The first of each group, then the second of each."""
    return [mutant for row in itertools.zip_longest(*groups) for mutant in row if mutant]


def measured(test_files: Sequence[str], folders: list[Path]) -> dict[str, Covering]:
    """What each test file covers; those whose files have changed are run."""
    places = {file: KEPT / "covering" / f"{file.replace('/', '.')}.json" for file in test_files}
    known = {file: kept(place, ROOT, file) for file, place in places.items()}
    missing = [file for file, covering in known.items() if covering is None]
    jobs = deque(Job(partial(measure, file, SOURCES, places[file]), 1800) for file in missing)
    for done, _ in enumerate(forked(ROOT, jobs, folders), 1):
        print(
            f"measuring what tests cover: {done}/{len(missing)}", end="\r" if done < len(missing) else "\n", flush=True
        )
    for file in missing:
        known[file] = kept(places[file], ROOT, file)
    for file, covering in known.items():
        if covering is None or covering.failed:
            failed = ", ".join(covering.failed) if covering else "all"
            print(f"not used, for they fail or are skipped without a mutant: {file}: {failed}", file=sys.stderr)
    return {file: covering for file, covering in known.items() if covering}


def planned(mutant: Mutant, coverings: dict[str, Covering], budget_s: float) -> Plan:
    """The tests that run the mutant's lines, fastest first, as many as the budget has time for.

    Those of the module's own test file in any case: lines that run once, at import, or in a process of their own are
    nobody's in particular. They have a budget of their own, or many fast tests elsewhere would leave none for them.
    """
    seconds = {t: c.seconds[t] for c in coverings.values() for t in c.tests(mutant.file, *mutant.scope)}
    own_file = f"/test_{Path(mutant.file).stem}.py::"
    own = {t: s for c in coverings.values() for t, s in c.seconds.items() if own_file in t}
    others = {t: s for t, s in seconds.items() if own_file not in t}
    plan = Plan()
    for tests, chosen in ((own, plan.own), (others, plan.others)):
        spent_s = 0.0
        for test in sorted(tests, key=tests.__getitem__):
            if spent_s + tests[test] > budget_s and spent_s:
                plan.left_out += 1
                continue
            spent_s += tests[test]
            chosen.append(test)
        plan.seconds += spent_s
    return plan


def tried(
    chosen: Sequence[Mutant], coverings: dict[str, Covering], folders: list[Path], budget_s: float
) -> Iterator[Outcome]:
    """What becomes of each mutant, as they end."""
    jobs: deque[Job] = deque()
    plans = {mutant: planned(mutant, coverings, budget_s) for mutant in chosen}
    for mutant, plan in plans.items():
        job = None
        for tests in filter(None, (plan.others, plan.own)):
            job = Job(partial(failing, tests), 30 + 5 * plan.seconds, mutant, job)
        if job:
            jobs.append(job)
        else:
            yield Outcome(mutant, "uncovered")
    for job, code, by in forked(ROOT, jobs, folders):
        if code == 0 and job.later:
            job.later.spent_s = job.spent_s
            jobs.appendleft(job.later)
        elif job.mutant:
            verdict = {0: "survived", None: "timeout"}.get(code, "killed")
            yield Outcome(job.mutant, verdict, job.spent_s, by or ("" if code else str(plans[job.mutant])))


def doubt(outcomes: Sequence[Outcome], folders: list[Path]) -> None:
    """Run the tests that killed without a mutant; what a test that fails then has killed is doubtful."""
    tests = sorted({outcome.by for outcome in outcomes if outcome.verdict == "killed" and "::" in outcome.by})
    while tests:
        [(_, code, by)] = forked(ROOT, deque([Job(partial(failing, tests), 3600)]), folders)
        if code == 0:
            return
        for outcome in outcomes:
            if outcome.by == by or not by:
                outcome.verdict = "doubtful"
        tests = [test for test in tests if test != by] if by else []


class Chosen:
    """A plugin of pytest that runs the chosen tests only, in their order, and notes the first that fails."""

    def __init__(self, tests: list[str], note: Path) -> None:
        self.order, self.note = {test: n for n, test in enumerate(tests)}, note

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = sorted((i for i in items if i.nodeid in self.order), key=lambda i: self.order[i.nodeid])

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._note(report)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._note(report)

    def _note(self, report: pytest.CollectReport | pytest.TestReport) -> None:
        if report.failed and not self.note.exists():
            self.note.write_text(report.nodeid, encoding="utf-8")


def failing(tests: list[str], folder: Path) -> int:
    """0 if all tests pass."""
    files = list(dict.fromkeys(test.partition("::")[0] for test in tests))
    code = pytest.main([*PYTEST, "-x", "--tb=no", *files], plugins=[Chosen(tests, noted(folder))])
    return 0 if code == pytest.ExitCode.NO_TESTS_COLLECTED else int(code)


def described(outcome: Outcome) -> str:
    """One line about a mutant."""
    m = outcome.mutant
    by = f"  ({outcome.by})" if outcome.by else ""
    return f"{outcome.verdict:9} {outcome.seconds:5.1f} s  {m.file}:{m.line}  {m.kind}: {m.change}{by}"


def report(outcomes: Sequence[Outcome]) -> float:
    """Print the table by file and the mutants that live; the share killed, in per cent."""
    alive = [outcome for outcome in outcomes if outcome.verdict not in ("killed", "timeout")]
    verdicts = ("killed", "timeout", "survived", "uncovered", "doubtful")
    print(f"\n{'  '.join(verdicts)}  file")
    for file in sorted({outcome.mutant.file for outcome in outcomes}):
        n = Counter(outcome.verdict for outcome in outcomes if outcome.mutant.file == file)
        print("  ".join(f"{n[v]:{len(v)}}" for v in verdicts), file, sep="  ")
    for outcome in alive:
        print(f"\n{described(outcome)}\n    {outcome.mutant.text}")
    share = 100 * (1 - len(alive) / len(outcomes)) if outcomes else 100.0
    mean_s = sum(outcome.seconds for outcome in outcomes) / max(1, len(outcomes))
    print(f"\n{len(outcomes) - len(alive)} of {len(outcomes)} killed: {share:.1f} %, {mean_s:.1f} s a mutant")
    KEPT.mkdir(exist_ok=True)
    lines = [{"verdict": o.verdict, "by": o.by, **vars(o.mutant), "change": o.mutant.change} for o in outcomes]
    (KEPT / "last.json").write_text(json.dumps(lines, indent=1), encoding="utf-8")
    return share


if __name__ == "__main__":
    sys.exit(main())
