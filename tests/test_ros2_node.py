"""The example node for ROS 2: real models and pictures, against a strict stand-in for ROS where it is not installed."""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import ros2_tree
from naming import naming
from PIL import Image

import posezoo
from posezoo.zoo.build import create_model
from posezoo.zoo.saved import save
from posezoo.zoo.stream import predict_pictures

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "plugins/posezoo_demo/loop/images/test-winter/0005.jpg"
MODEL = "posenet-anchors-demo"


@pytest.fixture
def ros(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """The node's module beside ROS; afterwards neither is imported."""
    ros2_tree.write(tmp_path / "ros")
    for folder in (tmp_path / "ros", ROOT / "examples/ros2-node"):
        monkeypatch.syspath_prepend(str(folder))
    rclpy, messages = importlib.import_module("rclpy"), importlib.import_module("sensor_msgs.msg")
    yield SimpleNamespace(rclpy=rclpy, Octets=messages.Octets, Image=messages.Image, localiser=_module("localiser"))
    for name in [name for name in sys.modules if name.partition(".")[0] in (*ros2_tree.PACKAGES, "localiser")]:
        del sys.modules[name]


def _module(name: str) -> Any:
    return importlib.import_module(name)


def message(ros: SimpleNamespace, pixels_HWC: np.ndarray, encoding: str, padding: int = 0) -> Any:
    """A camera's message, its rows padded."""
    height, width = pixels_HWC.shape[:2]
    rows = pixels_HWC.reshape(height, -1)
    step = rows.shape[1] + padding
    data = ros.Octets(np.pad(rows, ((0, 0), (0, padding)), constant_values=99).tobytes())
    image = ros.Image(height=height, width=width, encoding=encoding, step=step, data=data)
    image.header.stamp.sec, image.header.frame_id = 42, "camera_optical_frame"
    return image


def run(ros: SimpleNamespace, images: list[Any], **parameters: Any) -> Any:
    """The node, after the images have come."""
    ros.rclpy.PARAMETERS.update(parameters)
    ros.rclpy.ARRIVING[:] = images
    ros.localiser.main()
    assert ros.rclpy.ENDED == [True]
    return ros.rclpy.NODES[-1]


def test_each_image_gets_the_models_pose_whatever_its_encoding(ros: SimpleNamespace) -> None:
    rgb = np.asarray(Image.open(PICTURE).convert("RGB"))
    model = posezoo.load(MODEL)
    truth = predict_pictures(model, [Image.fromarray(rgb)])
    full = np.full((*rgb.shape[:2], 1), 7, np.uint8)
    images = [
        message(ros, rgb, "rgb8"),
        message(ros, rgb[:, :, ::-1], "bgr8", padding=5),
        message(ros, np.concatenate([rgb, full], axis=2), "rgba8"),
        message(ros, np.concatenate([rgb[:, :, ::-1], full], axis=2), "bgra8", padding=3),
    ]
    node = run(ros, images, model=MODEL, topic="/front/image", frame="town")
    ((kind, topic, _, qos),) = node.subscribed
    assert (kind, topic, qos.depth, qos.reliability.name) == (ros.Image, "/front/image", 1, "BEST_EFFORT")
    (publisher,) = node.published
    assert publisher.topic == "~/pose" and len(publisher.sent) == 4 and not node.log.lines
    for sent in publisher.sent:
        assert (sent.header.stamp.sec, sent.header.frame_id) == (42, "town")
        at, turn = sent.pose.pose.position, sent.pose.pose.orientation
        np.testing.assert_allclose([at.x, at.y, at.z], truth.position[0], atol=1e-4)
        np.testing.assert_allclose([turn.w, turn.x, turn.y, turn.z], truth.quaternion[0], atol=1e-5)
        covariance = np.array(sent.pose.covariance).reshape(6, 6)
        assert np.count_nonzero(covariance - np.diag(np.diag(covariance))) == 0
        # of a Gaussian with this covariance nine draws of ten lie within the radius
        draws = np.random.default_rng(0).normal(size=(20_000, 6)) * np.sqrt(np.diag(covariance))
        assert (np.linalg.norm(draws[:, :3], axis=1) < truth.radius_m[0]).mean() == pytest.approx(0.9, abs=0.01)
        degrees = np.degrees(np.linalg.norm(draws[:, 3:], axis=1))
        assert (degrees < truth.radius_deg[0]).mean() == pytest.approx(0.9, abs=0.01)


def test_what_is_no_picture_and_what_is_unfamiliar_get_a_line_and_no_pose(ros: SimpleNamespace) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 80, 3), np.uint8)
    short = message(ros, noise, "rgb8")
    short.data = ros.Octets(bytes(10))
    narrow = message(ros, noise[:, :, :1], "mono8")
    narrow.encoding = "bgr8"
    empty = ros.Image(encoding="rgb8")
    bad = [message(ros, noise, "16UC1"), short, narrow, empty]
    node = run(ros, [*bad, message(ros, noise, "rgb8")], model=MODEL)
    assert node.published[0].sent == []
    assert [line[0] for line in node.log.lines] == ["error"] * 4 + ["warning"]
    assert all(seconds for *_, seconds in node.log.lines)  # thirty lines a second help nobody
    assert "16UC1" in node.log.lines[0][1] and "unfamiliar" in node.log.lines[4][1]


def test_a_model_that_is_not_calibrated_has_the_deviations_that_are_set(ros: SimpleNamespace, tmp_path: Path) -> None:
    tiny = {"backbone": "test_efficientnet.r160_in1k", "pretrained_backbone": False, "resize": 64, "crop": 64}
    save(create_model("posenet", hidden=16, **tiny), tmp_path / "m", "card")
    grey = np.full((64, 64, 1), 128, np.uint8)
    node = run(ros, [message(ros, grey, "mono8")], model=f"local-dir:{tmp_path / 'm'}", sigma_m=0.2, sigma_deg=3.0)
    (sent,) = node.published[0].sent
    np.testing.assert_allclose(
        np.diag(np.array(sent.pose.covariance).reshape(6, 6)), [0.04] * 3 + [0.05236**2] * 3, rtol=1e-4
    )
    assert math.isclose(
        sum(
            v * v
            for v in (
                sent.pose.pose.orientation.w,
                sent.pose.pose.orientation.x,
                sent.pose.pose.orientation.y,
                sent.pose.pose.orientation.z,
            )
        ),
        1,
        rel_tol=1e-5,
    )


def test_a_wrong_parameter_ends_it_in_one_line(ros: SimpleNamespace) -> None:
    with pytest.raises(SystemExit, match=naming("nothing-demo")):
        run(ros, [], model="nothing-demo")
    assert ros.rclpy.ENDED == [True]
