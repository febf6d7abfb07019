"""Kill a training run at random moments, resume it each time, and compare it with one that nothing happened to.

    python tools/kills.py --kills 100                 one process
    python tools/kills.py --kills 20 --processes 2    two, over gloo: one of them is killed, the other ends by itself

A small model on the demo data (demo-yard); every life of the run is a process forked from one that has imported torch.
Prints how many kills there were, how many came within a save, and whether all losses are the same to the last digit.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import shutil
import socket
import sys
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

SETTINGS = (
    "backbone=test_efficientnet.r160_in1k pretrained_backbone=false resize=64 crop=64 hidden=64 batch_size=10"
    " precision=fp32 device=cpu track=none checkpoint.every_steps=3 dropout=0.3"
)
TIMES = ("images_per_s", "time")  # what two runs with the same numbers may differ in


def main() -> None:
    """Print one JSON object; exit code 1 if the numbers differ."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("outputs/kills"))
    given = parser.parse_args()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["posezoo.api", "posezoo.training.train", "posezoo.cli.commands"])
    shutil.rmtree(given.out, ignore_errors=True)
    given.out.mkdir(parents=True)
    runs = Runs(context, given)
    runs.until_finished("whole", kill=False)
    number = 0
    while runs.kills < given.kills:
        number += 1
        runs.until_finished(f"killed-{number}", kill=True)
    whole = numbers(given.out / "whole")
    same = [numbers(given.out / f"killed-{n}") == whole for n in range(1, number + 1)]
    weights = {(given.out / name / "best/model.safetensors").read_bytes() for name in runs.names}
    print(
        json.dumps(
            {
                "kills": runs.kills,
                "within a save": runs.in_saves,
                "processes": given.processes,
                "runs": number,
                "steps of each": len([line for line in whole if "loss" in line]),
                "same numbers": all(same),
                "same weights": len(weights) == 1,
                "slowest end of the others (s)": round(runs.slowest, 2),
            }
        )
    )
    sys.exit(0 if all(same) and len(weights) == 1 else 1)


class Runs:
    """The lives of runs, and what was done to them."""

    def __init__(self, context: Any, given: argparse.Namespace) -> None:
        self.context, self.given, self.random = context, given, random.Random(given.seed)
        self.kills = self.in_saves = 0
        self.slowest = 0.0
        self.names: list[str] = []

    def until_finished(self, name: str, kill: bool) -> None:
        """Begin the run, and resume it until it has ended by itself or enough kills were made."""
        run = self.given.out / name
        self.names.append(name)
        while not (run / "report" / "report.json").exists():
            words = ["resume", str(run)]
            if not (run / "config.toml").exists():
                settings = [*SETTINGS.split(), f"epochs={self.given.epochs}", f"workers={self.given.workers}"]
                words = ["train", "posenet", "--data", "demo-yard", *settings, f"out={run}"]
            self.live(run, [*words, "--format", "quiet"], kill and self.kills < self.given.kills)

    def live(self, run: Path, words: list[str], kill: bool) -> None:
        """One life of all processes of the run."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        several = self.given.processes > 1
        processes: list[BaseProcess] = []
        for rank in range(self.given.processes):
            process = self.context.Process(target=work, args=(words, rank, self.given.processes, port, several))
            process.start()
            processes.append(process)
        if kill:
            begun = steps(run)
            until = time.monotonic() + 60
            while steps(run) <= begun and any(p.is_alive() for p in processes) and time.monotonic() < until:
                time.sleep(0.02)  # a life without a step would bring the run nowhere
            time.sleep(self.random.uniform(0, 1.0))
            chosen = self.random.choice(processes)
            if chosen.is_alive():
                chosen.kill()
                self.kills += 1
                self.in_saves += any((run / "ckpt").glob(".tmp-*"))
        killed = time.monotonic()
        for process in processes:
            process.join(1200 if not kill else 300)
            if process.is_alive():
                raise SystemExit(f"a process of {run} hangs")
        if kill:
            self.slowest = max(self.slowest, time.monotonic() - killed)


def work(words: list[str], rank: int, world: int, port: int, several: bool) -> None:
    """One process of the run."""
    os.environ["OMP_NUM_THREADS"] = "1"
    if several:
        os.environ |= {
            **{"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world), "LOCAL_WORLD_SIZE": str(world)},
            **{"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"},
        }
    import torch

    from posezoo import cli

    torch.set_num_threads(1)
    sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 (until the process ends)
    sys.exit(cli.run(words))


def steps(run: Path) -> int:
    """Lines of metrics.jsonl."""
    path = run / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def numbers(run: Path) -> list[dict[str, Any]]:
    """All lines of metrics.jsonl, numbers to the last bit, without times."""
    lines = [json.loads(text) for text in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v.hex() if isinstance(v, float) else v for k, v in line.items() if k not in TIMES} for line in lines]


if __name__ == "__main__":
    main()
