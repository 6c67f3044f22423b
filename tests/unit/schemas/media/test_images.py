"""Images through the rules of an endpoint file: what the pixels are before and after."""

from __future__ import annotations

import io
from typing import Any

import numpy
import pytest
from PIL import Image, ImageCms, ImageDraw

from schemas.media.attributes import Choice, Range, Size
from schemas.media.errors import MediaError
from schemas.media.image import ImageInfo, convert, probe
from schemas.media.limits import MediaLimits
from schemas.media.rules import IMAGE_FORMAT_WORDS, STORABLE, ImageRules

FORMATS = tuple(dict.fromkeys(IMAGE_FORMAT_WORDS.values()))
MODES = ("RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "I;16")
SIZE = (90, 60)


def picture(mode: str = "RGB", size: tuple[int, int] = SIZE) -> Image.Image:
    """Red grows to the right, green downwards; the alpha of the left half is 0 where there is one."""
    width, height = size
    array = numpy.zeros((height, width, 3), "uint8")
    array[:, :, 0] = numpy.linspace(0, 255, width)[None, :]
    array[:, :, 1] = numpy.linspace(0, 255, height)[:, None]
    array[:, :, 2] = 80
    image = Image.fromarray(array)
    if mode in ("RGBA", "LA"):
        image = image.convert("RGBA")
        image.putalpha(
            Image.fromarray(
                numpy.repeat([[0] * (width // 2) + [255] * (width - width // 2)], height, 0).astype("uint8")
            )
        )
    if mode == "I;16":
        return Image.fromarray(numpy.asarray(image.convert("L")).astype("uint16") * 257)
    return image.convert(mode)


def file(image: Image.Image, format: str = "PNG", **how: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **how)
    return stream.getvalue()


def opened(data: bytes) -> Any:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def difference(a: Image.Image, b: Image.Image, mode: str = "RGB") -> float:
    """Mean error of a pixel's channels, 0 to 255."""
    assert a.size == b.size
    x, y = (numpy.asarray(image.convert(mode), "float32") for image in (a, b))
    return float(numpy.abs(x - y).mean())


def to(format: str | None = None, space: str | None = None, **rules: Any) -> ImageRules:
    return ImageRules(
        format=Choice((format,) if format else (), auto_convert=True),
        color_space=Choice((space,) if space else (), auto_convert=True),
        **rules,
    )


def can_be_saved(format: str, mode: str) -> bool:
    try:
        return bool(file(picture(mode), format))
    except (OSError, ValueError):
        return False


@pytest.mark.parametrize(
    ("format", "mode"), [(f, mode) for f in FORMATS for mode in MODES if can_be_saved(f, mode)]
)
def test_an_image_that_fits_is_passed_through_byte_for_byte(format: str, mode: str) -> None:
    data = file(picture(mode), format)
    assert convert(data, ImageRules()) is data
    found = probe(data)
    assert (found.format, found.size, found.frames) == (format, SIZE, 1)
    fits = ImageRules(
        format=Choice((format,)),
        color_space=Choice((found.color_space,)),
        size=Size(maximum=SIZE, minimum=SIZE),
    )
    assert convert(data, fits) is data


@pytest.mark.parametrize("source", FORMATS)
@pytest.mark.parametrize(("format", "space"), [(f, space) for f in FORMATS for space in STORABLE[f]])
def test_every_format_becomes_every_other(source: str, format: str, space: str) -> None:
    original = picture()
    made = opened(convert(file(original, source), to(format, space)))
    assert (str(made.format).lower(), made.size) == (format, SIZE)
    wanted = {
        "rgb": "RGB",
        "rgba": "RGBA",
        "gray": "L",
        "gray_alpha": "LA",
        "palette": "P",
        "monochrome": "1",
    }[space]
    assert made.mode == (
        "RGB" if (format, space) == ("webp", "rgba") else wanted
    )  # WEBP drops an opaque alpha
    if space == "monochrome":
        assert set(numpy.unique(numpy.asarray(made.convert("L")))) == {0, 255}
        assert abs(numpy.asarray(made.convert("L")).mean() - numpy.asarray(original.convert("L")).mean()) < 8
    elif space.startswith("gray"):
        assert difference(made, original, "L") < 8
    else:
        assert difference(made, original) < 12


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "1"])
def test_every_kind_of_pixels_becomes_rgb_in_a_jpeg(mode: str) -> None:
    original = picture(mode)
    source = "TIFF" if mode == "CMYK" else "PNG"
    made = opened(convert(file(original, source), to("jpeg", "rgb")))
    assert (made.format, made.mode, made.size) == ("JPEG", "RGB", SIZE)
    expected = picture("L" if mode == "I;16" else mode).convert("RGB")
    if mode in ("RGBA", "LA"):
        assert made.getpixel((10, 30)) == pytest.approx((255, 255, 255), abs=3), "transparent is white"
        made, expected = (image.crop((50, 0, *SIZE)) for image in (made, expected))
    assert difference(made, expected) < (20 if mode == "P" else 4)  # JPEG does not like dithered colors


def test_transparency_survives_where_the_format_can_store_it() -> None:
    rgba = picture("RGBA")
    for format, space in (
        ("png", "rgba"),
        ("webp", "rgba"),
        ("tiff", "rgba"),
        ("png", "gray_alpha"),
        ("gif", "palette"),
    ):
        made = opened(convert(file(rgba, "TIFF" if format != "tiff" else "PNG"), to(format, space))).convert(
            "RGBA"
        )
        alpha = numpy.asarray(made.getchannel("A"))
        assert alpha[:, :40].max() == 0 and alpha[:, 50:].min() == 255, (format, space)


def test_a_palette_with_transparency_stays_as_it_is() -> None:
    original = picture("RGBA").quantize(method=Image.Quantize.FASTOCTREE)
    made = opened(convert(file(original, "PNG"), to("gif", "palette"))).convert("RGBA")
    alpha = numpy.asarray(original.convert("RGBA").getchannel("A"))
    assert numpy.array_equal(numpy.asarray(made.getchannel("A")), alpha)
    assert numpy.array_equal(
        numpy.asarray(made)[alpha > 0], numpy.asarray(original.convert("RGBA"))[alpha > 0]
    )


def test_a_color_that_stands_for_transparent_becomes_alpha() -> None:
    image = Image.new("RGB", (8, 8), (1, 2, 3))
    made = opened(convert(file(image, "PNG", transparency=(1, 2, 3)), to("png", "rgba")))
    assert made.getpixel((0, 0)) == (1, 2, 3, 0)
    flat = opened(convert(file(image, "PNG", transparency=(1, 2, 3)), to("jpeg")))
    assert flat.getpixel((0, 0)) == (255, 255, 255)


def test_16_bits_become_8_and_not_white() -> None:
    made = opened(convert(file(picture("I;16")), to("jpeg")))
    assert made.mode == "L" and difference(made, picture("L"), "L") < 2


@pytest.mark.parametrize(
    ("method", "size", "maximum", "box"),
    [
        ("scale", (300, 200), (128, 128), (0, 0, 300, 200)),
        ("crop", (300, 200), (128, 128), (50, 0, 250, 200)),
        ("crop", (200, 300), (128, 128), (0, 50, 200, 250)),
    ],
)
def test_scale_distorts_and_crop_cuts_the_middle_out(method: str, size: Any, maximum: Any, box: Any) -> None:
    rules = ImageRules(size=Size(maximum=maximum, auto_convert=True), resize_method=method)
    made = opened(convert(file(picture(size=size)), rules))
    assert difference(made, picture(size=size).resize(maximum, box=box)) < 2


def test_a_large_jpeg_is_shrunk_to_the_same_picture() -> None:
    rules = ImageRules(size=Size(maximum=(256, 256), keep_aspect_ratio=True, auto_convert=True))
    made = opened(convert(file(picture(size=(4000, 3000)), "JPEG", quality=95), rules))
    assert made.size == (256, 192)
    assert difference(made, picture(size=(4000, 3000)).resize((256, 192))) < 2


@pytest.mark.parametrize("size", [(390, 292), (267, 200), (205, 154), (150, 113)])
def test_fine_lines_are_shrunk_as_well_as_by_lanczos(size: Any) -> None:
    circles = Image.new("RGB", (400, 300), "white")
    for radius in range(5, 200, 6):
        box = (200 - radius, 150 - radius, 200 + radius, 150 + radius)
        ImageDraw.Draw(circles).ellipse(box, outline="black", width=2)
    rules = ImageRules(size=Size(maximum=size, auto_convert=True))
    made, reference = opened(convert(file(circles), rules)), circles.resize(size, Image.Resampling.BICUBIC)
    by_lanczos = difference(circles.resize(size, Image.Resampling.LANCZOS), reference)
    assert difference(made, reference) < 1.5 * by_lanczos  # by the mean of pixels, or of the nearest, 2 to 9


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_an_image_is_turned_upright(format: str, orientation: int) -> None:
    undone = [None, None, 0, 3, 1, 5, 2, 6, 4][orientation]  # by Pillow's Transpose of this number
    upright = picture()
    lying = upright if undone is None else upright.transpose(Image.Transpose(undone))
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = file(
        lying,
        format,
        exif=exif.tobytes() if format != "TIFF" else exif,
        **({"quality": 95} if format != "PNG" and format != "TIFF" else {}),
    )
    assert probe(data).size == SIZE
    for rules in (
        ImageRules(),
        ImageRules(size=Size(maximum=(45, 45), keep_aspect_ratio=True, auto_convert=True)),
    ):
        result = convert(data, rules)
        assert (result is data) == (orientation == 1 and rules.size.maximum is None)
        made = opened(result)
        assert made.getexif().get(0x0112, 1) == 1
        assert difference(made, upright.resize(made.size)) < 4


def test_limits_of_the_size_hold_for_the_upright_image() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = file(picture(size=(60, 90)), "JPEG", exif=exif.tobytes())
    assert opened(convert(data, ImageRules(size=Size(maximum=(90, 60))))).size == (90, 60)
    with pytest.raises(MediaError, match="its width of 90 pixels"):
        convert(data, ImageRules(size=Size(maximum=(60, 90))))


def wide_gamut() -> bytes:
    """An RGB profile whose red and green are swapped: what ignores it gives itself away."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = profile.index(b"rXYZ"), profile.index(b"gXYZ")
    profile[red : red + 4], profile[green : green + 4] = b"gXYZ", b"rXYZ"
    return (
        bytes(profile)
        .replace("sRGB".encode("utf-16-be"), "Swap".encode("utf-16-be"))
        .replace(b"sRGB", b"Swap")
    )


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_colors_of_another_profile_become_srgb(format: str) -> None:
    image = Image.new("RGB", (16, 16), (200, 40, 40))
    quality = {"quality": 98} if format in ("JPEG", "WEBP") else {}
    made = opened(convert(file(image, format, icc_profile=wide_gamut(), **quality), ImageRules()))
    assert "icc_profile" not in made.info
    red, green, _ = made.getpixel((8, 8))
    assert red < 80 and green > 150


def test_an_image_in_srgb_or_with_a_damaged_profile_stays() -> None:
    for profile in (ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(), b"nonsense" * 100):
        data = file(picture(), "PNG", icc_profile=profile)
        assert convert(data, ImageRules()) is data


def test_alpha_survives_a_change_of_profile() -> None:
    made = opened(convert(file(picture("RGBA"), "PNG", icc_profile=wide_gamut()), ImageRules()))
    assert made.mode == "RGBA"
    assert numpy.array_equal(
        numpy.asarray(made.getchannel("A")), numpy.asarray(picture("RGBA").getchannel("A"))
    )


def test_what_is_converted_carries_no_metadata() -> None:
    exif = Image.Exif()
    exif[0x010E] = "taken at home"
    data = file(picture(), "JPEG", exif=exif.tobytes(), comment=b"secret", xmp=b"<x:xmpmeta/>")
    assert b"taken at home" in data
    for format in ("jpeg", "png", "webp"):
        made = convert(data, to(format, size=Size(maximum=(8, 8), auto_convert=True)))
        assert b"home" not in made and b"secret" not in made and b"xmp" not in made


def animation(format: str, frames: int = 5, size: tuple[int, int] = SIZE) -> bytes:
    images = [Image.new("RGB", size, (40 * number, 0, 255 - 40 * number)) for number in range(frames)]
    how = {} if format == "TIFF" else {"duration": [100 + 10 * number for number in range(frames)], "loop": 0}
    return file(
        images[0],
        format,
        save_all=True,
        append_images=images[1:],
        **how,
        **({"lossless": True} if format == "WEBP" else {}),
    )


ANIMATIONS = ["GIF", "PNG", "WEBP", "TIFF"]


@pytest.mark.parametrize("format", ANIMATIONS)
def test_an_animation_is_refused_where_a_still_is_meant(format: str) -> None:
    data = animation(format)
    assert probe(data).frames == 5
    assert probe(data, max_frames=3).frames == 3
    with pytest.raises(MediaError, match="its number of frames of 5 is too high: at most 1 allowed"):
        convert(data, ImageRules())


@pytest.mark.parametrize("format", ANIMATIONS)
def test_an_animation_may_be_cut_to_its_first_frame(format: str) -> None:
    made = opened(convert(animation(format), to("png", "rgb", frames=Range(maximum=1, auto_convert=True))))
    assert getattr(made, "n_frames", 1) == 1
    assert difference(made, Image.new("RGB", SIZE, (0, 0, 255))) < 2


@pytest.mark.parametrize("format", ANIMATIONS)
def test_an_animation_is_passed_through_where_it_may_be_one(format: str) -> None:
    data = animation(format)
    assert convert(data, ImageRules(frames=Range(maximum=5))) is data


@pytest.mark.parametrize("target", ["gif", "png", "webp", "tiff"])
@pytest.mark.parametrize("format", ANIMATIONS)
def test_all_frames_of_an_animation_are_converted(format: str, target: str) -> None:
    rules = to(
        target, frames=Range(maximum=4, auto_convert=True), size=Size(maximum=(30, 30), auto_convert=True)
    )
    made = opened(convert(animation(format), rules))
    assert (made.n_frames, made.size) == (4, (30, 30))
    for number in range(4):
        made.seek(number)
        assert difference(made, Image.new("RGB", (30, 30), (40 * number, 0, 255 - 40 * number))) < 4
    if "TIFF" not in (format, target.upper()):
        assert made.info["duration"] == 130


def test_an_animation_that_no_format_can_store_is_refused() -> None:
    with pytest.raises(MediaError, match="5 frames cannot be stored as jpeg"):
        convert(
            animation("GIF"), ImageRules(format=Choice(("jpeg",), auto_convert=True), frames=Range(maximum=9))
        )


def test_a_jpeg_with_a_preview_behind_it_is_a_still() -> None:
    data = file(picture(), "MPO", save_all=True, append_images=[picture(size=(30, 20))])
    assert probe(data) == ImageInfo("jpeg", SIZE, "rgb")
    assert convert(data, ImageRules(format=Choice(("jpeg",)))) is data


def test_everything_that_is_wrong_is_told_at_once() -> None:
    rules = ImageRules(
        format=Choice(("jpeg",)),
        color_space=Choice(("gray",)),
        size=Size(maximum=(64, 32)),
        limits=MediaLimits(max_side=80),
    )
    with pytest.raises(MediaError) as caught:
        convert(file(picture(), "BMP"), rules)
    assert caught.value.problems == [
        "its width of 90 pixels is too high: at most 80 allowed",
        "format bmp is not supported: only jpeg",
        "its width of 90 pixels is too high: at most 64 allowed",
        "its height of 60 pixels is too high: at most 32 allowed",
        "color space rgb is not supported: only gray",
    ]


def test_formats_that_the_server_forbids_are_refused_whatever_the_endpoint_says() -> None:
    rules = to("jpeg", limits=MediaLimits(image_formats=("jpeg", "png")))
    with pytest.raises(MediaError, match="format tiff is not allowed on this server: only jpeg, png"):
        convert(file(picture(), "TIFF"), rules)
    assert opened(convert(file(picture(), "PNG"), rules)).format == "JPEG"


def test_limits_of_pixels_count_what_would_be_decoded() -> None:
    data = animation("GIF", frames=5)
    pixels = SIZE[0] * SIZE[1]
    still = Range(maximum=1, auto_convert=True)
    with pytest.raises(
        MediaError, match=rf"too many pixels \({5 * pixels}\): at most {5 * pixels - 1} allowed"
    ):
        convert(data, ImageRules(frames=Range(maximum=9), limits=MediaLimits(max_pixels=5 * pixels - 1)))
    assert opened(convert(data, ImageRules(frames=still, limits=MediaLimits(max_pixels=pixels)))).size == SIZE


def test_a_color_space_that_the_format_cannot_store_changes_the_format() -> None:
    rules = ImageRules(color_space=Choice(("rgb",), auto_convert=True))
    made = opened(convert(file(picture(), "GIF"), rules))
    assert (made.format, made.mode) == ("PNG", "RGB")
    rules = ImageRules(
        format=Choice(("gif", "webp"), auto_convert=True), color_space=Choice(("rgb",), auto_convert=True)
    )
    assert opened(convert(file(picture(), "GIF"), rules)).format == "WEBP"


@pytest.mark.parametrize("mode", ["F", "LAB"])
def test_pixels_that_nobody_sends_are_refused(mode: str) -> None:
    image = Image.new(mode, (8, 8))
    with pytest.raises(MediaError, match=f"pixels of kind {mode}"):
        convert(file(image, "TIFF"), ImageRules())
