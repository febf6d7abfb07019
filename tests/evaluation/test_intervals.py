"""Intervals: how often they hold the true median, what they do not depend on, and hand-worked cases."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from posezoo.evaluation import intervals
from posezoo.evaluation.intervals import average_interval, block_length, median_interval


def series(num: int, phi: float, random: np.random.Generator, sequences: int = 1) -> np.ndarray:
    """Errors of median 1 (sequences, num), whose logarithm is a first-order autoregression."""
    z = random.normal(size=(sequences, num))
    z[:, 0] /= np.sqrt(1 - phi**2)
    for n in range(1, num):
        z[:, n] += phi * z[:, n - 1]
    return np.exp(z)


def places(sequences: int, num: int) -> list[np.ndarray]:
    return [np.arange(number * num, (number + 1) * num) for number in range(sequences)]


def coverage(simulations: int, num: int, phi: float, sequences: int = 1) -> float:
    """The share of simulations whose interval holds the true median."""
    random, found = np.random.default_rng(7), 0
    for _ in range(simulations):
        error_N = series(num, phi, random, sequences).ravel()
        found_one = median_interval(error_N, places(sequences, num))
        found += found_one.low <= 1 <= found_one.high
    return found / simulations


def test_the_true_median_is_covered_in_a_sample_of_simulations() -> None:
    assert 0.90 <= coverage(150, 240, 0.8) <= 0.99  # three standard deviations of 150 draws about 0.95


@pytest.mark.slow
@pytest.mark.parametrize(
    ("num", "phi", "sequences"), [(500, 0.0, 1), (500, 0.5, 1), (500, 0.8, 1), (500, 0.9, 1), (250, 0.8, 2)]
)
def test_the_true_median_is_covered(num: int, phi: float, sequences: int) -> None:
    assert 0.93 <= coverage(2000, num, phi, sequences) <= 0.97


@pytest.mark.parametrize(("num", "least"), [(1, 0.0), (2, 0.5), (3, 0.75), (4, 0.875), (5, 0.9375), (6, 0.96875)])
def test_of_few_values_the_interval_is_their_range(num: int, least: float) -> None:
    """Which covers the median in 1 - 2 / 2^N of cases, as each side is as likely."""
    assert coverage(400, num, 0.0) >= least - 0.06
    value_N = np.arange(num, dtype=float)
    assert median_interval(value_N, places(1, num))[1:3] == (0.0, num - 1.0)
    apart = [median_interval(value_N, [np.array([n]) for n in range(num)])]
    assert apart[0][1:3] == (0.0, num - 1.0), "as many sequences of one image"


def test_the_average_of_scenes_of_few_images_has_a_width() -> None:
    random, held = np.random.default_rng(3), 0
    for _ in range(300):
        found = average_interval([(one, places(1, 5)) for one in random.normal(size=(4, 5))])
        held += found.low <= 0 <= found.high
    assert held / 300 >= 0.93


def test_blocks_are_wider_than_single_images_where_neighbours_are_alike() -> None:
    error_N = series(1000, 0.9, np.random.default_rng(0))[0]
    blocks, shuffled = (median_interval(one, places(1, 1000)) for one in (error_N, np.sort(error_N)[::-1]))
    mixed = median_interval(np.random.default_rng(1).permutation(error_N), places(1, 1000))
    assert mixed.high - mixed.low < 0.5 * (blocks.high - blocks.low)
    assert (mixed.block, shuffled.block) == (5, 100), "at least 5, at most a tenth"
    assert 15 <= blocks.block <= 35  # ln 0.1 / ln 0.9 = 22


def test_independent_errors_have_the_interval_of_order_statistics() -> None:
    """Against the exact binomial interval of the median."""
    error_N = np.random.default_rng(3).exponential(size=1001)
    found, exact = median_interval(error_N, places(1, 1001)), np.sort(error_N)
    rank_low, rank_high = stats.binom.ppf([0.025, 0.975], 1001, 0.5).astype(int)
    ends = np.searchsorted(exact, [found.low, found.high])
    np.testing.assert_allclose(ends, [rank_low, rank_high], atol=8)


def test_units_monotone_changes_and_the_order_of_sequences_change_nothing() -> None:
    random = np.random.default_rng(5)
    error_N, index = series(60, 0.7, random, 3).ravel(), places(3, 60)
    found = median_interval(error_N, index)
    scaled, cubed = median_interval(100 * error_N, index), median_interval(error_N**3, index)
    np.testing.assert_allclose(scaled[:3], 100 * np.array(found[:3]), rtol=1e-12)
    np.testing.assert_allclose([cubed.low, cubed.high], [found.low**3, found.high**3], rtol=1e-12)
    shuffled = random.permutation(180)
    back = np.argsort(shuffled)
    assert median_interval(error_N[shuffled], [back[one] for one in index]) == found, "rows in any order"


def test_failures_are_the_largest_values() -> None:
    error_N = series(100, 0.5, np.random.default_rng(2))[0]
    cut = np.quantile(error_N, 0.9)
    failed, far = np.where(error_N > cut, np.inf, error_N), np.where(error_N > cut, 1e9, error_N)
    assert median_interval(failed, places(1, 100)) == median_interval(far, places(1, 100))
    most = np.full(100, np.inf)
    most[:40] = 1.0
    found = median_interval(most, places(1, 100))
    assert (found.median, found.high) == (np.inf, np.inf)
    assert not np.isnan(found.low)


@pytest.mark.parametrize("num", [1, 2, 3, 4, 7])
def test_few_images(num: int) -> None:
    error_N = np.arange(1.0, num + 1)
    found = median_interval(error_N, places(1, num))
    assert 1 <= found.low <= found.median <= found.high <= num
    assert found.block <= num
    equal = median_interval(np.full(num, 2.0), places(1, num))
    assert equal[:3] == (2.0, 2.0, 2.0)


def test_sequences_that_differ_widen_the_interval() -> None:
    """Ten drives, each 0.5 to 5 times as hard as the usual one: what matters is how many drives there are."""
    random = np.random.default_rng(8)
    error_SN = random.exponential(size=(10, 200))
    hard_SN = error_SN * np.exp(random.normal(size=(10, 1)))
    alike, differing = (median_interval(one.ravel(), places(10, 200)) for one in (error_SN, hard_SN))
    whole = median_interval(hard_SN.T.ravel(), places(1, 2000))  # the same, were it one drive of mixed images
    assert np.log(differing.high / differing.low) > 3 * np.log(alike.high / alike.low)
    assert np.log(differing.high / differing.low) > 3 * np.log(whole.high / whole.low)
    assert (alike.sequences, whole.sequences) == (10, 1)


def test_sequences_shorter_than_a_block_are_used_too() -> None:
    error_N = series(200, 0.9, np.random.default_rng(1))[0]
    found = median_interval(error_N, [np.arange(190), np.array([190]), np.arange(191, 200)])
    assert found.low < found.median < found.high


def test_the_average_of_scenes() -> None:
    random = np.random.default_rng(4)
    parts = [(scale * random.exponential(size=101), places(1, 101)) for scale in (1.0, 3.0, 10.0)]
    found = average_interval(parts)
    assert found.median == pytest.approx(np.mean([np.median(one) for one, _ in parts]))
    # independent parts: variances add
    own = [median_interval(*part) for part in parts]
    expected = np.sqrt(sum((one.high - one.low) ** 2 for one in own)) / 3
    assert 0.7 * expected < found.high - found.low < 1.3 * expected
    assert found.low < found.median < found.high
    failed = average_interval([*parts, (np.full(9, np.inf), places(1, 9))])
    assert failed[:3] == (np.inf, np.inf, np.inf)


def test_a_block_is_as_long_as_errors_stay_alike() -> None:
    random = np.random.default_rng(0)
    slow_N = np.repeat(random.normal(size=400), 25) + 0.01 * random.normal(size=10000)
    lengths = [block_length(np.argsort(np.argsort(one)).astype(float), places(1, 10000)) for one in (slow_N, -slow_N)]
    assert lengths[0] == lengths[1]
    assert 15 <= lengths[0] <= 30


def test_quantiles_of_student() -> None:
    for freedom in (3, 5, 11, 40, 1000):
        assert intervals._student(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=0.01)


def test_the_same_every_time_and_at_once_for_large_sets() -> None:
    error_N = series(300, 0.5, np.random.default_rng(0))[0]
    first, again = (median_interval(error_N, places(1, 300)) for _ in range(2))
    assert first == again
    whole = np.concatenate(list(intervals._resampled(places(1, 300), 7, np.random.default_rng(0))))
    assert whole.shape == (intervals.DRAWS, 300)
    # neighbours within a block are neighbours in time, circularly
    assert all((b - a) % 300 == 1 for a, b in pairwise(whole[0][:7].tolist()))
