"""Images: what a file holds, and the same image as the rules of an endpoint want it."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

# The plugins are named since Pillow itself would import some of them only when all others have failed.
from PIL import (  # noqa: F401
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)
from PIL.ImageCms import ImageCmsProfile
from PIL.ImageFile import ImageFile

from schemas.media import pixels, scan
from schemas.media.attributes import Pair
from schemas.media.errors import MediaError
from schemas.media.limits import IMAGE_FORMATS, MediaLimits
from schemas.media.rules import ANIMATED, STORABLE, ImageRules, check_format

QUALITY = 95
"""Of JPEG and lossy WEBP, 1 to 100: a converted input shall look as it came."""
DRAFT_MARGIN = pixels.SHRUNK
"""How much larger than the target a JPEG is decoded at least, when its decoder shrinks it."""
DURATION = 100
"""ms of a frame whose file does not tell."""
ORIENTATION = 0x0112
"""EXIF's tag: how the image has to be turned to stand upright."""
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Damaged metadata, and sizes that are checked here anyway.
warnings.filterwarnings("ignore", module=r"PIL\.")


@dataclass(frozen=True)
class ImageInfo:
    """What an image is, by its header.

    Attributes:
        format: such as "jpeg".
        size: width and height in pixels, upright.
        color_space: "rgb", "rgba", "gray", "gray_alpha", "monochrome", "palette" or "cmyk".
        frames: 1 for a still; of an animation not more than were asked for.
        orientation: EXIF's; 1 for upright.
    """

    format: str
    size: Pair
    color_space: str
    frames: int = 1
    orientation: int = 1


def probe(data: bytes, max_frames: int = 1 << 30) -> ImageInfo:
    """Tell what an image is, by its header; nothing is decoded.

    Args:
        data: the file.
        max_frames: frames beyond are not counted.

    Raises:
        MediaError: it is no image, or its header is damaged.
    """
    with _opened(data, MediaLimits().max_pixels) as image:
        return _describe(image, data, max_frames)


def format_of(data: bytes) -> str | None:
    """Tell the format of an image by its first bytes; None: it is of none that is known here."""
    return scan.image_format(data)


def convert(data: bytes, rules: ImageRules) -> bytes:
    """Give an image as the rules want it; byte for byte as it came, if it is so already.

    It is upright and in sRGB in any case, and known to be complete.

    Raises:
        MediaError: with all that is wrong; its size is found to be wrong before it is decoded.
    """
    with _opened(data, rules.limits.max_pixels) as image:
        found = _describe(image, data, rules.limits.max_frames + 1)
        wanted = _fit(found, rules)
        profile = pixels.foreign_profile(image)
        if wanted == found and profile is None:
            _decode_all(image, found)
            return data
        wanted = _storable(wanted, rules, image.has_transparency_data)
        frames, durations = [], []
        for number in range(wanted.frames):
            _decode(image, number, found, wanted.size)
            durations.append(image.info.get("duration") or DURATION)
            frames.append(_render(image, found, wanted, rules.resize_method, profile))
    how = {"quality": QUALITY} if wanted.format in ("jpeg", "webp") else {}
    return pixels.encode(frames, wanted.format, durations, **how)


@contextmanager
def _opened(data: bytes, max_pixels: int) -> Iterator[ImageFile]:
    format = scan.image_format(data)
    if format is None:
        raise MediaError(f"is no image of a known format: send {', '.join(IMAGE_FORMATS)}")
    scan.check_parts(data, format)
    with _damage():
        try:
            image = Image.open(io.BytesIO(data), formats=(format.upper(),))
        except Image.DecompressionBombError:
            raise MediaError(f"has too many pixels: at most {max_pixels} allowed") from None
    with image:
        yield image


@contextmanager
def _damage() -> Iterator[None]:
    try:
        yield
    except MediaError:
        raise
    except Exception as error:  # foreign code on foreign bytes: whatever it raises means the same
        raise MediaError("is truncated or damaged: it cannot be decoded") from error


def _describe(image: ImageFile, data: bytes, max_frames: int) -> ImageInfo:
    format = "jpeg" if image.format == "MPO" else str(image.format).lower()
    space = pixels.SPACES.get(image.mode)
    if space is None:
        raise MediaError(f"has pixels of kind {image.mode}, which is not supported")
    orientation = _orientation(image)
    # Of a TIFF, Pillow tells the upright size itself.
    turned = orientation >= 5 and format != "tiff"
    size = (image.height, image.width) if turned else image.size
    with _damage():
        frames = _count_frames(image, data, format, max_frames)
    return ImageInfo(format, size, space, frames, orientation)


def _orientation(image: ImageFile) -> int:
    try:
        # Not PngImageFile's own, which would decode the image to look behind it.
        found = Image.Image.getexif(image).get(ORIENTATION)
    except Exception:  # foreign code on foreign bytes; many EXIF blocks in the wild are damaged
        return 1
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def _count_frames(image: ImageFile, data: bytes, format: str, stop: int) -> int:
    if format == "gif":
        return max(1, scan.count_gif_frames(data, stop))
    if format == "tiff":
        return _count_pages(image, stop)
    # The second image of an MPO is a preview or the other eye's; a viewer shows the first.
    return min(stop, getattr(image, "n_frames", 1)) if format in ANIMATED else 1


def _count_pages(image: ImageFile, stop: int) -> int:
    pages = 1
    try:
        while pages < stop:
            image.seek(pages)
            pages += 1
    except EOFError:
        pass
    image.seek(0)
    return pages


def _fit(found: ImageInfo, rules: ImageRules) -> ImageInfo:
    """Give what the rules make of an image; the limits hold for what of it would be decoded."""
    problems: list[str] = []
    check_format(found.format, rules.limits.image_formats, problems)
    for name, side in zip(("width", "height"), found.size, strict=True):
        if side > rules.limits.max_side:
            problems.append(
                f"its {name} of {side} pixels is too high: at most {rules.limits.max_side} allowed"
            )
    wanted = ImageInfo(
        format=rules.format.fit(found.format, "format", problems),
        size=rules.size.fit(found.size, problems),
        color_space=rules.color_space.fit(found.color_space, "color space", problems),
        frames=int(rules.frames.fit(found.frames, "number of frames", problems)),
    )
    if wanted.frames > rules.limits.max_frames:
        problems.append(f"has too many frames: at most {rules.limits.max_frames} allowed")
    count = found.size[0] * found.size[1] * wanted.frames
    if count > rules.limits.max_pixels:
        problems.append(f"has too many pixels ({count}): at most {rules.limits.max_pixels} allowed")
    MediaError.raise_if(problems)
    return wanted


def _storable(wanted: ImageInfo, rules: ImageRules, transparent: bool) -> ImageInfo:
    """Give the nearest to `wanted` of what files can hold: a JPEG has no transparency, a GIF no gray."""
    spaces = rules.color_space.supported or pixels.FALLBACKS[0 if transparent else 1 :]
    for format in (wanted.format, *(rules.format.supported or ("png",))):
        for space in (wanted.color_space, *spaces):
            if space in STORABLE[format] and (wanted.frames == 1 or format in ANIMATED):
                return replace(wanted, format=format, color_space=space)
    raise MediaError(f"its {wanted.frames} frames cannot be stored as {wanted.format}: send a still")


def _decode_all(image: ImageFile, found: ImageInfo) -> None:
    """Make sure that all can be decoded; of a JPEG an eighth of its size, which takes a third of the time."""
    for number in range(found.frames):
        _decode(image, number, found, (1, 1))


def _decode(image: ImageFile, number: int, found: ImageInfo, size: Pair) -> None:
    """Decode a frame, a JPEG not much larger than the upright `size`."""
    width, height = size[::-1] if found.orientation >= 5 else size
    with _damage():
        if number:
            image.seek(number)
            if image.size[0] * image.size[1] > found.size[0] * found.size[1]:
                raise ValueError("a frame that is larger than the first")
        image.draft(None, (int(width * DRAFT_MARGIN), int(height * DRAFT_MARGIN)))
        image.load()


def _render(
    image: ImageFile, found: ImageInfo, wanted: ImageInfo, method: str, profile: ImageCmsProfile | None
) -> Image.Image:
    turn = None if found.format == "tiff" else _TURNS.get(found.orientation)
    size = wanted.size[::-1] if turn is not None and found.orientation >= 5 else wanted.size
    frame: Image.Image = image.copy() if wanted.frames > 1 else image
    if frame.mode == "P" and (frame.size, "palette", profile) == (size, wanted.color_space, None):
        frame.apply_transparency()  # as it is: another choice of 256 colors would not be the same
    else:
        frame = pixels.resized(pixels.smooth(frame), size, method)
    if profile is not None:
        frame = pixels.to_srgb(frame, profile)
    return pixels.in_space(frame if turn is None else frame.transpose(turn), wanted.color_space)
