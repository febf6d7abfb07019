"""The evaluator with a tiny model: order, batch size, scenes, modes, stopping."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from naming import naming
from PIL import Image
from torch import Tensor, nn

from posezoo.base.errors import DataError, Interrupted, ResourceError, WeightsError
from posezoo.base.spec import Frame
from posezoo.catalogue import entries
from posezoo.data.images.cache import ImageCache
from posezoo.data.open import Dataset, open_dataset
from posezoo.data.table import Frames
from posezoo.evaluation import baselines
from posezoo.evaluation.evaluate import _batches, as_known_scenes, embed_frames, evaluate, predict_frames
from posezoo.nn.outputs import PoseOutput
from posezoo.zoo.build import create_model

torch.set_num_threads(1)


class TinyModel(nn.Module):
    """The contract of PoseModel with a mean colour for an image and a linear layer for a head."""

    name = "tiny"

    def __init__(self, scenes: tuple[str, ...] = ("scene",), answer: float | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.config = SimpleNamespace(scenes=scenes, decode="")
        self.layer = nn.Linear(3, 7).double()
        self.dropout = nn.Dropout(0.5)
        self.norm = nn.BatchNorm1d(3).double()
        self.answer = answer

    def prepare(self, images_BCHW: Tensor) -> Tensor:
        assert images_BCHW.dtype == torch.uint8
        height, width = images_BCHW.shape[-2:]
        return images_BCHW[..., (height - 200) // 2 :, (width - 200) // 2 :][..., :200, :200].float() / 255

    def forward(self, images_BCHW: Tensor, scene: Tensor | None = None) -> PoseOutput:
        assert scene is None, "evaluation never tells the scene"
        assert torch.is_inference_mode_enabled()
        colour_B3 = images_BCHW.double().mean(dim=(2, 3))
        out_B7 = self.layer(self.norm(self.dropout(colour_B3)))
        position_B3 = out_B7[:, :3] if self.answer is None else torch.full_like(out_B7[:, :3], self.answer)
        chosen_B = colour_B3.argmax(dim=1) if len(self.config.scenes) > 1 else None
        return PoseOutput(position_B3, out_B7[:, 3:], out_B7[:, 3:], None, chosen_B)


SCENES = ("red", "green", "blue")


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """Three scenes whose images are mostly of their colour; wide, square and upright images mixed."""
    monkeypatch.setenv("POSEZOO_CACHE", str(tmp_path / "cache"))
    random = np.random.default_rng(0)
    rows = []
    for number, scene in enumerate(SCENES):
        for n in range(8):
            height, width = ((256, 300), (256, 256), (320, 256))[n % 3]
            pixels_HWC = random.integers(0, 120, (height, width, 3), dtype=np.uint8)
            pixels_HWC[..., number] += 100
            Image.fromarray(pixels_HWC).save(tmp_path / f"{scene}{n}.png")
            position = (float(number), float(n), 0.5 * n)
            split = "train" if n % 2 else "test"
            rows.append(Frame(f"{scene}{n}.png", position, (1.0, 0.0, 0.0, 0.0), scene, split, "s", n))
    return Dataset("colours", "indoor", Frames.from_rows(tmp_path, rows))


def colour(images_BCHW: Tensor) -> Tensor:
    return images_BCHW.double().mean(dim=(2, 3))


def test_order_and_batch_size_do_not_matter(dataset: Dataset) -> None:
    model, frames = TinyModel(SCENES), dataset.frames
    cache = ImageCache.open(frames)
    expected, scene_N = predict_frames(model, cache, np.arange(24), frames, batch_size=1)
    order_N = np.random.default_rng(0).permutation(24)
    for batch_size in (1, 5, 24, 100):
        poses, chosen_N = predict_frames(model, cache, order_N, frames.select(order_N), batch_size)
        assert poses.images == tuple(expected.images[n] for n in order_N)
        np.testing.assert_allclose(poses.position, expected.position[order_N], rtol=1e-12)
        np.testing.assert_allclose(poses.quaternion, expected.quaternion[order_N], rtol=1e-12)
        np.testing.assert_array_equal(chosen_N, scene_N[order_N])
        features = embed_frames(colour, cache, order_N, batch_size)
        np.testing.assert_allclose(features, embed_frames(colour, cache, np.arange(24))[order_N], rtol=1e-6)


def test_every_module_gets_its_mode_back(dataset: Dataset) -> None:
    model = TinyModel()
    model.train()
    model.norm.eval()  # a frozen part
    cache = ImageCache.open(dataset.frames)
    predict_frames(model, cache, [0, 1], dataset.frames.select([0, 1]))
    assert (model.training, model.dropout.training, model.norm.training) == (True, True, False)
    assert model.norm.num_batches_tracked == 0
    with pytest.raises(Interrupted):
        predict_frames(model, cache, [0, 1], dataset.frames.select([0, 1]), should_stop=lambda: True)
    assert (model.training, model.dropout.training, model.norm.training) == (True, True, False)


def test_stops_between_batches(dataset: Dataset) -> None:
    seen: list[tuple[int, int]] = []
    cache = ImageCache.open(dataset.frames)
    with pytest.raises(Interrupted, match=naming("16", "24")):
        predict_frames(
            *(TinyModel(), cache, np.arange(24), dataset.frames, 8),
            should_stop=lambda: len(seen) == 2,
            progress=lambda done, total: seen.append((done, total)),
        )
    assert seen == [(8, 24), (16, 24)]


def test_report_holds_the_model_and_all_baselines(dataset: Dataset, tmp_path: Path) -> None:
    seen: list[str] = []
    told = lambda what, done, total: seen.append(what)  # noqa: E731
    report = evaluate(TinyModel(SCENES), dataset, embed=colour, batch_size=4, selection="last", progress=told)
    assert list(dict.fromkeys(seen)) == ["reading images", "evaluating"]
    assert list(report.methods) == ["tiny", baselines.MEAN, baselines.RETRIEVAL, baselines.ORACLE]
    assert report.scene_accuracy == 1.0
    assert report.methods["tiny"].scenes == ("red",) * 4 + ("green",) * 4 + ("blue",) * 4
    assert report.data_digest == dataset.digest
    content = report.to_dict()
    assert (content["num_images"], content["num_training_images"], content["selection"]) == (12, 12, "last")
    assert len(report.rows("scene")) == 4 * 4
    report.save(tmp_path / "report")


def test_the_caches_give_the_same_report(dataset: Dataset, tmp_path: Path) -> None:
    """Of all frames, opened here or given, or of the test frames only."""
    given = evaluate(TinyModel(SCENES), dataset, cache=ImageCache.open(dataset.frames), embed=colour)
    opened = evaluate(TinyModel(SCENES), dataset, embed=colour)
    alone = evaluate(TinyModel(SCENES), dataset)
    for method, poses in given.methods.items():
        np.testing.assert_array_equal(poses.position, opened.methods[method].position)
        assert poses.images == opened.methods[method].images
    np.testing.assert_array_equal(alone.methods["tiny"].position, given.methods["tiny"].position)


def test_what_is_left_out_is_told(dataset: Dataset) -> None:
    report = evaluate(TinyModel(SCENES), dataset)
    assert baselines.RETRIEVAL not in report.methods
    assert any(note.startswith("nearest training image left out") for note in report.notes)
    untrained = dataclasses.replace(dataset, frames=dataset.frames.of_split("test"))
    report = evaluate(TinyModel(SCENES), untrained, embed=colour)
    assert list(report.methods) == ["tiny"]
    assert "no baselines: the train split is empty" in report.notes
    with pytest.raises(DataError, match=naming("val")):
        evaluate(TinyModel(SCENES), dataset, split="val")


def test_evaluation_on_the_training_split(dataset: Dataset) -> None:
    report = evaluate(TinyModel(SCENES), dataset, split="train", embed=colour)
    oracle = {row["method"]: row for row in report.rows()}[baselines.ORACLE]
    assert oracle["median_position_m"] == 0.0


def test_a_model_that_is_never_finite_is_reported_not_raised(dataset: Dataset, tmp_path: Path) -> None:
    report = evaluate(TinyModel(SCENES, answer=float("nan")), dataset, embed=colour)
    assert report.rows()[0]["num_failed"] == 12
    assert report.to_dict()["results"]["overall"][0]["median_position_m"] == "inf"
    assert "no finite pose for 12 of 12 images" in " ".join(report.notes)
    report.save(tmp_path / "report")


@pytest.mark.parametrize("scenes", [("red", "green"), ("red",)])
def test_a_scene_the_model_does_not_know_is_refused(dataset: Dataset, scenes: tuple[str, ...]) -> None:
    with pytest.raises(WeightsError, match=rf"\b(blue|green)\b.*\b{', '.join(scenes)}\b"):
        evaluate(TinyModel(scenes), dataset)


def test_scenes_are_matched_by_name_and_may_be_more_than_the_data_have(dataset: Dataset) -> None:
    """The tiny model calls the brightest channel 0, 1, 2: with another order of names it is always wrong."""
    assert evaluate(TinyModel(("green", "blue", "red")), dataset).scene_accuracy == 0.0
    blue = dataclasses.replace(dataset, frames=dataset.frames.of_scene("blue"))
    assert evaluate(TinyModel((*SCENES, "attic")), blue).scene_accuracy == 1.0


@pytest.mark.parametrize(
    ("here", "known", "taken"), [("town", "chess", True), ("fire", "chess", False), ("fire", "KingsCollege", True)]
)
def test_a_scene_of_one_benchmark_is_not_taken_for_another(here: str, known: str, taken: bool) -> None:
    """A walk may have any name; what the catalogue has beside the model's scene is another place."""
    frames = Frames.from_rows(Path(), [Frame("a.png", (0.0, 0, 0), (1.0, 0, 0, 0), scene=here, split="test")])
    dataset = dataclasses.replace(open_dataset("demo-loop"), frames=frames, card=None, notes=())
    found = as_known_scenes(dataset, (known,), None)
    assert (found.frames.scenes, len(found.notes)) == (((known,), 1) if taken else ((here,), 0))
    assert as_known_scenes(dataset, (known,), known).frames.scenes == (known,), "said by the user"


def test_an_anonymous_model_may_be_tried_anywhere(dataset: Dataset) -> None:
    report = evaluate(TinyModel(), dataset)
    assert report.scene_accuracy is None
    assert report.scene_predicted is None


def test_the_published_number_of_the_same_model_and_data_is_noted(dataset: Dataset) -> None:
    model = TinyModel()
    model.name = "posenet"
    count = len(dataset.require("test"))
    card = entries.data_card("cambridge-shop-facade").model_copy(update={"counts": {"shop": {"test": count}}})
    shop = dataclasses.replace(dataset, name="cambridge-shop-facade", card=card)
    noted = "published for posenet on cambridge-shop-facade: median 0.74 m, 4.79 deg (HyperPose supplement, Table 1)"
    assert noted in evaluate(model, shop).notes
    assert not [note for note in evaluate(model, dataset).notes if "published" in note]
    part = dataclasses.replace(shop, card=card.model_copy(update={"counts": {"shop": {"test": count + 1}}}))
    assert not [note for note in evaluate(model, part).notes if "published" in note], "another split has other numbers"
    refined = dataclasses.replace(shop, frames=dataclasses.replace(shop.frames, ground_truth="sfm"))
    assert not [note for note in evaluate(model, refined).notes if "published" in note]


class Waited(ImageCache):
    """An image cache that knows which pictures were asked for, and says when."""

    def __init__(self, cache: ImageCache, asked: threading.Event, first: int) -> None:
        self.__setstate__(cache.__getstate__())
        self.asked, self.first, self.threads = asked, first, set[threading.Thread]()

    def batch(self, indices: Sequence[int] | np.ndarray) -> tuple[Tensor, np.ndarray]:
        self.threads.add(threading.current_thread())
        if self.first in indices:
            self.asked.set()
        return super().batch(indices)


class Waiting(TinyModel):
    """A model whose first answer is not there before the event."""

    def __init__(self, event: threading.Event) -> None:
        super().__init__()
        self.event = event

    def forward(self, images_BCHW: Tensor, scene: Tensor | None = None) -> PoseOutput:
        assert self.event.wait(30), "nobody reads the next batch while the model computes"
        return super().forward(images_BCHW, scene)


def test_the_next_batch_is_read_while_the_model_computes(dataset: Dataset) -> None:
    frames, asked, known = dataset.frames, threading.Event(), ImageCache.open(dataset.frames)
    cache = Waited(known, asked, first=8)
    poses, _ = predict_frames(Waiting(asked), cache, np.arange(24), frames, batch_size=8)
    expected, _ = predict_frames(TinyModel(), known, np.arange(24), frames, batch_size=8)
    np.testing.assert_array_equal(poses.position, expected.position)
    assert cache.threads, "pictures were read"
    assert not any(thread.is_alive() for thread in cache.threads)


class Damaged(Waited):
    """An image cache that cannot read one picture."""

    def batch(self, indices: Sequence[int] | np.ndarray) -> tuple[Tensor, np.ndarray]:
        images_BCHW = super().batch(indices)
        if self.asked.is_set():
            raise ResourceError("the disk is gone", "")
        return images_BCHW


@pytest.mark.parametrize("batch_size", [4, 24])
def test_a_picture_that_cannot_be_read_is_told_when_its_batch_is_due(dataset: Dataset, batch_size: int) -> None:
    seen: list[int] = []
    cache = Damaged(ImageCache.open(dataset.frames), threading.Event(), first=9)
    with pytest.raises(ResourceError, match="the disk is gone"):
        predict_frames(
            *(TinyModel(), cache, np.arange(24), dataset.frames, batch_size),
            progress=lambda done, total: seen.append(done),
        )
    assert seen == ([4, 8] if batch_size == 4 else [])
    assert not any(thread.is_alive() for thread in cache.threads)


def test_nothing_goes_on_reading_after_an_interrupt(dataset: Dataset) -> None:
    class Interrupting(TinyModel):
        def forward(self, images_BCHW: Tensor, scene: Tensor | None = None) -> PoseOutput:
            raise KeyboardInterrupt

    cache = Waited(ImageCache.open(dataset.frames), threading.Event(), first=23)
    with pytest.raises(KeyboardInterrupt):
        predict_frames(Interrupting(), cache, np.arange(24), dataset.frames, batch_size=4)
    assert cache.threads, "pictures were read"
    assert not any(thread.is_alive() for thread in cache.threads)
    assert not cache.asked.is_set()


@pytest.mark.slow
def test_evaluating_ten_thousand_cached_images_is_bound_by_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Less than 5 % of the time passes in waiting for pictures, beside a small network on small crops."""
    data = open_dataset("demo-loop").frames
    cache, rows = ImageCache.open(data), np.resize(np.arange(640), 10_000)
    frames = data.select(rows)
    model = create_model("posenet", pretrained_backbone=False, backbone="tf_efficientnet_lite0", resize=140, crop=112)
    predict_frames(model, cache, rows[:64], data.select(rows[:64]))  # warm
    waited = 0.0

    def timed(*given: Any) -> Iterator[tuple[np.ndarray, Tensor]]:
        nonlocal waited
        batches, batch = _batches(*given), None
        while True:
            begin = time.perf_counter()
            batch = next(batches, None)
            waited += time.perf_counter() - begin
            if batch is None:
                return
            yield batch

    monkeypatch.setattr("posezoo.evaluation.evaluate._batches", timed)
    begin = time.perf_counter()
    poses, _ = predict_frames(model, cache, rows, frames)
    whole = time.perf_counter() - begin
    print(f"{len(poses.images)} images: {waited:.2f} s waiting of {whole:.0f} s")
    assert len(poses.images) == 10_000
    assert waited < 0.05 * whole
