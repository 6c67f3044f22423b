"""What an endpoint file says of one attribute of a file: a choice of words, a range of numbers, a size."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from schemas.numbers import Float, Integer, nearest
from schemas.tables import Table
from schemas.values import shown

Pair = tuple[int, int]
"""Width and height in pixels."""


@dataclass(frozen=True)
class Choice:
    """An attribute that is one of some words: a format, a codec, a color space.

    Attributes:
        supported: what the model takes; empty: anything.
        default: what anything else becomes; None: the first of `supported`.
        auto_convert: whether it becomes so; else it is refused.
    """

    supported: tuple[str, ...] = ()
    default: str | None = None
    auto_convert: bool = False

    @classmethod
    def read(cls, table: Table, known: Mapping[str, str], auto_convert: bool = False) -> Choice:
        """Read the attribute's table.

        Args:
            table: of the endpoint file.
            known: every word that may stand there, in lower case -> what it is called here.
            auto_convert: what holds if the table does not say.
        """
        supported = _read_list(table)
        words = [read_word(table, "supported", word, known) for word in supported]
        default = table.take("default")
        found = cls(
            supported=tuple(dict.fromkeys(word for word in words if word is not None)),
            default=None if default is None else read_word(table, "default", default, known),
            auto_convert=table.flag("auto_convert", auto_convert),
        )
        table.finish()
        if found.default is not None and supported and found.default not in found.supported:
            table.report("default", f"{shown(default)} is not among the supported ones")
        return found

    def fit(self, word: str, name: str, problems: list[str]) -> str:
        """Give the word that a file shall have instead of its own: the same, if that is supported.

        Args:
            word: what the file has.
            name: of the attribute, for people: "format".
            problems: where a sentence is added if the file must be refused.
        """
        if not self.supported or word in self.supported:
            return word
        if not self.auto_convert:
            problems.append(f"{name} {word} is not supported: only {', '.join(self.supported)}")
            return word
        return self.default or self.supported[0]


@dataclass(frozen=True)
class Range:
    """An attribute that is a number: a sample rate, a duration.

    Attributes:
        supported: the only values that the model takes; empty: any in the range.
        default: what a value that is not supported becomes; None: the first of `supported`.
        minimum: the least; None: no limit.
        maximum: the most; None: no limit.
        align: of which it must be a multiple; None: of nothing.
        auto_convert: whether other values are bent to fit; else they are refused.
    """

    supported: tuple[float, ...] = ()
    default: float | None = None
    minimum: float | None = None
    maximum: float | None = None
    align: float | None = None
    auto_convert: bool = False

    @classmethod
    def read(cls, table: Table, auto_convert: bool = False, whole: bool = True) -> Range:
        """Read the attribute's table.

        Args:
            table: of the endpoint file.
            auto_convert: what holds if the table does not say.
            whole: whether only whole numbers make sense.
        """
        supported = [_number(table, "supported", value, whole) for value in _read_list(table)]
        default = table.take("default")
        found = cls(
            supported=tuple(number for number in supported if number is not None),
            default=None if default is None else _number(table, "default", default, whole),
            auto_convert=table.flag("auto_convert", auto_convert),
            **(Integer if whole else Float).read_limits(table),
        )
        table.finish()
        if found.maximum is not None and found.maximum <= 0:
            table.report("maximum", "must be greater than 0")
        if found.default is not None and found.supported and found.default not in found.supported:
            table.report("default", f"{shown(default)} is not among the supported ones")
        return found

    def fit(self, value: float, name: str, problems: list[str], unit: str = "") -> float:
        """Give the number that a file shall have instead of its own: the same, if that fits.

        Args:
            value: what the file has.
            name: of the attribute, for people: "sample rate".
            problems: where sentences are added if the file must be refused.
            unit: of the number, for people: "Hz".

        Returns:
            A number of the type of `value`.
        """
        low = value if self.minimum is None else self.minimum
        high = value if self.maximum is None else self.maximum
        if self.auto_convert:
            if self.supported and value not in self.supported:
                value = type(value)(self.supported[0] if self.default is None else self.default)
            return type(value)(nearest(value, self.minimum or self.align, self.maximum, self.align))
        own = f"its {name} of {number_text(value)}{unit and ' '}{unit}"
        if self.supported and value not in self.supported:
            problems.append(f"{own} is not supported: only {', '.join(map(number_text, self.supported))}")
        if value > high:
            problems.append(f"{own} is too high: at most {number_text(high)} allowed")
        if value < low:
            problems.append(f"{own} is too low: at least {number_text(low)} needed")
        if self.align is not None and nearest(value, None, None, self.align) != value:
            problems.append(f"{own} is no multiple of {number_text(self.align)}")
        return value


@dataclass(frozen=True)
class Size:
    """Width and height, of images and videos.

    Attributes:
        supported: the only sizes that the model takes; empty: any in the limits.
        default: what a size that is not supported becomes; None: the first of `supported`.
        minimum: the least width and height; None: no limit.
        maximum: the most; None: no limit.
        align: of which they must be multiples.
        keep_aspect_ratio: whether a size that is bent keeps its ratio, as far as the other rules let it.
        auto_convert: whether other sizes are bent to fit; else they are refused.
    """

    supported: tuple[Pair, ...] = ()
    default: Pair | None = None
    minimum: Pair | None = None
    maximum: Pair | None = None
    align: Pair = (1, 1)
    keep_aspect_ratio: bool = False
    auto_convert: bool = False

    @classmethod
    def read(cls, table: Table, auto_convert: bool = False) -> Size:
        """Read the attribute's table; `auto_convert` holds if the table does not say."""
        supported = [read_pair(table, "supported", value) for value in _read_list(table)]
        found = cls(
            supported=tuple(pair for pair in supported if pair is not None),
            default=read_pair(table, "default", table.take("default")),
            minimum=read_pair(table, "minimum", table.take("minimum", "min")),
            maximum=read_pair(table, "maximum", table.take("maximum", "max")),
            align=read_pair(table, "align", table.take("align")) or (1, 1),
            keep_aspect_ratio=table.flag("keep_aspect_ratio"),
            auto_convert=table.flag("auto_convert", auto_convert),
        )
        table.finish()
        if found.default is not None and found.supported and found.default not in found.supported:
            table.report("default", "is not among the supported ones")
        if found.maximum is not None:
            for axis, name in enumerate(("width", "height")):
                low, align = found.minimum[axis] if found.minimum else 1, found.align[axis]
                if -(-low // align) * align > found.maximum[axis]:
                    table.report("maximum", f"no {name} fits: no multiple of {align} lies in the limits")
        return found

    def fit(self, size: Pair, problems: list[str]) -> Pair:
        """Give the size that a file shall have instead of its own: the same, if that fits.

        Args:
            size: upright width and height, in pixels.
            problems: where sentences are added, one for each side at fault, if the file must be refused.
        """
        if not self.auto_convert:
            self._check(size, problems)
            return size
        if self.supported:
            return size if size in self.supported else self.default or self.supported[0]
        target = self._nearest(size)
        if target == size or not self.keep_aspect_ratio:
            return target
        width, height = size
        factors = (target[0] / width, target[1] / height)
        shrunk = (width * min(factors), height * min(factors))
        grown = (width * max(factors), height * max(factors))
        return self._nearest(_rounded(grown if self._is_below(shrunk) else shrunk))

    def _check(self, size: Pair, problems: list[str]) -> None:
        if self.supported and size not in self.supported:
            listed = ", ".join(f"{width} x {height}" for width, height in self.supported)
            problems.append(f"its size of {size[0]} x {size[1]} pixels is not supported: only {listed}")
        for axis, name in enumerate(("width", "height")):
            side = Range(
                minimum=self.minimum and self.minimum[axis],
                maximum=self.maximum and self.maximum[axis],
                align=self.align[axis],
            )
            side.fit(size[axis], name, problems, "pixels")

    def _nearest(self, size: Pair) -> Pair:
        low, high = self.minimum or (1, 1), self.maximum or (None, None)
        width, height = (int(nearest(size[i], low[i], high[i], self.align[i])) for i in (0, 1))
        return width, height

    def _is_below(self, size: tuple[float, float]) -> bool:
        return self.minimum is not None and any(size[i] < self.minimum[i] for i in (0, 1))


def crop_box(size: Pair, target: Pair) -> tuple[int, int, int, int]:
    """Give the largest part in the middle of an image that has the ratio of `target`.

    Returns:
        left, top, right, bottom in pixels.
    """
    width, height = size
    if width * target[1] > height * target[0]:
        width = max(1, round(height * target[0] / target[1]))
    else:
        height = max(1, round(width * target[1] / target[0]))
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    return left, top, left + width, top + height


def number_text(value: float) -> str:
    """Give a number for people: at most three digits after the point."""
    return f"{value:.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def _rounded(size: tuple[float, float]) -> Pair:
    return max(1, round(size[0])), max(1, round(size[1]))


def _read_list(table: Table) -> list[Any]:
    values = table.take("supported")
    if values is None:
        return []
    if not isinstance(values, list) or not values:
        table.report("supported", "must be a list of at least one value")
        return []
    return values


def read_word(table: Table, key: str, value: Any, known: Mapping[str, str]) -> str | None:
    """Give what the word in a table is called here; None: it is unknown, and reported."""
    word = known.get(value.lower()) if isinstance(value, str) else None
    if word is None:
        near = difflib.get_close_matches(str(value).lower(), known, n=1)
        hint = (
            f'did you mean "{near[0]}"?' if near else f"known are {', '.join(dict.fromkeys(known.values()))}"
        )
        table.report(key, f"{shown(value)} is unknown: {hint}")
    return word


def _number(table: Table, key: str, value: Any, whole: bool) -> float | None:
    right = isinstance(value, int) or (isinstance(value, float) and not whole)
    if isinstance(value, bool) or not right or not 0 < value < float("inf"):
        table.report(key, f"{shown(value)} is no {'whole ' if whole else ''}number greater than 0")
        return None
    return value


def read_pair(table: Table, key: str, value: Any) -> Pair | None:
    """Give a size, written as [width, height] or as one number; None: it is absent, or wrong and reported."""
    if value is None:
        return None
    pair = value if isinstance(value, list) else [value, value]
    if len(pair) != 2 or not all(type(side) is int and side > 0 for side in pair):
        table.report(key, f"{shown(value)} is no size: write [width, height] in pixels")
        return None
    return pair[0], pair[1]
