"""Values on their way from and to JSON: what may pass, and how messages show them."""

from __future__ import annotations

import math
import re
import reprlib
from collections.abc import Mapping
from typing import Any

LONGEST_SHOWN = 60
"""Characters of a client's value that an error text repeats at most."""
DEEPEST = 100
"""Levels of lists and objects that one JSON value may have."""
SMALLEST_INTEGER = -(2**63)
LARGEST_INTEGER = 2**64 - 1
"""Bounds of integers: what MessagePack carries and what `torch.manual_seed` takes."""
LONGEST_NUMBER = 400
"""Characters of a number written as text; a double needs at most 309 digits before the point."""

_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_NAMES = {
    str: "string",
    bool: "bool",
    int: "integer",
    float: "float",
    type(None): "null",
    bytes: "file",
}


class _Repr(reprlib.Repr):
    def repr_bytes(self, value: bytes, level: int) -> str:
        return f"<file of {len(value)} bytes>"


_shorten = _Repr()
_shorten.maxstring = _shorten.maxother = LONGEST_SHOWN
_shorten.maxlevel = 2


class NotJson(ValueError):
    """A value cannot be sent as JSON; the text says why, and reads on after the name of the value."""


def type_name(value: object) -> str:
    """Give the name of a value's type in the words of endpoint files and JSON."""
    if isinstance(value, Mapping):
        return "object"
    if isinstance(value, (list, tuple)):
        return "list"
    return _NAMES.get(type(value), type(value).__name__)


def shown(value: object) -> str:
    """Give a value as an error text shows it: at most `LONGEST_SHOWN` characters.

    Never raises, whatever the value: `str` of an integer of more than 4300 digits does.
    """
    try:
        text = _shorten.repr(value)
    except ValueError:
        return f"<{type_name(value)}>"
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 3] + "..."


def number_from_text(text: str) -> int | float | None:
    """Read a number written as in JSON (or with a leading plus or point).

    Returns:
        An integer when only digits are written, else a float, which may be infinite (1e999); None
        when the text is no number. Words such as nan, and Python's 1_000, are none.
    """
    text = text.strip()
    if len(text) > LONGEST_NUMBER or not _NUMBER.fullmatch(text):
        return None
    return int(text) if text.lstrip("+-").isdigit() else float(text)


def is_text(value: str) -> bool:
    """Say whether a string is valid Unicode: JSON can spell lone surrogates, UTF-8 cannot."""
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def as_json(value: Any, depth: int = 0) -> Any:
    """Turn a value into what the JSON encoder takes and every reader understands.

    Tuples become lists; anything with `tolist` (arrays and scalars of numpy, tensors of torch)
    becomes what that gives.

    Args:
        value: the value.
        depth: levels of lists and objects around it.

    Raises:
        NotJson: it holds NaN or infinity, an integer beyond 64 bits, text that is not valid
            Unicode, a type that JSON does not have, or more than `DEEPEST` levels.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, (str, int, float)):
        return _scalar(value)
    if depth >= DEEPEST:
        raise NotJson(f"is nested too deeply: at most {DEEPEST} levels are allowed")
    if isinstance(value, (list, tuple)):
        return _list(value, depth)
    if isinstance(value, Mapping):
        return {_name(key): as_json(item, depth + 1) for key, item in value.items()}
    if callable(getattr(value, "tolist", None)):
        return as_json(_plain(value), depth + 1)
    raise NotJson(f"holds a value of type {type(value).__name__}, which JSON does not have")


def _scalar(value: str | float) -> str | float:
    # Subclasses (enums, numpy.float64) become the plain type: encoders other than json refuse them.
    if isinstance(value, str):
        if not is_text(value):
            raise NotJson("holds text that is not valid Unicode")
        return value if type(value) is str else str.__str__(value)
    if isinstance(value, int):
        if not SMALLEST_INTEGER <= value <= LARGEST_INTEGER:
            raise NotJson("holds an integer of more than 64 bits")
        return value if type(value) is int else int(value)
    if not math.isfinite(value):
        raise NotJson(f"holds {value}, which JSON cannot carry")
    return value if type(value) is float else float(value)


def _list(values: list[Any] | tuple[Any, ...], depth: int) -> list[Any]:
    # Long lists of floats are embeddings and audio: they are checked without a Python loop.
    if set(map(type, values)) == {float} and all(map(math.isfinite, values)):
        return list(values)
    return [as_json(item, depth + 1) for item in values]


def _name(key: object) -> str:
    if not isinstance(key, str):
        raise NotJson(f"holds an object with a key of type {type(key).__name__}: keys must be strings")
    return str(_scalar(key))


def _plain(value: Any) -> Any:
    try:
        return value.tolist()
    except Exception as error:  # foreign code: whatever it raises means the same here
        raise NotJson(f"holds a {type(value).__name__} that cannot be read: {error}") from error
