"""What predict takes: files, folders and pictures in memory are the same pictures."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from posezoo.base.errors import DataError, UsageError
from posezoo.nn import inputs
from posezoo.zoo.build import create_model
from posezoo.zoo.stream import predict_stream


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Three pictures and a file that is none."""
    pixels = np.random.default_rng(0).integers(0, 256, (3, 60, 80, 3), dtype=np.uint8)
    for n, image in enumerate(pixels):
        Image.fromarray(image).save(tmp_path / f"{n}.png")
    (tmp_path / "notes.txt").touch()
    return [tmp_path / f"{n}.png" for n in range(3)]


def test_every_form_gives_the_same_poses(files: list[Path]) -> None:
    model = create_model("posenet", backbone="test_efficientnet", pretrained_backbone=False, resize=64, crop=64)
    expected = model.predict(files)
    pillow = [Image.open(path) for path in files]
    arrays = [np.asarray(image) for image in pillow]
    tensors = torch.stack([torch.from_numpy(array.copy()).permute(2, 0, 1) for array in arrays])
    for given in (files[0].parent, str(files[0].parent), pillow, arrays, np.stack(arrays), tensors, list(tensors)):
        found = model.predict(given)
        np.testing.assert_array_equal(found.position, expected.position)
        np.testing.assert_array_equal(found.quaternion, expected.quaternion)
    assert model.predict(files[0].parent).images == expected.images
    assert model.predict([*arrays[:1], files[1]]).images == ("image 0", str(files[1]))
    assert len(model.predict(pillow[0])) == len(model.predict(arrays[0])) == len(model.predict(str(files[0]))) == 1


@pytest.mark.parametrize(
    "image",
    [
        *(np.zeros((4, 4, 3)), np.zeros((4, 4, 4), np.uint8), torch.zeros(4, 4, 3, dtype=torch.uint8)),
        *(torch.zeros(3, 4, 4, dtype=torch.bfloat16), np.zeros((0, 0, 3), np.uint8)),
    ],
)
def test_other_arrays_are_refused(image: np.ndarray | torch.Tensor) -> None:
    with pytest.raises(DataError, match="uint8 RGB"):
        inputs.in_memory(image)


@pytest.mark.parametrize("images", [None, [3], b"abc", 5.0])
def test_what_is_no_picture_is_told(images: Any) -> None:
    with pytest.raises(DataError, match="is no picture"):
        inputs.listed(images)


@pytest.mark.parametrize("size", [0, -1])
def test_batches_have_a_picture_at_least(files: list[Path], size: int) -> None:
    model = create_model("posenet", backbone="test_efficientnet.r160_in1k", pretrained_backbone=False)
    with pytest.raises(UsageError, match="batch_size"):
        model.predict(files, batch_size=size)
    with pytest.raises(UsageError, match="batch_size"):
        list(predict_stream(model, files, batch_size=size))


def test_a_folder_in_a_folder_is_no_picture_whatever_it_is_called(files: list[Path]) -> None:
    (files[0].parent / "more.png").mkdir()
    assert inputs.listed(files[0].parent) == files


def test_a_folder_is_read_as_on_the_command_line(files: list[Path]) -> None:
    folder = files[0].parent
    for name in ("10.png", "more/3.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(files[0], folder / name)
    assert inputs.listed(folder) == [*files, folder / "10.png", folder / "more" / "3.png"]
    assert inputs.listed(f"{folder}/*.png") == [*files, folder / "10.png"]


def test_grey_pictures_and_folders_without_any(tmp_path: Path) -> None:
    grey = np.arange(300 * 300, dtype=np.uint64).reshape(300, 300).astype(np.uint8)
    assert inputs.in_memory(grey).shape == (256, 256, 3)
    np.testing.assert_array_equal(inputs.in_memory(grey[..., None]), inputs.in_memory(grey))
    with pytest.raises(DataError, match="no images in it"):
        inputs.listed(tmp_path)
