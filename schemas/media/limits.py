"""What a file may be at most as it comes in, whatever becomes of it then; checked before it is decoded."""

from __future__ import annotations

from dataclasses import dataclass, replace

from schemas.tables import Table

IMAGE_FORMATS = ("jpeg", "png", "webp", "gif", "bmp", "tiff")
AUDIO_FORMATS = ("wav", "mp3", "ogg", "flac", "m4a", "webm")
VIDEO_FORMATS = ("mp4", "webm", "mov", "mkv")


@dataclass(frozen=True)
class MediaLimits:
    """Limits of the whole server; an endpoint file may only tighten them.

    Attributes:
        image_formats: formats of images that are taken.
        audio_formats: formats of sounds that are taken.
        video_formats: formats of videos that are taken.
        max_bytes: size of one file, in bytes.
        max_pixels: width x height of an image, all frames of an animation together, or of a video's frame.
        max_side: width and height, in pixels.
        max_frames: frames of an animation or a video.
        max_seconds: duration of a sound or a video.
        max_items: files in one list or one chat.
    """

    image_formats: tuple[str, ...] = IMAGE_FORMATS
    audio_formats: tuple[str, ...] = AUDIO_FORMATS
    video_formats: tuple[str, ...] = VIDEO_FORMATS
    max_bytes: int = 50_000_000
    max_pixels: int = 50_000_000
    max_side: int = 16_384
    max_frames: int = 50_000
    max_seconds: float = 3600.0
    max_items: int = 32

    def tightened(self, table: Table, *keys: str) -> MediaLimits:
        """Give these limits with those of a parameter's table, where they are lower.

        Args:
            table: the parameter's table in the endpoint file.
            keys: names of limits that it may set.
        """
        lower = {}
        for key in keys:
            own, limit = table.integer(key, at_least=1), getattr(self, key)
            if own is not None:
                lower[key] = min(own, limit)
        return replace(self, **lower)
