"""Intervals of medians over the frames of videos, which are not independent: blocks of neighbours are resampled.

A draw takes sequences with replacement where there are several, and fills their lengths with blocks of consecutive
frames (circular: a block may run over the end to the beginning). The block's length is the first lag at which the
autocorrelation of the errors is below 0.1, at least 5, at most a tenth of the longest sequence. It is computed on
ranks, which for log-normal errors is the autocorrelation of the logarithm, and which a failure (infinite) has too.

Blocks of finite length miss correlations across their joints, so the plain interval is too narrow: 85 % instead of 95
for an autocorrelation of 0.9. Its ends, as ranks, are therefore stretched by the ratio of standard errors: that of the
share of images above the median, estimated by blocks, by blocks extrapolated to infinite length (Kunsch 1989), and by a
first-order autoregression, whichever is largest, with Student's quantile for the number of blocks. With several
sequences it also is at least what the spread of their shares says. Of fewer than six images the interval is the range
of all values, and covers less: no 95 % can be had.

Simulated first-order autoregressions of 240 to 1,000 frames are covered in 93 to 97 % of cases up to an
autocorrelation of 0.9; at 0.95 it takes 1,000 frames. A few sequences say little of others: where their levels differ
by as much as frames do, eight cover the median of all in 93 % of cases, four in 82 %, two in 73 %. Nothing depends on
units or on monotone changes of the errors.

Legend: N images, R draws, K blocks, L block length, S sequences.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]

DRAWS = 1000
SHORTEST = 5
FEWEST = 6
"""With fewer values not even their whole range covers the median in 95 % of cases, but in 1 - 2 / 2^N."""
_SEED, _Z = 0, 1.959964
_AT_ONCE = 2_000_000  # images drawn at a time: bounds the memory


class Interval(NamedTuple):
    """A median with its 95 % interval."""

    median: float
    low: float
    high: float
    block: int
    """Frames in a block."""
    sequences: int


def median_interval(value_N: Floats, sequences: Sequence[Index]) -> Interval:
    """The interval of the median of N > 0 values: errors, or differences of errors. `inf` is the largest value.

    `sequences`: the places of each sequence's frames among the values, in the order of time; together all of them.
    """
    drawn = _Drawn(value_N, sequences)
    low, high = drawn.ends()
    return Interval(drawn.median, low, high, drawn.block, len(sequences))


def average_interval(parts: Sequence[tuple[Floats, Sequence[Index]]]) -> Interval:
    """The interval of the unweighted mean of the medians of the parts (scenes), each resampled by itself."""
    return trainings_interval([([value_N], sequences) for value_N, sequences in parts])


def trainings_interval(parts: Sequence[tuple[Sequence[Floats], Sequence[Index]]]) -> Interval:
    """The same for several trainings: each part has a row of values for each, of images that are resampled together."""
    drawn = []
    for seed, (value_SN, sequences) in enumerate(parts):
        block = max(block_length(ranks(value_N), sequences) for value_N in value_SN)
        drawn += [_Drawn(value_N, sequences, seed, block) for value_N in value_SN]
    return _of_mean(drawn, sum(len(sequences) for _, sequences in parts))


def _of_mean(drawn: Sequence[_Drawn], count: int) -> Interval:
    """The mean of the medians, with its interval by the draws; `count`: of sequences."""
    block = max(one.block for one in drawn)
    with np.errstate(invalid="ignore"):  # infinities of both signs
        median = float(np.mean([one.median for one in drawn]))
        if not np.isfinite(median):  # what is left: no draw is below the mean of all lower ends
            low, high = (float(np.mean(ends)) for ends in zip(*(one.ends() for one in drawn), strict=True))
            return Interval(median, low, high, block, count)
    mean_R = np.mean([one.stretched() for one in drawn], axis=0)
    low, high = np.percentile(mean_R, 2.5, method="lower"), np.percentile(mean_R, 97.5, method="higher")
    return Interval(median, min(float(low), median), max(float(high), median), block, count)


def block_length(rank_N: Floats, sequences: Sequence[Index]) -> int:
    """Frames in a block; see above. `rank_N`: ranks of the values, ties with their mean rank."""
    longest = max(len(index) for index in sequences)
    most = max(longest // 10, SHORTEST)
    below = np.flatnonzero(_autocorrelation(rank_N, sequences, most) < 0.1)
    lag = int(below[0]) if len(below) else most
    return min(max(SHORTEST, min(lag, most)), longest)


class _Drawn:
    """Medians of resampled values, as ranks, and by how much their spread is to be stretched."""

    def __init__(
        self, value_N: Floats, sequences: Sequence[Index], seed: int = _SEED, block: int | None = None
    ) -> None:
        assert len(value_N) == sum(map(len, sequences)) > 0, "every value belongs to one sequence"
        self.sorted_N, self.median = np.sort(value_N), float(np.median(value_N))
        rank_N = ranks(value_N)
        self.block = block or block_length(rank_N, sequences)
        above_N = np.sign(rank_N - (len(rank_N) - 1) / 2) / 2
        self.stretch = _stretch(above_N, rank_N, sequences, self.block)
        random = np.random.default_rng(_SEED + seed)
        if len(value_N) < FEWEST:
            self.stretch, self.rank_R = 1.0, random.integers(0, len(value_N), DRAWS).astype(np.float64)
            return
        exact_N = rank_N.astype(np.float32)  # halves up to 2**23 frames
        draws = [_medians(exact_N[rows]) for rows in _resampled(sequences, self.block, random)]
        self.rank_R = np.concatenate(draws)

    def ends(self) -> tuple[float, float]:
        """The values at both ends of the interval."""
        last, middle = len(self.sorted_N) - 1, (len(self.sorted_N) - 1) / 2
        low, high = np.quantile(self.rank_R, [0.025, 0.975])
        low, high = middle + self.stretch * (low - middle), middle + self.stretch * (high - middle)
        low, high = min(low, middle), max(high, middle)  # of few images, most of them equal
        ends = self.sorted_N[max(0, int(np.floor(low)))], self.sorted_N[min(last, int(np.ceil(high)))]
        return float(ends[0]), float(ends[1])

    def stretched(self) -> Floats:
        """The drawn medians as values (R,), stretched about the median, which is finite."""
        value_R = self.sorted_N[np.round(self.rank_R).astype(np.int64)]
        return self.median + self.stretch * (value_R - self.median)


def ranks(value_N: Floats) -> Floats:
    """0 for the smallest; equal values share the mean of their ranks."""
    sorted_N = np.sort(value_N)
    left, right = (np.searchsorted(sorted_N, value_N, side=side) for side in ("left", "right"))
    return (left + right - 1) / 2


def _resampled(sequences: Sequence[Index], length: int, random: np.random.Generator) -> Iterator[npt.NDArray[np.int32]]:
    """The places of the drawn values (r, N), some draws at a time, DRAWS in all."""
    size_S = np.array([len(index) for index in sequences])
    # each sequence is followed by its beginning, as far as a block may reach over its end
    place_M = np.concatenate([np.resize(index, len(index) + length) for index in sequences]).astype(np.int32)
    begin_S = np.concatenate([[0], np.cumsum(size_S + length)[:-1]])
    num, count = int(size_S.sum()), len(sequences)
    slots = -(-num // length)
    for start in range(0, DRAWS, at_once := max(1, _AT_ONCE // num)):
        draws = min(at_once, DRAWS - start)
        chosen = np.zeros((draws, slots), dtype=np.int64)
        if count > 1:  # each drawn sequence gets blocks in proportion to its length
            drawn = random.integers(0, count, (draws, count))
            share = np.cumsum(size_S[drawn], axis=1) / size_S[drawn].sum(axis=1, keepdims=True)
            wanted = (np.arange(slots) + 0.5) / slots + np.arange(draws)[:, None]
            flat = np.searchsorted((share + np.arange(draws)[:, None]).ravel(), wanted.ravel()).reshape(wanted.shape)
            chosen = drawn.ravel()[np.minimum(flat, drawn.size - 1)]
        first = begin_S[chosen] + (random.random((draws, slots)) * size_S[chosen]).astype(np.int64)
        rows = first.astype(np.int32)[..., None] + np.arange(length, dtype=np.int32)
        yield place_M[rows.reshape(draws, -1)[:, :num]]


def _medians(rank_RN: npt.NDArray[np.float32]) -> Floats:
    half = rank_RN.shape[1] // 2
    parted_RN = np.partition(rank_RN, half, axis=1)
    upper_R = parted_RN[:, half].astype(np.float64)
    return upper_R if rank_RN.shape[1] % 2 else (upper_R + parted_RN[:, :half].max(axis=1)) / 2


def _autocorrelation(rank_N: Floats, sequences: Sequence[Index], lags: int) -> Floats:
    """At lags 0..lags, over all sequences, about the common mean."""
    total = np.zeros(lags + 1)
    centred_N = rank_N - rank_N.mean()
    for index in sequences:
        part = centred_N[index]
        # to a length that is fast, and long enough that the end does not meet the beginning
        spectrum = np.fft.rfft(part, 1 << (2 * len(part)).bit_length())
        products = np.fft.irfft(spectrum * spectrum.conj())[: min(lags + 1, len(part))]
        total[: len(products)] += products
    return total / total[0] if total[0] > 0 else total


def _stretch(above_N: Floats, rank_N: Floats, sequences: Sequence[Index], length: int) -> float:
    """The ratio of the standard error of the share above the median to that which blocks draw from."""
    num = len(above_N)
    regression = _autoregression(rank_N, sequences)
    drawn = wanted = 0.0  # variances of the mean of all
    for index in sequences:
        part, weight = above_N[index], len(index) / num**2
        long, short = (_block_variance(part, part.mean(), max(1, min(one, len(part)))) for one in (length, length // 2))
        drawn += weight * long
        wanted += weight * max(long, 2 * long - short, float(np.var(part)) * regression)
    if len(sequences) > 1:
        size_S, mean_S = np.array([len(i) for i in sequences]), np.array([above_N[i].mean() for i in sequences])
        share_S = size_S / num
        spread = float(np.sum(share_S**2 * (mean_S - above_N.mean()) ** 2))
        drawn += spread
        wanted = max(wanted, spread / (1 - float(np.sum(share_S**2))))
    if drawn <= 0:
        return 1.0
    return float(np.sqrt(wanted / drawn)) * _student(max(2.0, num / length - 1)) / _Z


def _block_variance(part_N: Floats, mean: float, length: int) -> float:
    """Length times the variance of the means of all circular blocks."""
    sums = np.concatenate([[0.0], np.cumsum(np.concatenate([part_N, part_N[:length]]) - mean)])
    return float(np.mean((sums[length : length + len(part_N)] - sums[: len(part_N)]) ** 2)) / length


def _autoregression(rank_N: Floats, sequences: Sequence[Index]) -> float:
    """By what a mean's variance exceeds that of independent values, were the errors a Gaussian autoregression."""
    longest = max(len(index) for index in sequences)
    if longest < 3:
        return 1.0
    lag1 = float(_autocorrelation(rank_N, sequences, 1)[1])
    rho = 2 * np.sin(np.pi * lag1 / 6)  # of the Gaussian whose ranks these are
    rho = np.clip(rho + (1 + 3 * rho) / len(rank_N), 0, 0.998)  # Kendall 1954: a sample's is too small
    lag = np.arange(1, longest)
    return float(1 + 2 * np.sum((1 - lag / longest) * 2 / np.pi * np.arcsin(rho**lag)))


def _student(freedom: float) -> float:
    """The 97.5 % quantile of Student's t by its expansion (Abramowitz and Stegun 26.7.5)."""
    z = _Z
    terms = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96, (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + sum(term / freedom**power for power, term in enumerate(terms, 1))
