"""Images that a model gives, as its endpoint file wants them sent."""

from __future__ import annotations

import json
import sys
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from schemas.media import pixels
from schemas.media.arrays import as_pixels
from schemas.media.attributes import Choice, Range, Size
from schemas.media.errors import MediaError
from schemas.media.forms import ImageForm
from schemas.media.image import convert, format_of
from schemas.media.limits import MediaLimits
from schemas.media.rules import STORABLE, ImageRules
from schemas.media.source import data_url, read_file
from schemas.values import type_name

FORMAT = "png"
"""Of what comes without a file format, when the endpoint file names none."""
DESCRIPTION = 0x010E
"""EXIF's tag of an image's description."""
LONGEST_DESCRIPTION = 60_000
"""Characters; a segment of a JPEG has at most 65,533 bytes."""
_NO_LIMITS = MediaLimits(
    max_bytes=sys.maxsize, max_pixels=sys.maxsize, max_side=sys.maxsize, max_frames=sys.maxsize
)


def url(value: Any, form: ImageForm) -> str:
    """Give an image as a data URL.

    Args:
        value: an image of Pillow; an array of HxW, HxWx1, HxWx3 or HxWx4 uint8, or floats from 0 to 1; or an
            image file, as bytes or open, which is passed through if it is as wanted already.
        form: what the endpoint file says of this output.

    Raises:
        MediaError: it is nothing of these, or cannot be stored in the format.
    """
    file = read_file(value)
    if file is None:
        image = _copy(value) if isinstance(value, Image.Image) else _from_array(value)
        data = _encoded(image, form)
    else:
        data = convert(file, _rules(form))
    return data_url(data, f"image/{format_of(data)}")


def _copy(image: Image.Image) -> Image.Image:
    try:
        return image.copy()  # the model's own stays as it is
    except Exception as error:  # an image that is decoded only now, from a file that may be damaged
        raise MediaError(f"cannot be read: {error}") from error


def _rules(form: ImageForm) -> ImageRules:
    def just(word: str | None) -> Choice:
        return Choice((word,) if word else (), auto_convert=True)

    return ImageRules(
        format=just(form.format),
        color_space=just(form.color_space),
        size=Size(maximum=form.size, keep_aspect_ratio=True, auto_convert=True),
        frames=Range(),
        limits=_NO_LIMITS,
    )


def _from_array(value: Any) -> Image.Image:
    if not hasattr(value, "__array__"):
        wanted = "an image of Pillow, an array, bytes, a file or a string (a data URL)"
        raise MediaError(f"must be {wanted}, not {type_name(value)}")
    return Image.fromarray(as_pixels(value))


def _encoded(image: Image.Image, form: ImageForm) -> bytes:
    space = pixels.SPACES.get(image.mode)
    if space is None:
        raise MediaError(f"has pixels of kind {image.mode}, which is not supported")
    format = form.format or FORMAT
    found = {name: image.info[name] for name in form.metadata if name in image.info}
    fallbacks = pixels.FALLBACKS[0 if image.has_transparency_data else 1 :]
    wanted = (form.color_space,) if form.color_space else (space, *fallbacks)
    space = next(space for space in wanted if space in STORABLE[format])
    image = pixels.smooth(image)
    if form.size is not None:
        factor = min(1, form.size[0] / image.width, form.size[1] / image.height)
        size = max(1, round(image.width * factor)), max(1, round(image.height * factor))
        image = pixels.resized(image, size, "scale")
    how: dict[str, Any] = {"quality": form.quality} if format in ("jpeg", "webp") else {}
    return pixels.encode([pixels.in_space(image, space)], format, **how, **_metadata(found, format))


def _metadata(found: dict[str, Any], format: str) -> dict[str, Any]:
    """Give what Pillow's writer needs: texts in a PNG, else one description that holds JSON."""
    if not found:
        return {}
    if format == "png":
        texts = PngInfo()
        for name, value in found.items():
            texts.add_itxt(name, str(value))
        return {"pnginfo": texts}
    description = json.dumps(found, default=str)
    if format == "gif":
        return {"comment": description}
    if len(description) > LONGEST_DESCRIPTION:
        raise MediaError(
            f"has metadata of {len(description)} characters: at most {LONGEST_DESCRIPTION} allowed"
        )
    exif = Image.Exif()
    exif[DESCRIPTION] = description
    return {"exif": exif.tobytes()}
