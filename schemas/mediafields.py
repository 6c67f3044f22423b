"""Fields of images, sounds and videos: one, or a list."""

from __future__ import annotations

from typing import Any, ClassVar

from marshmallow import ValidationError

from schemas.media.errors import MediaError
from schemas.media.kinds import RULES, Rules, fitted
from schemas.media.limits import MediaLimits
from schemas.media.source import Reader, Source
from schemas.media.words import in_words
from schemas.parameter import Parameter
from schemas.tables import Table
from schemas.values import type_name


class Media(Parameter):
    """A file: a data URL, plain base64, a reference, or bytes (of a form); the model gets a data URL."""

    kind: ClassVar[str]
    reads_media = True

    def __init__(self, name: str, *, media: Rules, **common: Any) -> None:
        super().__init__(name, **common)
        self.media = media

    @classmethod
    def rules(cls, table: Table, limits: MediaLimits) -> dict[str, Any]:
        """Read the keys of this type."""
        return {"media": RULES[cls.kind].read(table, limits)}

    def with_files(self, value: Any, read: Reader) -> Any:
        """Put files in the place of what refers to them; see `Parameter.with_files`."""
        return read(value, self.media.limits.max_bytes) if isinstance(value, str) else value

    def json_schema(self) -> dict[str, Any]:
        """See `Parameter.json_schema`."""
        return file_schema(self.kind)

    def part_schema(self) -> dict[str, Any]:
        """See `Parameter.part_schema`."""
        return {"type": "string", "format": "binary"}

    def limits(self) -> list[str]:
        """See `Parameter.limits`."""
        return in_words(self.media)

    def convert(self, value: Any) -> Any:
        """Check one value and convert it; see `Parameter.convert`."""
        if not isinstance(value, Source):
            self.refuse_type(value)
        try:
            return fitted(value, self.kind, self.media)
        except MediaError as error:
            raise ValidationError(sentences(self.title, error)) from None


class MediaList(Media):
    """A list of files; a single one counts as a list of one."""

    @classmethod
    def rules(cls, table: Table, limits: MediaLimits) -> dict[str, Any]:
        """Read the keys of this type."""
        return super().rules(table, limits.tightened(table, "max_items"))

    def with_files(self, value: Any, read: Reader) -> Any:
        """Put files in the place of what refers to them; see `Parameter.with_files`."""
        values = value if isinstance(value, list) else [value]
        if len(values) > self.media.limits.max_items:
            return value
        return [super(MediaList, self).with_files(item, read) for item in values]

    def json_schema(self) -> dict[str, Any]:
        """See `Parameter.json_schema`; in a query there can be one file only."""
        return super().json_schema() if self.from_query else self._list_of(super().json_schema())

    def part_schema(self) -> dict[str, Any]:
        """See `Parameter.part_schema`."""
        return self._list_of(super().part_schema())

    def _list_of(self, items: dict[str, Any]) -> dict[str, Any]:
        return {"type": "array", "items": items, "maxItems": self.media.limits.max_items}

    def convert(self, value: Any) -> list[str]:
        """Check and convert all files; see `Parameter.convert`."""
        if not isinstance(value, Source | list):
            self.refuse_type(value)
        values = value if isinstance(value, list) else [value]
        most = self.media.limits.max_items
        if len(values) > most:
            raise ValidationError(
                f"Parameter {self.title}: holds {len(values)} files: at most {most} allowed!"
            )
        found, problems = [], []
        for number, item in enumerate(values):
            if not isinstance(item, Source):
                problems.append(
                    f"Parameter {self.title}[{number}]: must be a data URL or base64, not {type_name(item)}!"
                )
                continue
            try:
                found.append(fitted(item, self.kind, self.media))
            except MediaError as error:
                problems += sentences(f"{self.title}[{number}]", error)
        if problems:
            raise ValidationError(problems)
        return found


class Image(Media):
    """An image."""

    kind = "image"
    wanted = "image (a data URL or base64)"


class ImageList(MediaList):
    """Images."""

    kind = "image"
    wanted = "list of images (data URLs or base64)"


class Audio(Media):
    """A sound."""

    kind = "audio"
    wanted = "audio (a data URL or base64)"


class AudioList(MediaList):
    """Sounds."""

    kind = "audio"
    wanted = "list of sounds (data URLs or base64)"


class Video(Media):
    """A video."""

    kind = "video"
    wanted = "video (a data URL or base64)"


class VideoList(MediaList):
    """Videos."""

    kind = "video"
    wanted = "list of videos (data URLs or base64)"


def sentences(name: str, error: MediaError) -> list[str]:
    """Give what is wrong with a file in sentences that name the parameter."""
    return [f"Parameter {name}: {problem}!" for problem in error.problems]


def file_schema(kind: str) -> dict[str, Any]:
    """Give the JSON Schema of a file in a JSON body: a data URL, plain base64, or what refers to a file."""
    return {"type": "string", "format": kind}
