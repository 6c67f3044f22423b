"""JSON as clients write it: what is ambiguous, or would take far more memory than its text, is refused."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from io import BytesIO
from typing import Any, NoReturn

from schemas.values import LONGEST_NUMBER, is_text, shown

MOST_SIGNS = 1_000_000
"""Commas, colons and opening brackets of one text, also those in its strings. They bound the number of its
values, each of which takes up to 200 bytes as an object of Python."""
_SIGNS = b",:[{"
_OTHERS = bytes(set(range(256)) - set(_SIGNS))


class BadJson(ValueError):
    """A text is no JSON, or none that is taken; the text of the error reads on after "the body" or "it"."""


def read_json(raw: bytes | BytesIO, deepest: int) -> Any:
    """Read JSON.

    Args:
        raw: in UTF-8. What is in memory as a file is closed as soon as it is decoded: a large body shall not
            be there three times, as bytes, as text and as values.
        deepest: levels of lists and objects that it may have.

    Raises:
        BadJson: it is no JSON (NaN and Infinity are none), names something twice in one object, holds half of
            a surrogate pair or an integer of more than `LONGEST_NUMBER` digits, is too deep or too rich.
    """
    text, signs = _decoded(raw if isinstance(raw, bytes) else raw.getvalue())
    if isinstance(raw, BytesIO):
        raw.close()
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise BadJson(f"is not JSON: {error}") from None
    except RecursionError:
        raise _too_deep(deepest) from None
    if signs > deepest and _is_deeper(value, deepest):
        raise _too_deep(deepest)
    if r"\u" in text and not all(map(is_text, _strings(value))):
        raise BadJson("holds half of a surrogate pair")
    return value


def _decoded(raw: bytes) -> tuple[str, int]:
    signs = len(raw.translate(None, _OTHERS))
    if signs > MOST_SIGNS:
        raise BadJson(
            f"holds {signs} commas, colons and opening brackets: at most {MOST_SIGNS} are allowed; "
            "send large data as a file, or in several requests"
        )
    try:
        return raw.decode(), signs
    except UnicodeDecodeError:
        raise BadJson("is not UTF-8") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        twice = next(name for name, count in counts.items() if count > 1)
        raise BadJson(f"names {shown(twice)} more than once in one object")
    return found


def _integer(text: str) -> int:
    if len(text) > LONGEST_NUMBER:  # reading takes time with the square of its length
        raise BadJson(f"holds an integer of {len(text)} digits: at most {LONGEST_NUMBER} are allowed")
    return int(text)


def _refuse_constant(name: str) -> NoReturn:
    raise BadJson(f"holds {name}, which is no JSON number")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer, parse_constant=_refuse_constant)


def _is_deeper(value: Any, levels: int) -> bool:
    level = [value]
    for _ in range(levels):
        level = [child for item in level for child in _children(item) if isinstance(child, dict | list)]
        if not level:
            return False
    return True


def _strings(value: Any) -> Iterator[str]:
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, dict | list):
            waiting += _children(item)
            if isinstance(item, dict):
                yield from item


def _children(item: Any) -> Iterable[Any]:
    return item.values() if isinstance(item, dict) else item


def _too_deep(levels: int) -> BadJson:
    return BadJson(f"is nested too deeply: at most {levels} levels are allowed")
