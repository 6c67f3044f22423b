"""Large values by reference: they lie in the store, and messages say where (a "claim check"). Pure.

A path tells where a value belongs: names of fields and places in lists, as ("messages", 0, "image"). So
nothing that a client sends can be taken for a reference.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

LARGE = 64 * 1024  # characters; longer strings are kept in the store

Path = list[str | int]
Blobs = list[tuple[Path, str]]
"""Where each large value belongs, and its name in the store."""


def pack(values: Mapping[str, Any], large: int = LARGE) -> tuple[dict[str, Any], Blobs, dict[str, str]]:
    """Take the large strings out of some values.

    Args:
        values: JSON-ready values by name; not changed.
        large: characters; longer strings are taken out.

    Returns:
        The values with null in the place of what was taken out, where that belongs, and what it is, by name.
    """
    found = list(_strings(values, [], large))
    light: Any = values
    blobs: Blobs = []
    texts: dict[str, str] = {}
    for path, text in found:
        name = uuid.uuid4().hex
        light = _replaced(light, path, None)
        blobs.append((path, name))
        texts[name] = text
    return dict(light), blobs, texts


def unpack(
    values: Mapping[str, Any], blobs: Sequence[tuple[Path, str]], texts: Sequence[object]
) -> dict[str, Any]:
    """Put large strings, or what stands for them, back where they belong; `texts` in the order of `blobs`."""
    whole: Any = values
    for (path, _), text in zip(blobs, texts, strict=True):
        whole = _replaced(whole, path, text)
    return dict(whole)


def _strings(value: Any, path: Path, large: int) -> Iterator[tuple[Path, str]]:
    for place, part in enumerate(value) if isinstance(value, list) else value.items():
        if isinstance(part, str):
            if len(part) > large:
                yield [*path, place], part
        elif isinstance(part, list | dict):  # a call for each number of a long list would take its time
            yield from _strings(part, [*path, place], large)


def _replaced(value: Any, path: Path, part: Any) -> Any:
    """Give a copy of `value` with `part` at `path`; what lies beside the path is shared."""
    if not path:
        return part
    copy: Any = list(value) if isinstance(value, list) else dict(value)
    copy[path[0]] = _replaced(copy[path[0]], path[1:], part)
    return copy
