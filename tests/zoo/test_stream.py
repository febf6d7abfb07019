"""Pictures of every kind of source, in order, by batches, as `predict` has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import demo_video
import numpy as np
import psutil
import pytest
from naming import naming
from own_folder import picture
from PIL import Image

from posezoo.base.errors import DataError, UsageError
from posezoo.nn.model import PoseModel
from posezoo.zoo import stream
from posezoo.zoo.build import create_model
from posezoo.zoo.stream import joined, predict_stream, time_of


@pytest.fixture(scope="module")
def model() -> PoseModel:
    small = {"backbone": "test_efficientnet.r160_in1k", "pretrained_backbone": False}
    return create_model("posenet", **small, hidden=8, resize=64, crop=64).eval()


def predicted(model: PoseModel, *sources: str | Path, **more: Any) -> Any:
    return joined(list(predict_stream(model, sources, **more)))


def test_folders_globs_and_files_in_natural_order(model: PoseModel, tmp_path: Path) -> None:
    for n in (10, 9, 1):
        picture(tmp_path / f"a/{n}.png", seed=n)
    (tmp_path / "a/notes.txt").touch()
    names = [str(tmp_path / f"a/{n}.png") for n in (1, 9, 10)]
    seen: list[tuple[int, int]] = []
    whole = predicted(model, tmp_path / "a", batch_size=2, progress=lambda *given: seen.append(given))
    assert (list(whole.images), seen) == (names, [(2, 3), (3, 3)])
    assert list(predicted(model, f"{tmp_path}/*/1*.png").images) == [names[0], names[2]]
    alone = model.predict(names)
    np.testing.assert_allclose(whole.position, alone.position, atol=1e-5)
    assert [len(part) for part in predict_stream(model, [*names, *names], batch_size=4)] == [4, 2]
    assert model.training is False


def test_a_folder_that_is_called_like_a_picture(model: PoseModel, tmp_path: Path) -> None:
    picture(tmp_path / "a/b.jpg/c.png")
    picture(tmp_path / "a/d.jpg")
    found = predicted(model, tmp_path / "a")
    assert [Path(name).name for name in found.images] == ["c.png", "d.jpg"]


def test_frames_of_a_video_and_their_times(model: PoseModel, tmp_path: Path) -> None:
    pytest.importorskip("av", reason="the extra map")
    demo_video.video(tmp_path / "a.mp4", 5, rate=10)
    found = predicted(model, tmp_path / "a.mp4", every=2)
    assert [Path(name).name for name in found.images] == ["a.mp4#000000", "a.mp4#000002", "a.mp4#000004"]
    assert found.timestamps == (0, 200_000, 400_000)
    assert found.stamps()[1] == "0.200000"


def test_a_camera_until_it_ends(
    model: PoseModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("cv2", reason="the extra camera")
    demo_video.video(tmp_path / "a.mp4", 3)
    found = predicted(model, f"camera:{tmp_path / 'a.mp4'}", batch_size=1)  # what opencv opens: a stream, a file
    assert len(found) == 3 and min(found.timestamps) > 1e15
    with pytest.raises(DataError, match=naming("no such camera")):
        predicted(model, f"camera:{tmp_path / 'none.mp4'}")
    with pytest.raises(DataError, match=naming("no such camera")):
        predicted(model, "camera:999")
    assert capfd.readouterr() == ("", ""), "opencv's own lines"
    monkeypatch.setattr(stream, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=naming("posezoo[camera]")):
        predicted(model, "camera:0")


def test_photographs_are_turned_on_request(model: PoseModel, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    noise = Image.effect_noise((64, 48), 60).convert("RGB")
    noise.save(tmp_path / "a.jpg", exif=exif, quality=100)
    noise.transpose(Image.Transpose.ROTATE_270).save(tmp_path / "b.png")
    notes: list[str] = []
    turned = predicted(model, tmp_path / "a.jpg", exif=True, note=notes.append)
    assert notes == []
    plain = predicted(model, tmp_path / "a.jpg", note=notes.append)
    assert "1 of 1 images" in notes[0] and "--exif" in notes[0]
    upright = predicted(model, tmp_path / "b.png")
    apart = [np.abs(turned.position - other.position).max() for other in (upright, plain)]
    assert apart[0] < 0.2 * apart[1]
    for given, same in ((True, turned), (False, plain), (None, plain)):  # in Python as on the command line
        np.testing.assert_array_equal(
            model.predict(tmp_path / "a.jpg", exif=given, note=notes.append).position, same.position
        )
    assert len(notes) == 3 and "exif=True" in notes[1]


def test_pictures_in_memory(model: PoseModel, tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        found = stream.predict_pictures(model, [image, image])
    np.testing.assert_allclose(found.position[1], model.predict(tmp_path / "a.png").position[0], atol=1e-5)


def test_what_is_not_there(model: PoseModel, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for source in (tmp_path / "none.jpg", tmp_path / "empty", f"{tmp_path}/*.png", "x" * 300 + ".png"):
        with pytest.raises(DataError, match=naming(Path(source).name)):
            predicted(model, source)


@pytest.mark.parametrize(
    ("name", "time"),
    [
        ("1305031102.175304.png", 1_305_031_102_175_304),
        ("1403772801004231.png", 1_403_772_801_004_231),
        ("1403715273262142976.png", 1_403_715_273_262_143),
        ("1403715273262.jpg", 1_403_715_273_262_000),
        ("IMG_1234.jpg", -1),
        ("000012.jpg", -1),
    ],
)
def test_times_of_names(name: str, time: int) -> None:
    assert time_of(name) == time


def test_memory_stays_flat(model: PoseModel, tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg", 1200, 900)
    many = [tmp_path / "a.jpg"] * 200
    process, seen = psutil.Process(), []
    for part in predict_stream(model, many, batch_size=10):
        seen.append(process.memory_info().rss)
        assert len(part) == 10
    assert max(seen[10:]) - seen[9] < 100 * 2**20  # two hundred of them are 650 MB
