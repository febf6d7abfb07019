"""Every command that README and the site show is run, in order, a page at a time.

They run in a folder that has what the pages speak of (tests/reader_folder.py). A training is tried, not run to its end
(`--dry-run`: the real data and model, two steps); what consists of trainings or measurements runs with smaller settings
(SMALLER, MORE), and so do the numbers that a command repeats. What cannot succeed here is run all the same and must
fail for the reason that is listed, never for its words; that list may name nothing that no page shows.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import webbrowser
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import example_plugins
import faults
import pytest
import reader_folder
import small_data
from loopback_hub import LoopbackHub
from naming import naming
from served import asked, jpeg
from small_hub import files_of, hub
from small_runs import no_pictures
from test_docs import PAGES, ROOT, commands

from posezoo.bench import machine, speed, training

__all__ = ["hub", "no_pictures"]
LOSES = {  # part of a command: the exit code, what its error names, and why it cannot succeed here
    "camera:0": (3, "camera", "there is no camera"),
    "data verify 7scenes": (3, "complete", "it counts the frames of the real data, and here are a few"),
}
# minutes each; tests/test_examples.py makes the same checks of the same models. Here the page's own model is checked,
# which is hello by another name, and a format
ELSEWHERE = [f"plugins check {name}" for name in ("hello", "tta", "posenet+tta", "route")]
TINY = {**reader_folder.TINY, "backbone": small_data.FAST["backbone"], "selection": "last", "device": "cpu"}
SLIM = small_data.words({**small_data.SLIM["ms-transformer"], "hyper.rank": 8})
SMALLER = {"epochs": "1", "study.images": "2", "study.epochs": "[1]", "study.fractions": "[0.5]"}
"""Settings of studies and grids that are made smaller where a page gives them."""
MORE = {  # part of a command: what is added to it
    "data corrupt": ["--limit", "2"],
    "data make-ecl": ["--model", "tiny"],
    "--out my-evening": ["--limit", "3"],
    "weights build": ["--registry", "registry"],
    "weights build atloc": ['phases=[{train = "all", epochs = 1}]'],
    "weights build posenet": ["epochs=1"],
    "--launcher submitit": ["--out", "outputs/on-the-cluster"],  # which is this machine, where there is no other
    "paper/table-4": SLIM,
    "study ablation": SLIM,
    "study few-shot": ["study.epochs=[1]", "study.fractions=[0.5]"],
    "study occlusion": ["study.covers=[0.3]"],
    "study robustness": ['study.kinds=["fog", "blur"]', "study.severities=[1]"],
    "plugins check yourmodel": [f"{key}={TINY[key]}" for key in ("backbone", "resize", "crop")],
    "--device cuda": ["--data", "folder:my-photos", *small_data.words(TINY)],
    "posezoo serve": ["--port", "0"],
}
OTHER = {  # words that are replaced, where a command has this part
    "data prepare": {"/data/7scenes": "fetched/7scenes", "/data/robotcar": "fetched/robotcar"},
    "bench grid hypernetwork": {"hypernetwork": "few-shot"},  # a grid of two models instead of ten trainings
    "posezoo study": {"demo-loop": "demo-loop?sequences=train-1,test-overcast,test-winter"},
    "--device cuda": {"cuda": "cpu", "batch_size=128": "batch_size=4"},
}
TRAINING = ("posezoo study", "posezoo bench grid", "posezoo weights build")
"""Commands that consist of trainings."""
TRAINED = {"posenet-anchors-demo", "atloc-anchors-hyper-demo", "outputs/my-run"}
"""Models of the pages: a study of these alone trains nothing, and refuses settings of trainings."""
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the pages' commands run; nothing in it is written by them but what they say."""
    for package, extra in (("av", "map"), ("pycolmap", "map"), ("diffusers", "ecl"), ("fastapi", "serve")):
        pytest.importorskip(package, reason=f"pip install '.[{extra}]'")
    folder = tmp_path_factory.mktemp("reader")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        reader_folder.fill(folder)
    return folder


def all_commands() -> list[tuple[str, list[str]]]:
    """(page, words) of every command of the pages that is not run elsewhere, without repetitions."""
    seen: set[tuple[str, ...]] = set()
    found = []
    for page in PAGES:
        for words in commands(page):
            if page.name in ("LOG.md", "CHANGELOG.md") or tuple(words) in seen or " ".join(words) in ELSEWHERE:
                continue
            seen.add(tuple(words))
            found.append((str(page.relative_to(ROOT)), words))
    return found


def typed(words: list[str]) -> str:
    return " ".join(["posezoo", *words])


def made_smaller(words: list[str], place: Path) -> list[str]:
    """The command that is run in place of the page's: the same one, on the folder's data, with less to do."""
    text = typed(words)
    for part, others in OTHER.items():
        if part in text:
            words = [others.get(word, word) for word in words]
    words = [re.sub(r"(^|=)/data\b", rf"\g<1>{place}/data", word) for word in words]
    given = keys(words)
    more = [word for part, added in MORE.items() if part in text for word in added]
    added = [word for word in more if word.partition("=")[0] not in given]
    if words[0] == "train" and "--print-config" not in words:
        added += ["--dry-run", *settings({"pretrained_backbone": False, "batch_size": 4}, given)]
    if text.startswith(TRAINING):
        words = ["0" if before == "--seeds" else word for before, word in zip(["", *words], words, strict=False)]
        words = [f"{key}={SMALLER[key]}" if (key := word.partition("=")[0]) in SMALLER else word for word in words]
        if trains(words):
            added += ["--seeds", "0"] if "--seeds" not in words and words[0] != "weights" else []
            added += settings(TINY, given | keys(added) | ({"epochs"} if "phases" in keys(added) else set()))
    return words + added


def trains(words: list[str]) -> bool:
    """Whether a command of TRAINING trains anything."""
    models = {word for word in itertools.takewhile(lambda word: word[:2] != "--", words[2:]) if "=" not in word}
    return words[0] != "study" or not models or not models <= TRAINED


def keys(words: list[str]) -> set[str]:
    """Those of the settings among the words, and other words."""
    return {word.partition("=")[0] for word in words}


def settings(wanted: dict[str, object], given: set[str]) -> list[str]:
    """Those that are not given yet, as words."""
    return small_data.words({key: value for key, value in wanted.items() if key not in given})


@contextlib.contextmanager
def surroundings(text: str, place: Path, request: pytest.FixtureRequest) -> Iterator[None]:
    """What a command finds besides its folder: a hub, plugins, a browser, less to measure."""
    patch: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")
    patch.chdir(place)
    patch.setenv("POSEZOO_DATA", str(place / "data"))
    patch.setenv("BROWSER", "true")
    patch.setattr(webbrowser, "_tryorder", None)  # the variable is read once
    for room in (machine, speed, training):
        patch.setattr(room, "ROUNDS", 1)
    patch.setattr(machine, "scale", partial(machine.scale, sizes=(100, 1000)))
    patch.setattr(training, "training", partial(training.training, steps=1))
    prepared = multiprocessing.get_context("forkserver")  # each process of a measurement has imported torch
    prepared.set_forkserver_preload([*faults.PRELOAD, "posezoo.bench.speed"])
    patch.setattr(speed, "multiprocessing", SimpleNamespace(get_context=lambda kind: prepared))
    patch.setattr(speed, "speed", partial(speed.speed, backbone=TINY["backbone"], resize=64, crop=64))
    if "hf-hub:" in text or "weights push" in text or "weights build" in text:
        local: LoopbackHub = request.getfixturevalue("hub")
        local.publish("OWNER/REPO", files_of(place / "MODEL-FOLDER"))
        local.tagged["v1"] = local.head("OWNER/REPO")
    if text.startswith(TRAINING):
        request.getfixturevalue("no_pictures")
    own = re.search("hello|tta|route|yourmodel", text) and "plugins new" not in text
    with example_plugins.installed(place / "installed/posezoo-yourmodel") if own else contextlib.nullcontext():
        yield


def test_the_lists_are_needed() -> None:
    texts = [typed(words) for page in PAGES for words in commands(page)]
    assert [part for part in (*LOSES, *ELSEWHERE, *MORE, *OTHER) if not any(part in text for text in texts)] == []


@pytest.mark.parametrize(
    ("page", "words"), all_commands(), ids=lambda value: value if isinstance(value, str) else " ".join(value)
)
def test_the_command_runs(place: Path, page: str, words: list[str], request: pytest.FixtureRequest) -> None:
    text, run = typed(words), made_smaller(words, place)
    with surroundings(text, place, request):
        if words == ["--install-completion"]:
            ended = in_a_shell_of_its_own(run, place)
        elif words[0] == "serve":
            ended = asked_once(run)
        else:
            ended = faults.in_process(run)
    lost = next((why for part, why in LOSES.items() if part in text), None)
    if lost:
        faults.assert_fails(run, lost[0], naming(lost[1]), ended=ended)
    else:
        assert ended.code == 0, f"{page}: {typed(run)}\n{ended.stdout[-500:]}\n{ended.stderr[-1500:]}"


def in_a_shell_of_its_own(words: list[str], place: Path) -> faults.Ended:
    """The command typed in a bash whose home is the folder; its set-up is there afterwards."""
    line = f"{sys.executable} -m posezoo {' '.join(words)}; exit $?"
    home = {**os.environ, "HOME": str(place)}
    ended = subprocess.run(["bash", "-c", line], env=home, capture_output=True, text=True, check=False, timeout=60)
    assert "posezoo" in (place / ".bashrc").read_text(), ended
    return faults.Ended(ended.returncode, ended.stdout, ended.stderr)


def asked_once(words: list[str]) -> faults.Ended:
    """A server in a process of its own, asked for one pose and ended by Ctrl-C; 0 if all of that went well."""

    def heard() -> None:  # a job in the background of a shell ignores Ctrl-C
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    command = [sys.executable, "-m", "posezoo", *words]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=heard) as process:
        assert process.stderr is not None
        told = ""
        while not (found := re.search(r"http://127\.0\.0\.1:(\d+)/pose", told)) and (line := process.stderr.readline()):
            told += line
        assert found, told
        status = 0
        for _ in range(100):
            with contextlib.suppress(ConnectionError):
                status, _answer = asked(int(found[1]), body=jpeg())
                break
        process.send_signal(signal.SIGINT)
        code = process.wait(30)
        told += process.stderr.read()
    return faults.Ended(0 if (status, code) == (200, 130) else 1, f"{status}, {code}", told)
