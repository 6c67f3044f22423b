"""Files that a request does not hold, but refers to: they are put in their place before it is checked."""

from __future__ import annotations

from typing import Any

from app.services import services
from schemas import Endpoint
from schemas.media.source import Source
from tasks.guard.rules import is_url


def with_files(endpoint: Endpoint, raw: dict[str, Any]) -> dict[str, Any]:
    """Give the inputs of a request with the files that it refers to in their place.

    A file that cannot be had is told when the inputs are loaded, with all else that is wrong with them.

    Raises:
        ConversionBusy: too many requests wait for files.
    """
    if not endpoint.allow_urls:
        return raw
    wanted: dict[str, int] = {}

    def note(text: str, max_bytes: int) -> Source:
        if is_url(text):
            wanted[text] = max(max_bytes, wanted.get(text, 0))
        return text

    run = services().converter.run
    run(endpoint.with_files, raw, note)
    if not wanted:
        return raw
    found = services().fetcher.fetch(wanted)
    with_them: dict[str, Any] = run(endpoint.with_files, raw, lambda text, _: found.get(text, text))
    return with_them
