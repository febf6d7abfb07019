"""The example image: what its Dockerfile says, run here without Docker."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the extra serve")
pytest.importorskip("uvicorn", reason="the extra serve")

from served import small_model

from posezoo.zoo.saved import save

TEXT = (Path(__file__).parent.parent / "examples/serve-docker/Dockerfile").read_text()


def test_its_server_becomes_healthy_and_stops_when_told(tmp_path: Path) -> None:
    """CMD and HEALTHCHECK as they are written, but for the folder and the port."""
    save(small_model(), tmp_path / "m", "a card")
    (server,) = (json.loads(words) for words in re.findall(r"^CMD (\[.*\])$", TEXT, re.M))
    (check,) = (json.loads(words) for words in re.findall(r"^HEALTHCHECK .*CMD (\[.*\])$", TEXT, re.M))
    assert server[:3] == ["posezoo", "serve", "/model"] and "/model\n" in TEXT and check[0] == "python"
    words = [sys.executable, "-m", "posezoo", "serve", str(tmp_path / "m"), *server[3:], "--port", "0"]
    own = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        found = re.search(r"http://0\.0\.0\.0:(\d+)/pose", line)
        assert found, line
        asking = [sys.executable, *(word.replace(":8000/", f":{found[1]}/") for word in check[1:])]
        for _ in range(50):
            asked = subprocess.run(asking, env=own, capture_output=True, timeout=20, check=False)
            if asked.returncode == 0:
                break
            time.sleep(0.1)
        assert asked.returncode == 0, asked
        process.terminate()  # as docker stop does
        assert process.wait(30) == -signal.SIGTERM  # 143 in a shell
        assert "Traceback" not in process.stderr.read()
    assert subprocess.run(asking, env=own, capture_output=True, timeout=20, check=False).returncode == 1


def test_what_pip_is_given_is_one_requirement_each() -> None:
    from packaging.requirements import Requirement

    (ours,) = (Requirement(text) for text in re.findall(r'^ARG POSEZOO="(.*)"$', TEXT, re.M))
    assert (ours.name, ours.extras) == ("posezoo", {"serve"})
    assert 'pip install --no-cache-dir "${POSEZOO}"' in TEXT
