"""The mean and deviation of a data set's pixels, for models that are normalised by their data instead of ImageNet."""

from __future__ import annotations

import numpy as np

from posezoo.base.observe import Progress
from posezoo.data.images.cache import ImageCache

BATCH = 64
Triple = tuple[float, float, float]


def pixel_statistics(cache: ImageCache, rows: np.ndarray, progress: Progress | None = None) -> tuple[Triple, Triple]:
    """(mean, standard deviation) of each colour over all pixels of the cache's images `rows`, in [0, 1]."""
    count, total_3, squares_3 = 0, np.zeros(3), np.zeros(3)
    for start in range(0, len(rows), BATCH):
        for row in rows[start : start + BATCH]:  # one by one: a batch of several shapes would count its margins
            image_3N = cache.batch([row])[0][0].flatten(1).double().numpy()
            count += image_3N.shape[1]
            total_3 += image_3N.sum(1)
            squares_3 += np.square(image_3N).sum(1)
        if progress:
            progress(min(start + BATCH, len(rows)), len(rows))
    mean_3 = total_3 / max(count, 1)
    std_3 = np.sqrt(np.maximum(squares_3 / max(count, 1) - mean_3**2, 1))  # a grey level: never divide by zero
    r, g, b = (mean_3 / 255).tolist()
    sr, sg, sb = (std_3 / 255).tolist()
    return (r, g, b), (sr, sg, sb)
