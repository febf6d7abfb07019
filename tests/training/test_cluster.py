"""docs/guides/cluster.md: its script for Slurm, run on this machine."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import faults
import pytest
import small_data

SLURM = {  # what the script of the guide calls, on this machine alone
    "srun": 'echo $$ > step; exec "$@"',
    "scancel": 'all() { kill -USR1 "$1"; for child in $(pgrep -P "$1"); do all "$child"; done; }; all "$(cat step)"',
    "scontrol": 'if [ "$1" = requeue ]; then echo "$2" >> requeued; else echo localhost; fi',
}


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("localhost", 0))
        port: int = listening.getsockname()[1]
        return port


@pytest.mark.slow
def test_the_script_of_the_guide_for_slurm(one_place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Warned, the run saves and the job is started again; it then ends, and is not."""
    guide = (Path(__file__).parents[2] / "docs" / "guides" / "cluster.md").read_text(encoding="utf-8")
    script = guide.partition("```bash\n")[2].partition("```")[0]
    settings = small_data.words(small_data.settings("posenet", epochs=20, batch_size=6))
    for text, ours in (
        (
            "atloc+hyper --data 7scenes-chess --root /data/7scenes",
            f"posenet --data folder:{one_place} {' '.join(settings)}",
        ),
        ("--nproc-per-node 4 --max-restarts 3", "--nproc-per-node 2 --max-restarts 1"),
        (":29500", f":{free_port()}"),
        ("/scratch/$USER/posezoo", str(tmp_path / "images")),
    ):
        assert text in script
        script = script.replace(text, ours)
    for name, text in SLURM.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}")
    for name, text in {"NNODES": "1", "JOB_ID": "77", "JOB_NODELIST": "here", "SUBMIT_DIR": str(tmp_path)}.items():
        monkeypatch.setenv(f"SLURM_{name}", text)
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    run, requeued = tmp_path / "outputs" / "atloc-hyper", tmp_path / "requeued"
    with subprocess.Popen(["bash", "-c", script], cwd=tmp_path, stderr=subprocess.PIPE, text=True) as job:
        until = time.monotonic() + 120
        while not (run / "metrics.jsonl").exists() or len(faults.metrics(run)) < 5:
            assert job.poll() is None and time.monotonic() < until, job.communicate()[1][-2000:]
            time.sleep(0.1)
        os.kill(job.pid, signal.SIGUSR1)
        said = job.communicate(timeout=240)[1]
    assert job.returncode == 1, said
    assert "stopped by SIGUSR1" in said
    assert requeued.read_text() == "77\n"
    assert len(faults.checkpoints(run)) >= 1
    assert not (run / "report").exists(), "it had ended before it was warned"
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    assert (run / "report" / "report.json").exists()
    assert requeued.read_text() == "77\n"
