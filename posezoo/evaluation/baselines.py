"""Poses that need no pose network: what a model must beat to be worth anything (Sattler et al. 2019).

Every function returns the poses of the test frames. Positions of two scenes live in two coordinate frames, so the mean
and the oracle stay within the test frame's own scene; retrieval, like a model, is not given it and searches all scenes.

Legend: M training images, N test images, E embedding width.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from posezoo.base.poses import Poses
from posezoo.data.table import Frames

MEAN = "mean training pose"
RETRIEVAL = "nearest training image"
ORACLE = "oracle nearest pose"

_ROWS = 512  # test images compared with all training images at a time: bounds the memory


def mean_training_pose(train: Frames, test: Frames) -> Poses:
    """For each test frame the mean position and mean quaternion of its scene's training frames (NaN if it has none)."""
    position_N3, quaternion_N4 = np.full((len(test), 3), np.nan), np.full((len(test), 4), np.nan)
    for train_rows, test_rows in _scenes(train, test):
        position_N3[test_rows] = train.position[train_rows].mean(axis=0)
        quaternion_N4[test_rows] = mean_quaternion(train.quaternion[train_rows])
    return _poses(test, position_N3, quaternion_N4)


def nearest_training_image(
    train: Frames, test: Frames, train_features_ME: npt.NDArray[np.float32], test_features_NE: npt.NDArray[np.float32]
) -> Poses:
    """For each test frame the pose of the training frame whose features have the largest cosine, over all scenes."""
    train_ME, test_NE = _unit(train_features_ME), _unit(test_features_NE)
    nearest_N = np.zeros(len(test), dtype=np.int64)
    for rows in _chunks(len(test)):
        nearest_N[rows] = (test_NE[rows] @ train_ME.T).argmax(axis=1)
    return _poses(test, train.position[nearest_N], train.quaternion[nearest_N])


def nearest_training_images(
    train: Frames,
    test: Frames,
    train_features_ME: npt.NDArray[np.float32],
    test_features_NE: npt.NDArray[np.float32],
    top: int,
) -> Poses:
    """As `nearest_training_image`, but the mean pose of the `top` nearest that are of the nearest one's scene.

    Weights are exp((cosine - largest cosine) / 0.05); the mean rotation is the weighted form of `mean_quaternion`.
    """
    train_ME, test_NE = _unit(train_features_ME), _unit(test_features_NE)
    top = min(top, len(train))
    position_N3, quaternion_N4 = np.zeros((len(test), 3)), np.zeros((len(test), 4))
    for rows in _chunks(len(test)):
        cosine_BM = test_NE[rows] @ train_ME.T
        # by cosine, then by row, so that equal ones do not depend on the machine
        nearest_BK = np.argsort(-cosine_BM, axis=1, kind="stable")[:, :top]
        cosine_BK = np.take_along_axis(cosine_BM, nearest_BK, axis=1).astype(np.float64)
        weight_BK = np.exp((cosine_BK - cosine_BK[:, :1]) / 0.05)
        weight_BK *= train.scene[nearest_BK] == train.scene[nearest_BK[:, :1]]
        weight_BK /= weight_BK.sum(axis=1, keepdims=True)
        # relative to the first one: a UTM position would lose millimetres
        first_B13 = train.position[nearest_BK[:, :1]]
        offset_BK3 = train.position[nearest_BK] - first_B13
        position_N3[rows] = first_B13[:, 0] + np.einsum("bk,bki->bi", weight_BK, offset_BK3)
        q_BK4 = train.quaternion[nearest_BK]
        vectors_B44 = np.linalg.eigh(np.einsum("bk,bki,bkj->bij", weight_BK, q_BK4, q_BK4))[1]
        mean_B4 = vectors_B44[..., -1]
        quaternion_N4[rows] = np.where(mean_B4[:, :1] < 0, -mean_B4, mean_B4)
    return _poses(test, position_N3, quaternion_N4)


def oracle_nearest_pose(train: Frames, test: Frames) -> Poses:
    """For each test frame the pose of its scene's nearest training position: retrieval's bound (NaN if none)."""
    position_N3, quaternion_N4 = np.full((len(test), 3), np.nan), np.full((len(test), 4), np.nan)
    for train_rows, test_rows in _scenes(train, test):
        # centred first: |a - b|^2 = |a|^2 - 2ab + |b|^2 would lose a UTM position's centimetres
        centre_3 = train.position[train_rows].mean(axis=0)
        t_M3, t_N3 = train.position[train_rows] - centre_3, test.position[test_rows] - centre_3
        for rows in _chunks(len(t_N3)):
            nearest = train_rows[((t_M3**2).sum(-1) - 2 * t_N3[rows] @ t_M3.T).argmin(axis=1)]
            position_N3[test_rows[rows]] = train.position[nearest]
            quaternion_N4[test_rows[rows]] = train.quaternion[nearest]
    return _poses(test, position_N3, quaternion_N4)


def mean_quaternion(quaternion_N4: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The mean (4,), w >= 0: the largest eigenvector of sum q q^T (Markley 2007, eq. 12); signs do not matter."""
    _, vectors = np.linalg.eigh(quaternion_N4.T @ quaternion_N4)
    mean_4: npt.NDArray[np.float64] = vectors[:, -1]
    return -mean_4 if mean_4[0] < 0 else mean_4


def _scenes(train: Frames, test: Frames) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """(training rows, test rows) of each scene that both have; scenes are matched by name."""
    for number, name in enumerate(test.scenes):
        test_rows = np.flatnonzero(test.scene == number)
        if name not in train.scenes or not len(test_rows):
            continue
        train_rows = np.flatnonzero(train.scene == train.scenes.index(name))
        if len(train_rows):
            yield train_rows, test_rows


def _chunks(num: int) -> Iterator[slice]:
    return (slice(start, start + _ROWS) for start in range(0, num, _ROWS))


def _unit(features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    # a feature that is not finite must not win every comparison: it becomes zero
    features = np.nan_to_num(np.asarray(features, np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)


def _poses(test: Frames, position_N3: npt.NDArray[np.float64], quaternion_N4: npt.NDArray[np.float64]) -> Poses:
    true = test.poses()
    return Poses(true.images, position_N3, quaternion_N4, true.scenes, true.timestamps)
