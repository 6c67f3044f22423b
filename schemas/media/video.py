"""Video: what a file is, how it becomes what a model takes, how what a model gives becomes a file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

from av.audio import AudioFrame
from av.video import VideoFrame

from schemas.media.avio import reading, writing
from schemas.media.containers import sniff
from schemas.media.errors import MediaError
from schemas.media.limits import MediaLimits
from schemas.media.pictures import PictureForm, add_pictures, decoded, in_colors_of, paced, shaped
from schemas.media.rules import VideoRules
from schemas.media.sound import SoundForm, add_sound, sound_of_file, write_sound
from schemas.media.soundplan import plan_seconds, plan_sound
from schemas.media.videoinfo import VideoInfo, VideoSource, opened

MOST_PIXELS = 20_000_000_000
"""Pixels of all frames of a video that is converted: 5 minutes of 1920 x 1080 at 30 frames a second."""
WRITTEN = {"mp4": ("h264",), "mov": ("h264",), "webm": ("vp9", "vp8"), "mkv": ("h264", "vp9", "vp8")}
"""Formats that are written -> codecs of their pictures, the usual one first."""
SOUNDS = {"mp4": ("aac",), "mov": ("aac",), "webm": ("opus",), "mkv": ("aac", "opus")}
_MUXERS = {"mkv": "matroska"}


def probe(data: bytes, limits: MediaLimits | None = None) -> VideoInfo:
    """Tell what a video is, by its header, its packets and its first frame.

    Raises:
        MediaError: it is no video, damaged, or breaks a limit.
    """
    with opened(data, limits or MediaLimits()) as source:
        return source.info


def format_of(data: bytes) -> str | None:
    """Tell the format of a video by its first bytes; None: it is of none that is known here."""
    return sniff(data)


def convert(data: bytes, rules: VideoRules) -> bytes:
    """Give a video as the model takes it; its sound stays.

    Args:
        data: an MP4, MOV, WEBM or MKV file.
        rules: what the model takes.

    Returns:
        The same bytes if they keep the rules; of those only the first frame was decoded.

    Raises:
        MediaError: it is no video, damaged, breaks a limit, or breaks the rules and may not be converted.
    """
    with opened(data, rules.limits) as source:
        plan = _plan(source.info, rules)
        return data if plan is None else _converted(source, plan, rules.limits.max_frames)


@dataclass(frozen=True)
class VideoPlan:
    """What a video is to become.

    Attributes:
        format: of `WRITTEN`.
        pictures: what its pictures become.
        sound: what its sound becomes; None: it has none.
    """

    format: str
    pictures: PictureForm
    sound: SoundForm | None


def _plan(have: VideoInfo, rules: VideoRules) -> VideoPlan | None:
    """Give what a video shall become; None: it may stay as it is."""
    problems: list[str] = []
    format = rules.format.fit(have.format, "format", problems)
    codec = rules.video_codec.fit(have.codec, "video codec", problems)
    size = rules.size.fit(have.size, problems)
    rate = rules.frame_rate.fit(float(have.frame_rate), "frame rate", problems, "frames a second")
    bit_rate = rules.video_bit_rate.fit(have.bit_rate, "video bit rate", problems, "bit/s")
    seconds = plan_seconds(have.duration, rules.duration, problems)
    exact = have.frame_rate if rate == float(have.frame_rate) else Fraction(rate).limit_denominator(1001)
    wanted = replace(have, format=format, codec=codec, size=size, bit_rate=int(bit_rate), frame_rate=exact)
    keep = wanted == have and seconds is None
    sound = plan_sound(have.sound, SOUNDS[format], rules, problems, keep) if have.sound else None
    MediaError.raise_if(problems)
    if keep and sound is None:
        return None
    if have.sound and sound is None:
        sound = plan_sound(have.sound, SOUNDS[format], rules, problems, keep=False)
    pictures = plan_pictures(wanted, rules, problems)
    MediaError.raise_if(problems)
    return VideoPlan(format, replace(pictures, seconds=seconds), sound and replace(sound, seconds=seconds))


def plan_pictures(wanted: VideoInfo, rules: VideoRules, problems: list[str]) -> PictureForm:
    """Give the nearest to what is wanted that can be written.

    Args:
        wanted: what would be best.
        rules: what must be.
        problems: where sentences are added if there is no such thing.
    """
    supported = rules.video_codec.supported
    possible = [codec for codec in WRITTEN[wanted.format] if not supported or codec in supported]
    if not possible:
        problems.append(f"would have to become {' or '.join(WRITTEN[wanted.format])}, which is not supported")
        possible = list(WRITTEN[wanted.format])
    # Pairs of pixels share their color.
    even = max(2, wanted.size[0] // 2 * 2), max(2, wanted.size[1] // 2 * 2)
    replace(rules.size, auto_convert=False).fit(even, problems)
    return PictureForm(
        codec=wanted.codec if wanted.codec in possible else possible[0],
        size=even,
        rate=wanted.frame_rate,
        bit_rate=wanted.bit_rate if rules.video_bit_rate.supported or rules.video_bit_rate.maximum else None,
        crop=rules.resize_method == "crop",
    )


def _converted(source: VideoSource, plan: VideoPlan, most: int) -> bytes:
    have, form = source.info, in_colors_of(source.first, plan.pictures)
    pixels = max(have.size[0] * have.size[1] * have.frames, form.size[0] * form.size[1] * have.frames)
    if pixels > MOST_PIXELS:
        raise MediaError(
            f"is too much to convert: {pixels} pixels in all frames, at most {MOST_PIXELS} are allowed"
        )
    with reading(source.file, source.descriptor, source.max_pixels) as container:
        stream = container.streams.video[source.pictures]
        frames = shaped(
            paced(decoded(container, stream, source.max_pixels), have.frame_rate, form, source.start, most),
            form,
        )
        sound = (
            iter(())
            if plan.sound is None
            else sound_of_file(source.file, source.descriptor, source.sound, plan.sound, source.start)
        )
        return written(replace(plan, pictures=form), frames, sound)


def written(plan: VideoPlan, frames: Iterator[VideoFrame], sound: Iterator[AudioFrame]) -> bytes:
    """Give a file of pictures and sound, side by side, as players want to read them.

    Args:
        plan: what they have become.
        frames: of the plan's size and rate.
        sound: of the plan's form.
    """
    with writing(_MUXERS.get(plan.format, plan.format)) as writer:
        pictures = add_pictures(writer, plan.pictures)
        track = add_sound(writer, plan.sound) if plan.sound else None
        heard = 0.0  # s
        for number, frame in enumerate(frames):
            writer.mux(pictures.encode(frame))
            while track and heard <= number / plan.pictures.rate and (block := next(sound, None)):
                writer.mux(track.encode(block))
                heard += block.samples / block.sample_rate
        writer.mux(pictures.encode(None))
        if track:
            write_sound(track, sound, writer)
    return writer.content
