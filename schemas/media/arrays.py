"""Pixels that a model gives as an array."""

from __future__ import annotations

from typing import Any

from schemas.media.errors import MediaError


def as_pixels(value: Any) -> Any:
    """Give an array of pixels as uint8.

    Args:
        value: an array of HxW, HxWx1, HxWx3 or HxWx4 uint8, or floats from 0 to 1.

    Returns:
        A contiguous array of HxW, HxWx3 or HxWx4.

    Raises:
        MediaError: it is nothing of these.
    """
    import numpy

    array = numpy.asarray(value)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if 0 in array.shape or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))):
        raise MediaError(f"is an array of shape {array.shape}: an image has HxW, HxWx3 or HxWx4")
    if array.dtype.kind == "f":
        if not numpy.isfinite(array).all():
            raise MediaError("is an array that holds NaN or infinity")
        array = numpy.rint(array.astype("float32").clip(0, 1) * 255).astype("uint8")
    if array.dtype != numpy.uint8:
        raise MediaError(f"is an array of {array.dtype}: it must be uint8, or floats from 0 to 1")
    return numpy.ascontiguousarray(array)
