"""Pillow images: their kinds of pixels, other sizes, other kinds, and the way into a file."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from PIL import Image, ImageCms

from schemas.media.attributes import Pair, crop_box
from schemas.media.errors import MediaError

MODES = {"rgb": "RGB", "rgba": "RGBA", "gray": "L", "gray_alpha": "LA", "monochrome": "1", "palette": "P"}
"""Pillow's names of color spaces."""
SPACES = {
    **{mode: space for space, mode in MODES.items()},
    "PA": "palette",
    "RGBX": "rgb",
    "YCbCr": "rgb",
    "I;16": "gray",
    "I;16B": "gray",
    "I;16L": "gray",
    "CMYK": "cmyk",
}
"""Color spaces of Pillow's modes; a mode that is not here is not supported."""
SHRUNK = 1.5
"""How many times as large as the target an image is at least that Hamming's filter shrinks."""
FALLBACKS = ("rgba", "rgb", "gray_alpha", "gray", "palette")
_SRGB = ImageCms.createProfile("sRGB")
_WORKING = {"1": "L", "PA": "RGBA", "RGBX": "RGB", "YCbCr": "RGB"}


def resized(image: Image.Image, size: Pair, method: str) -> Image.Image:
    """Give an image in another size.

    Args:
        image: of a mode that `smooth` gives.
        size: width and height in pixels.
        method: "scale", which distorts where the ratio differs, or "crop", which first cuts the middle out.
    """
    if image.size == size:
        return image
    box = crop_box(image.size, size) if method == "crop" else None
    return image.resize(size, _filter(image.size, size), box=box)


def smooth(image: Image.Image) -> Image.Image:
    """Give an image in a mode in which pixels can be mixed: L, LA, RGB, RGBA or CMYK, of 8 bits."""
    if image.mode.startswith("I;16"):
        image = image.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    if image.mode == "P" or "transparency" in image.info:
        mode = ("LA" if image.mode in ("1", "L") else "RGBA") if image.has_transparency_data else "RGB"
        return image.convert(mode)
    return _converted(image, _WORKING.get(image.mode, image.mode))


def foreign_profile(image: Image.Image) -> ImageCms.ImageCmsProfile | None:
    """Give the ICC profile of an image if it is another one than sRGB; a damaged one counts as none."""
    data = image.info.get("icc_profile")
    if not data:
        return None
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
        fits = profile.profile.xcolor_space.strip() == ("CMYK" if image.mode == "CMYK" else "RGB")
        known = image.mode in ("L", "LA", "1") or "sRGB" in ImageCms.getProfileDescription(profile)
    except (OSError, ImageCms.PyCMSError):
        return None
    return profile if fits and not known else None


def to_srgb(image: Image.Image, profile: ImageCms.ImageCmsProfile) -> Image.Image:
    """Give the colors of an image in sRGB; in its own mode, CMYK as RGB."""
    mode = "RGB" if image.mode == "CMYK" else image.mode
    try:
        found = ImageCms.profileToProfile(image, profile, _SRGB, outputMode=mode)
    except ImageCms.PyCMSError:  # the profile is broken: colors as they stand are the best guess
        return image
    assert found is not None
    return found


def in_space(image: Image.Image, space: str) -> Image.Image:
    """Give an image that `smooth` gave in a color space; what was transparent is white where none can be."""
    mode = MODES[space]
    if image.mode in ("LA", "RGBA") and mode not in ("LA", "RGBA", "P"):
        image = _converted(image, "RGBA")
        ground = Image.new("RGB", image.size, "white")
        ground.paste(image, mask=image.getchannel("A"))
        image = ground
    if mode != "P" or image.mode == "P":
        return _converted(image, mode)
    if image.mode in ("LA", "RGBA"):
        return image.convert("RGBA").quantize(method=Image.Quantize.FASTOCTREE)
    return image.convert("RGB").quantize()


def encode(frames: Sequence[Image.Image], format: str, durations: Sequence[float] = (), **how: Any) -> bytes:
    """Write a file.

    Args:
        frames: one, or those of an animation, in a mode that the format can store.
        format: such as "jpeg".
        durations: of the frames, in ms.
        how: what Pillow's writer of this format takes, for example `quality`.

    Raises:
        MediaError: the format cannot store this.
    """
    for frame in frames:
        frame.info.clear()  # Pillow would write what stands there: profiles, comments
    if format == "gif":
        frames = [_with_one_transparent_color(frame) for frame in frames]
    if format == "png":
        how["compress_level"] = 3  # three quarters of the time of the default 6, and hardly larger
    if len(frames) > 1:
        how |= {"save_all": True, "append_images": frames[1:]}
        if format != "tiff":
            how |= {"duration": list(durations), "loop": 0}
    file = io.BytesIO()
    try:
        frames[0].save(file, format.upper(), **how)
    except (OSError, ValueError, SystemError) as error:  # for instance, a WEBP is too wide
        raise MediaError(f"cannot be written as {format}: {error}") from error
    return file.getvalue()


def _with_one_transparent_color(image: Image.Image) -> Image.Image:
    """Give a palette image as a GIF can store it: one color may be transparent, none half so."""
    if image.palette is None or not image.palette.mode.endswith("A"):
        return image
    alphas = (image.getpalette("RGBA") or [])[3::4]
    clear = [index for index, alpha in enumerate(alphas) if alpha < 128]
    palette = image.getpalette("RGB") or []
    if clear:
        image = image.point([clear[0] if index in clear else index for index in range(256)])
        image.info["transparency"] = clear[0]
    image.putpalette(palette)
    return image


def _filter(size: Pair, wanted: Pair) -> Image.Resampling:
    """Give the filter for another size: Hamming's shrinks as well as the bicubic one, in 60 % of the time."""
    shrinks = all(have >= SHRUNK * want for have, want in zip(size, wanted, strict=True))
    return Image.Resampling.HAMMING if shrinks else Image.Resampling.BICUBIC


def _converted(image: Image.Image, mode: str) -> Image.Image:
    return image if image.mode == mode else image.convert(mode)
