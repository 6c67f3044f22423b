"""Fields of numbers: limits, steps, and how a number is bent to fit them."""

from __future__ import annotations

import math
import sys
from fractions import Fraction
from typing import Any, ClassVar, NoReturn

from marshmallow import ValidationError

from schemas.media.limits import MediaLimits
from schemas.parameter import Parameter
from schemas.tables import Table
from schemas.values import LARGEST_INTEGER, SMALLEST_INTEGER, number_from_text, shown


class Number(Parameter):
    """A number between `minimum` and `maximum` that is a multiple of `align`."""

    smallest: ClassVar[float]
    largest: ClassVar[float]
    json_type: ClassVar[str]
    unstated: ClassVar[tuple[float, ...]] = ()
    """Limits that go without saying."""

    def __init__(
        self,
        name: str,
        *,
        minimum: float | None = None,
        maximum: float | None = None,
        align: float | None = None,
        **common: Any,
    ) -> None:
        super().__init__(name, **common)
        self.minimum = self.smallest if minimum is None else minimum
        self.maximum = self.largest if maximum is None else maximum
        self.align = align

    @classmethod
    def rules(cls, table: Table, limits: MediaLimits) -> dict[str, Any]:
        """Read the keys of this type."""
        return cls.read_limits(table)

    def json_schema(self) -> dict[str, Any]:
        """See `Parameter.json_schema`."""
        limits = {"minimum": self.minimum, "maximum": self.maximum, "multipleOf": self.align}
        stated = {key: value for key, value in limits.items() if value not in (None, *self.unstated)}
        return {"type": self.json_type, **stated}

    @classmethod
    def read_limits(cls, table: Table) -> dict[str, float | None]:
        """Read `minimum`, `maximum` and `align`; they are consistent unless the table has failed."""
        read = cls._read_limit
        rules = {
            "minimum": read(table, "minimum", "min"),
            "maximum": read(table, "maximum", "max"),
            "align": read(table, "align"),
        }
        if not table.has_failed():
            cls._check_limits(table, **rules)
        return rules

    @classmethod
    def _read_limit(cls, table: Table, key: str, *aliases: str) -> float | None:
        raise NotImplementedError

    @classmethod
    def _check_limits(
        cls,
        table: Table,
        minimum: float | None,
        maximum: float | None,
        align: float | None,
    ) -> None:
        for key, limit in (("minimum", minimum), ("maximum", maximum)):
            if limit is not None and not cls.smallest <= limit <= cls.largest:
                table.report(key, f"must lie between {cls.smallest} and {cls.largest}")
                return
        low = cls.smallest if minimum is None else minimum
        high = cls.largest if maximum is None else maximum
        if low > high:
            table.report("minimum", f"{low} is greater than maximum {high}")
        elif align is not None and align <= 0:
            table.report("align", f"{shown(align)} is not a step: it must be greater than 0")
        elif align is not None and _aligned_up(low, align) > _exact(high):
            table.report("align", f"no multiple of {shown(align)} lies between {low} and {high}")

    def convert(self, value: Any) -> float:
        """Check one value; see `Parameter.convert`."""
        number = self.parse(value)
        if self.auto_convert:
            return self.fit(number)
        broken = self._broken(number)
        if broken:
            raise ValidationError(broken)
        return number

    def parse(self, value: Any) -> float:
        """Give the value as a number of this type, limits aside."""
        raise NotImplementedError

    def fit(self, number: float) -> float:
        """Give the nearest allowed number: clamped, then aligned down, or up where down is too low."""
        found = nearest(number, self.minimum, self.maximum, self.align)
        return self.plain(found) if isinstance(found, Fraction) else found

    @staticmethod
    def plain(number: Fraction) -> float:
        """Give an exact number in this field's type."""
        raise NotImplementedError

    def _broken(self, number: float) -> list[str]:
        name = self.title
        broken = []
        if number > self.maximum:
            broken.append(
                f"Parameter {name} = {shown(number)} is too high. "
                f"Max supported value for {name} on this endpoint is {self.maximum}!"
            )
        elif number < self.minimum:
            broken.append(
                f"Parameter {name} = {shown(number)} is too low. "
                f"Min supported value for {name} on this endpoint is {self.minimum}!"
            )
        if self.align is not None and _exact(number) % _exact(self.align):
            broken.append(
                f"Parameter {name} = {shown(number)} is not aligning with {self.align}: "
                f"it must be a multiple of {self.align}!"
            )
        return broken

    def _read_text(self, value: Any) -> Any:
        """Read a number from text where that is allowed; any other value comes back as it is."""
        if not isinstance(value, str) or not (self.from_query or self.auto_convert):
            return value
        number = number_from_text(value)
        return value if number is None else number

    def _refuse_infinite(self, value: object) -> NoReturn:
        raise ValidationError(f"Invalid argument {self.title}={shown(value)}. Expected: a finite number!")


class Integer(Number):
    """A whole number; 3.0 is one, 2.9 is none unless `auto_convert` rounds it."""

    wanted = "integer"
    smallest = SMALLEST_INTEGER
    largest = LARGEST_INTEGER
    json_type = "integer"

    @classmethod
    def _read_limit(cls, table: Table, key: str, *aliases: str) -> float | None:
        return table.integer(key, *aliases)

    def parse(self, value: Any) -> float:
        """Read a number; see `Number.parse`."""
        value = self._read_text(value)
        if type(value) is int:
            return value
        if not isinstance(value, float):
            self.refuse_type(value)
        if not math.isfinite(value):
            self._refuse_infinite(value)
        if not (value.is_integer() or self.auto_convert):
            self.refuse_type(value)
        return round(value)

    @staticmethod
    def plain(number: Fraction) -> float:
        """Give an exact number in this type."""
        return int(number)


class Float(Number):
    """A finite floating-point number; integers are taken, too."""

    wanted = "float"
    smallest = -sys.float_info.max
    largest = sys.float_info.max
    json_type = "number"
    unstated = (smallest, largest)

    @classmethod
    def _read_limit(cls, table: Table, key: str, *aliases: str) -> float | None:
        return table.number(key, *aliases)

    def parse(self, value: Any) -> float:
        """Read a number; see `Number.parse`."""
        value = self._read_text(value)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            self.refuse_type(value)
        try:
            number = float(value)
        except OverflowError:
            self._refuse_infinite(value)
        if not math.isfinite(number):
            self._refuse_infinite(value)
        return number

    def fit(self, number: float) -> float:
        """Give the nearest allowed number."""
        return float(super().fit(number))

    @staticmethod
    def plain(number: Fraction) -> float:
        """Give an exact number in this type."""
        return float(number)


def nearest(
    number: float, minimum: float | None, maximum: float | None, align: float | None
) -> float | Fraction:
    """Give the nearest allowed number: clamped, then aligned down, or up where down is too low.

    Returns:
        With `align` an exact fraction; numbers count as they are written.
    """
    if minimum is not None and number < minimum:
        number = minimum
    elif maximum is not None and number > maximum:
        number = maximum
    if align is None:
        return number
    down = _exact(number) // _exact(align) * _exact(align)
    return _aligned_up(minimum, align) if minimum is not None and down < _exact(minimum) else down


def _exact(number: float) -> Fraction:
    """Give a number as it is written: 0.3 is a multiple of 0.1, which in binary it is not."""
    return Fraction(number) if isinstance(number, int) else Fraction(repr(number))


def _aligned_up(number: float, align: float) -> Fraction:
    return -(-_exact(number) // _exact(align)) * _exact(align)
