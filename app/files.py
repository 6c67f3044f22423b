"""Files that a request does not hold, but refers to: they are put in their place before it is checked.

The greenlet of the request fetches them, each of them once: the threads that convert files wait for nobody.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flask import g

from app.params import LARGE
from app.services import caller, services
from schemas import Endpoint
from schemas.media.errors import MediaError
from schemas.media.source import Source
from tasks.guard.rules import is_url

UPLOAD = "upload:"
"""How the reference to an upload begins; neither base64 nor a data URL does."""


def with_files(endpoint: Endpoint, raw: dict[str, Any]) -> dict[str, Any]:
    """Give the inputs of a request with the files that it refers to in their place.

    These are uploads of the client and, where the endpoint takes them, URLs; all together may be as large as
    a body, in which they would else have come. A file that cannot be had is told when the inputs are loaded,
    with all else that is wrong with them.

    Raises:
        ConversionBusy: too many requests wait for files.
        StoreUnavailable: nobody can tell which uploads there are.
    """
    uploads: dict[str, int] = {}
    urls: dict[str, int] = {}

    def note(text: str, max_bytes: int) -> Source:
        if text.startswith(UPLOAD):
            uploads[text] = max(max_bytes, uploads.get(text, 0))
        elif endpoint.allow_urls and is_url(text):
            urls[text] = max(max_bytes, urls.get(text, 0))
        return text

    _walk(endpoint, raw, note)
    if not uploads and not urls:
        return raw
    found = _uploaded(uploads)
    if urls:
        found |= services().fetcher.fetch(caller(), urls, _size(found.values()))
    return _walk(endpoint, raw, lambda text, _: found.get(text, text))


def _walk(endpoint: Endpoint, raw: dict[str, Any], read: Any) -> dict[str, Any]:
    if not any(map(_takes_long, raw.values())):
        return endpoint.with_files(raw, read)
    walked: dict[str, Any] = services().converter.run(caller(), endpoint.with_files, raw, read)
    return walked


def _takes_long(value: Any) -> bool:
    """Tell whether this may be a long conversation, which is parsed or copied; base64 has no brackets."""
    return isinstance(value, list) or (isinstance(value, str) and len(value) > LARGE and "[" in value)


def _uploaded(wanted: dict[str, int]) -> dict[str, Source]:
    left = most = services().settings.max_body_size
    found: dict[str, Source] = {}
    for reference, max_bytes in wanted.items():
        file = _upload(reference.removeprefix(UPLOAD), max_bytes)
        found[reference] = file
        left -= _size([file])
        if left < 0:
            found[reference] = MediaError(f"is too much: all files of a request may have {most} bytes")
            break
    return found


def _upload(upload_id: str, max_bytes: int) -> Source:
    uploads = services().uploads
    upload = uploads.find(g.client.id, upload_id)
    if upload is not None and upload.size > max_bytes:
        return MediaError(f"its size of {upload.size} bytes is too large: at most {max_bytes} allowed")
    data = None if upload is None else uploads.content(upload)
    return data or MediaError("names no upload of this API key: it is unknown, expired or deleted")


def _size(files: Iterable[Source]) -> int:
    return sum(len(file) for file in files if isinstance(file, bytes))
