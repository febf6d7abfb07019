"""Ranges of settings, for the fields of a model's or a modifier's configuration.

A setting outside its range is an error that names the key and the range, before anything is built. For another range
write `Annotated[int, Field(ge=8)]` with pydantic's `Field`.
"""

from typing import Annotated

from pydantic import Field

Count = Annotated[int, Field(ge=1, le=1_048_576)]
"""Widths, layers, heads, ranks. The maximum exceeds any model's, and a product of three does not overflow."""
Probability = Annotated[float, Field(ge=0, le=1)]
"""Of dropout."""
Side = Annotated[int, Field(ge=32, le=4096)]
"""Pixels along one side of a picture; five halvings leave one of 32."""
Level = Annotated[float, Field(ge=0, le=1)]
"""A pixel's value."""
Metres = Annotated[float, Field(allow_inf_nan=False, ge=-1e12, le=1e12)]
"""A coordinate."""
Positive = Annotated[float, Field(allow_inf_nan=False, gt=0)]
"""A length that is divided by."""
Degrees = Annotated[float, Field(ge=0, le=180)]
"""An angle to either side."""
Spread = Annotated[float, Field(gt=0, le=1)]
"""A deviation of pixel values; it is divided by, so it is not zero."""
