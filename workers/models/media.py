"""Media among a job's inputs, for models: `open_image(job["image"])`.

An input of type image, audio or video is a data URL (a string), one of a list type a list of them. The file
in it is as the endpoint file wants it: of that format and size, upright, in sRGB, complete.
"""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy
    from PIL.Image import Image


def media_bytes(value: str) -> bytes:
    """Give the file of a media input.

    Args:
        value: a data URL.

    Raises:
        ValueError: it is none.
    """
    head, comma, body = value.partition(",")
    if not (comma and head.startswith("data:") and head.endswith(";base64")):
        raise ValueError("no data URL: is this input declared as image, audio or video?")
    return base64.b64decode(body)


def open_image(value: str) -> Image:
    """Give an image input as an image of Pillow, decoded.

    Args:
        value: a data URL.

    Raises:
        ValueError: it is none.
    """
    from PIL import Image

    with Image.open(io.BytesIO(media_bytes(value))) as image:
        image.load()
        return image


def open_sound(value: str) -> tuple[numpy.ndarray, int]:
    """Give an audio input as samples.

    Args:
        value: a data URL.

    Returns:
        Floats (float32) of shape (channels, samples), and the sample rate in Hz. They lie between -1 and 1,
        but for files that store floats themselves.

    Raises:
        ValueError: it is none.
    """
    import av
    import numpy

    planar = av.AudioResampler(format="fltp")
    with av.open(io.BytesIO(media_bytes(value)), "r") as file:
        rate = file.streams.audio[0].rate
        frames = [part.to_ndarray() for frame in file.decode(audio=0) for part in planar.resample(frame)]
        frames += [part.to_ndarray() for part in planar.resample(None)]
    return numpy.concatenate(frames, axis=1), rate


def open_video(value: str) -> tuple[numpy.ndarray, float]:
    """Give the pictures of a video input; its sound opens as any other (`open_sound`).

    Args:
        value: a data URL.

    Returns:
        Upright frames as uint8 of shape (frames, height, width, 3), and how many there are in a second.

    Raises:
        ValueError: it is none.
    """
    import av
    import numpy

    with av.open(io.BytesIO(media_bytes(value)), "r") as file:
        rate = file.streams.video[0].average_rate or 25
        frames = [
            numpy.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)
            for frame in file.decode(video=0)
        ]
    return numpy.stack(frames), float(rate)
