"""`posezoo weights ...` as people type it, against a hub on this machine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import faults
import pytest
from command_line import ok
from loopback_hub import LoopbackHub
from naming import naming
from small_hub import add_alias, files_of, pinned
from small_models import small as small_posenet
from small_models import with_estimate

from posezoo.zoo.saved import save

REPOSITORY = "tester/small"


@pytest.fixture
def small(hub: LoopbackHub, small_model: Path, catalogue: Path) -> str:
    """An alias whose weights are on the hub; its commit."""
    commit = hub.publish(REPOSITORY, files_of(small_model))
    add_alias(catalogue, "small", pinned(small_model, "small", commit))
    add_alias(catalogue, "unpublished", data="7scenes-chess", authors="atloc")
    return commit


def test_list_says_where_weights_are(small: str) -> None:
    rows = {row["name"]: row for row in json.loads(ok("weights", "list", "--format", "json"))}
    assert rows["small"]["weights"] == "on the hub"
    assert rows["unpublished"]["weights"] == "not published"
    assert rows["unpublished"]["how"] == (
        "posezoo train posenet --data 7scenes-chess; "
        "or posezoo weights convert --from atloc FILE --data 7scenes-chess --out FOLDER"
    )
    ok("weights", "pull", "small")
    assert "in the cache" in ok("weights", "list", "small")


def test_list_of_models_has_the_trained_ones_in_short() -> None:
    text = ok("list")
    assert "atloc-hyper-7scenes-{chess, fire, heads, office, pumpkin, redkitchen, stairs}" in text
    assert "train by the recipe or weights convert the authors' file, see posezoo weights list NAME" in text
    assert text.count("not published") < 25
    assert "trained models" not in ok("list", "no-such-*")
    names = [row["name"] for row in json.loads(ok("list", "--format", "json"))]
    assert "atloc-anchors-hyper-demo" not in names


def test_pull_and_verify(hub: LoopbackHub, small: str, tmp_path: Path) -> None:
    assert "not fetched" in ok("weights", "verify", "small")
    first = faults.in_process(["weights", "pull", "small"])
    assert f"small: hf-hub:{REPOSITORY}@{small}" in first.stdout
    assert first.stderr == f"note: licence of {REPOSITORY}: Apache-2.0\n"
    assert faults.in_process(["weights", "pull", "small"]).stderr == ""  # told once
    assert "good: hf-hub:" in ok("weights", "verify", "small")
    pulled = json.loads(ok("weights", "pull", f"hf-hub:{REPOSITORY}", "--format", "json"))
    assert pulled["origin"] == f"hf-hub:{REPOSITORY}@{small}"
    path = next((tmp_path / "hub-cache").rglob("model.safetensors")).resolve()
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    asked = len(hub.asked)
    ended = faults.assert_fails(["weights", "verify", "small"], 4, naming("1 of 1", "small", "posezoo weights pull"))
    assert "sha256 differs" in ended.stdout
    assert len(hub.asked) == asked
    again = faults.in_process(["weights", "pull", "small"])
    assert "fetching it again" in again.stderr
    assert "good" in ok("weights", "verify", "small")


def test_a_damaged_error_estimate_is_not_good(hub: LoopbackHub, catalogue: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    save(with_estimate(small_posenet("posenet")), model, "card")
    commit = hub.publish("tester/calibrated", files_of(model))
    add_alias(catalogue, "calibrated", pinned(model, "calibrated", commit))
    ok("weights", "pull", "calibrated")
    for name, folder in ((str(model), model), ("calibrated", tmp_path / "hub-cache")):
        assert "good" in ok("weights", "verify", name)
        path = next(folder.rglob("estimate-*.safetensors")).resolve()
        path.write_bytes(path.read_bytes()[:-1] + b"x")
        ended = faults.assert_fails(["weights", "verify", name], 4, naming("1 of 1 are damaged"))
        assert "estimate-" in ended.stdout and "sha256 differs" in ended.stdout
    path.unlink()
    assert "not fetched" in ok("weights", "verify", "calibrated")


def test_pull_fetches_the_error_estimate_too(
    hub: LoopbackHub, small: str, tmp_path: Path, one_place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(with_estimate(small_posenet("posenet")), tmp_path / "model", "card")
    files = files_of(tmp_path / "model")
    commit = hub.publish("tester/calibrated", files)
    pulled = json.loads(ok("weights", "pull", f"hf-hub:tester/calibrated@{commit}", "--format", "json"))
    estimate = next(name for name in files if name.startswith("estimate-"))
    assert pulled["size"] == len(files["model.safetensors"]) + len(files[estimate])
    monkeypatch.setenv("POSEZOO_OFFLINE", "1")
    image = str(next(one_place.rglob("*.png")))
    (pose,) = json.loads(ok("predict", f"hf-hub:tester/calibrated@{commit}", image, "--format", "json"))
    assert "radius_m" in pose


def test_alias_in_every_command(small: str, one_place: Path, no_pictures: None) -> None:
    image = str(next(one_place.rglob("*.png")))
    poses = json.loads(ok("predict", "small", image, "--format", "json"))
    assert len(poses[0]["position"]) == 3
    ended = faults.in_process(["predict", f"hf-hub:{REPOSITORY}", image, "--format", "json"])
    assert json.loads(ended.stdout) == poses
    assert small in ended.stderr
    assert REPOSITORY in ok("info", f"hf-hub:{REPOSITORY}@{small}")
    info = json.loads(ok("info", "small", "--format", "json"))
    assert info["pinned"]["revision"] == small
    assert "not published" in ok("info", "unpublished")
    assert "# posenet on demo-loop" in ok("weights", "card", "small")
    report = json.loads(ok("eval", "small", "--data", f"folder:{one_place}", "--format", "json"))
    assert report["report"] == "outputs/reports/small"
    assert Path("outputs/reports/small/report.json").is_file()
    named = ok("eval", f"hf-hub:{REPOSITORY}@{small}", "--data", f"folder:{one_place}", "--out", "report")
    assert "report: report/report.html" in named
    of_hub = json.loads(Path("report/report.json").read_text())
    assert of_hub["settings"]["weights"] == f"hf-hub:{REPOSITORY}@{small}"
    rows = [of["results"]["overall"][0].items() for of in (of_hub, report)]
    same = [{key: value for key, value in row if "_ms_" not in key} for row in rows]  # milliseconds differ
    assert same[0] == same[1]
    ok("export", "small", "--out", "small.onnx")
    ok("export", f"hf-hub:{REPOSITORY}@{small}", "--to", "pt2", "--check", "--out", "small.pt2")
    exported = json.loads(ok("predict", "small.onnx", image, "--format", "json"))
    assert exported[0]["position"] == pytest.approx(poses[0]["position"], abs=1e-3)
    faults.assert_fails(["train", "small", "--data", "demo-loop"], 2, naming("small"))


def test_push_prints_the_name_to_load_it_by(hub: LoopbackHub, small_model: Path) -> None:
    named = ok("weights", "push", str(small_model), "pushed").split()[-1]
    assert named == f"hf-hub:tester/pushed@{hub.head('tester/pushed')}"
    told = json.loads(ok("weights", "push", str(small_model), "pushed", "--format", "json"))
    assert told["repository"] == "tester/pushed"
    assert "posenet" in ok("info", named)


def test_card_to_a_file(small_model: Path) -> None:
    ok("weights", "card", str(small_model), "--out", "card.md")
    assert "generated by posezoo" in Path("card.md").read_text()
    told = json.loads(ok("weights", "card", str(small_model), "--format", "json"))
    assert told == {"card": Path("card.md").read_text(), "file": None}
    Path("card.md").write_text("mine")
    faults.assert_fails(
        ["weights", "card", str(small_model), "--out", "card.md"], 2, naming("card.md"), [Path("card.md")]
    )


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (["weights", "pull", "atloc-anchors-hyper-dem"], 2, 'did you mean "atloc-anchors-hyper-demo"'),
        (
            ["weights", "pull", "unpublished"],
            4,
            'no weights are published for "unpublished": train them: posezoo',
        ),
        (["predict", "ms-hyperpose-7scenes", "x.jpg"], 4, "posezoo train ms-transformer.hyper --data 7scenes recipe="),
        (["weights", "pull", "hf-hub:tester/absent"], 5, "no such repository"),
        (["weights", "pull", "hf-hub:nonsense"], 2, "not a repository name"),
        (["weights", "pull", "no-such-folder/x"], 4, "no such folder"),
        (["weights", "verify", "no-such-folder/x"], 4, "no such folder"),
        (["weights", "build", "epochs=1"], 2, "posezoo weights list"),
        (["weights", "verify", "hf-hub:a/b"], 2, "posezoo weights pull hf-hub:a/b"),
        (["weights", "push", "no-such-folder/x", "a/b"], 4, "no such folder"),
        (["weights", "card", "no-such-folder/x"], 4, "no such folder"),
        (["weights", "build", "posenet-anchors-dem"], 2, 'did you mean "posenet-anchors-demo"'),
        (["weights", "build", "posenet-anchors-demo", "epoch=1"], 2, 'did you mean "epochs"'),
        (["weights", "build"], 2, "Missing argument"),
        (["weights", "nonsense"], 2, "No such command"),
    ],
)
def test_wrong_input_is_one_line(small: str, argv: list[str], code: int, words: str) -> None:
    faults.assert_fails(argv, code, words)


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder that everybody may enter, for HF_HOME."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    for path in [folder, *folder.rglob("*")]:
        if path.is_dir():
            path.chmod(0o755)
    shutil.rmtree(folder)


def test_two_processes_and_a_read_only_cache(hub: LoopbackHub, small: str, home: Path) -> None:
    """Real processes with HF_ENDPOINT and HF_HOME as people set them."""
    environment = {**os.environ, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0", "POSEZOO_HUB_TIMEOUT": "60"}
    name = f"hf-hub:{REPOSITORY}@{small}"
    command = [sys.executable, "-m", "posezoo", "weights", "pull", name]
    both = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)
    ]
    told = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    assert told[0][0] == told[1][0]
    assert hub.count("GET", "model.safetensors") == 1
    if os.geteuid() == 0:  # root may write everywhere: become nobody
        nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        tried = subprocess.run([*nobody, sys.executable, "-c", "import posezoo"], check=False, capture_output=True)
        if tried.returncode:
            pytest.skip("another user cannot read this environment")
        command = [*nobody, *command]
    for path in home.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    home.chmod(0o555)
    warm = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert warm.returncode == 0, warm
    other = hub.publish("tester/other", hub.repositories[REPOSITORY][-1][1])
    command[-1] = f"hf-hub:tester/other@{other}"
    cold = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert cold.returncode == 6, cold
    assert "cannot write the hub's cache" in cold.stderr
    assert cold.stderr.count("\n") == 1
