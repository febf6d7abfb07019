"""How near test frames are to training frames: what a split measures, and whether it leaks.

Legend: N frames, M training frames, 3 position (m), 4 quaternion (w, x, y, z).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from posezoo.data.table import Frames

NEAR = 1.5  # times the usual distance of consecutive frames
NEAR_DEG = 5.0  # or the usual turn, whichever is more
SAMPLED = 1000  # test frames that tell the gap
_ROWS = 512  # test frames compared at a time: bounds the memory


def gap(frames: Frames, test_N: np.ndarray, train_N: np.ndarray) -> float | None:
    """The median distance (m) of a test frame to the nearest training position of its scene; None without either."""
    found: list[np.ndarray] = []
    order = np.argsort(frames.scene, kind="stable")  # one pass over the frames, however many scenes there are
    for rows in np.split(order, np.cumsum(np.bincount(frames.scene, minlength=1))[:-1]):
        test, train = (frames.position[rows[mask_N[rows]]] for mask_N in (test_N, train_N))
        if len(test) and len(train):
            found.append(_nearest(test[:: max(1, len(test) // SAMPLED)], train))
    return float(np.median(np.concatenate(found))) if found else None


def unseen(frames: Frames, block: np.ndarray, held: np.ndarray, train: np.ndarray) -> float:
    """The share of a block's frames that are nearer to a `held` frame than to any that trains: nobody shows them.

    All are rows of one scene; the share is of at most a hundred of the block's frames.
    """
    if not len(held):
        return 0.0
    if not len(train):
        return 1.0
    some_N3 = frames.position[block[:: max(1, len(block) // 100)]]
    to_held_N, to_train_N = (_nearest(some_N3, frames.position[rows]) for rows in (held, train))
    return float(np.mean(to_held_N < to_train_N))


def _nearest(test_N3: np.ndarray, train_M3: np.ndarray) -> np.ndarray:
    centre_3 = train_M3.mean(axis=0)  # first: a UTM position's square would lose centimetres
    a_N3, b_M3 = test_N3 - centre_3, train_M3 - centre_3
    square_N = np.concatenate([_squares(a_N3[n : n + _ROWS], b_M3).min(axis=1) for n in range(0, len(a_N3), _ROWS)])
    return np.sqrt(square_N.clip(0))


def _squares(a_N3: np.ndarray, b_M3: np.ndarray) -> np.ndarray:
    squares: np.ndarray = (a_N3**2).sum(1)[:, None] - 2 * a_N3 @ b_M3.T + (b_M3**2).sum(1)
    return squares


def leaks(frames: Frames, runs: Sequence[np.ndarray]) -> list[str]:
    """A line if test frames see what a training frame of their own sequence sees: their poses are neighbours'.

    That is within one and a half of the usual distance between consecutive frames, and of their usual turn or 5
    degrees. It looks at poses, not at the order of the frames. `runs` are the sequences, frames as they were taken.
    """
    count = sum(_beside(frames, index) for index in runs)
    tests = int(np.sum(frames.split == "test"))
    return [f"{count} of {tests} test frames are next to a training frame of their own sequence"] if count else []


def _beside(frames: Frames, index: np.ndarray) -> int:
    """How many test frames of one sequence have a training frame beside them."""
    test, train = (index[frames.split[index] == word] for word in ("test", "train"))
    if not len(test) or not len(train):
        return 0
    position_N3, quaternion_N4 = frames.position[index], frames.quaternion[index]
    step_N = np.linalg.norm(np.diff(position_N3, axis=0), axis=1)
    turn_N = _angle(np.abs((quaternion_N4[1:] * quaternion_N4[:-1]).sum(-1)))
    metres = NEAR * float(np.median(step_N)) + 1e-9
    degrees = max(NEAR_DEG, NEAR * float(np.median(turn_N)))
    axis = int(np.ptp(position_N3, axis=0).argmax())  # only frames that are near along it are compared
    test, train = (rows[frames.position[rows, axis].argsort()] for rows in (test, train))
    along_M, centre_3, count = frames.position[train, axis], position_N3.mean(axis=0), 0
    for start in range(0, len(test), _ROWS):
        rows = test[start : start + _ROWS]
        low, high = frames.position[rows[0], axis] - metres, frames.position[rows[-1], axis] + metres
        near = train[np.searchsorted(along_M, low) : np.searchsorted(along_M, high, side="right")]
        close = _squares(frames.position[rows] - centre_3, frames.position[near] - centre_3) <= metres**2 * (1 + 1e-9)
        alike = _angle(np.abs(frames.quaternion[rows] @ frames.quaternion[near].T)) <= degrees
        count += int((close & alike).any(axis=1).sum())
    return count


def _angle(cosine: np.ndarray) -> np.ndarray:
    """Degrees between two orientations, of the |dot product| of their unit quaternions."""
    degrees: np.ndarray = np.degrees(2 * np.arccos(cosine.clip(max=1)))
    return degrees
