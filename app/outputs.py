"""Outputs of jobs as files: GET /jobs/<id>/outputs/<name>, with ranges and ETags."""

from __future__ import annotations

import binascii
from contextlib import suppress
from hashlib import sha256
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, current_app, request
from werkzeug.datastructures import Range
from werkzeug.exceptions import RequestedRangeNotSatisfiable

from app.answers import stored_texts, whole_outputs
from app.content import Content
from app.errors import ApiError
from app.owned import own_job
from app.streamed import LargeText
from schemas import Endpoint
from schemas.media.kinds import UNKNOWN, media_type
from tasks.jobs import JobState, Result

SNIFFED = 1 << 16  # bytes of a file that tell what it is
JSON, TEXT = "application/json", "text/plain"
_EXTENSIONS = {
    JSON: "json", TEXT: "txt", UNKNOWN: "bin", "audio/mpeg": "mp3", "audio/mp4": "m4a",
    "audio/matroska": "mka", "video/matroska": "mkv", "video/quicktime": "mov",
}  # fmt: skip

blueprint = Blueprint("outputs", __name__)


@blueprint.get("/jobs/<job_id>/outputs/<name>", defaults={"index": None})
@blueprint.get("/jobs/<job_id>/outputs/<name>/<int:index>")
def output(job_id: str, name: str, index: int | None) -> Response:
    """Give an output of a job that is done: the bytes of its file, or its text or JSON."""
    endpoint, status = own_job(job_id)
    if status.result is None:
        sentence = f"Job {job_id} is {status.state}: it has no outputs yet"
        raise ApiError("job_not_done", sentence, job_id=job_id, job_state=status.state.value)
    if status.state is not JobState.DONE:
        raise _missing(f"Job {job_id} is {status.state}: it has no outputs", job_state=status.state.value)
    content, mimetype = find(endpoint, status.result, name, index)
    number = "" if index is None else f"-{index}"
    extension = _EXTENSIONS.get(mimetype, mimetype.partition("/")[2])
    return _answer(
        content,
        mimetype,
        etag=sha256(f"{job_id}/{name}/{index}".encode()).hexdigest()[:32],
        filename=f"{endpoint.name}-{job_id[:8]}-{name}{number}.{extension}",
    )


def find(endpoint: Endpoint, result: Result, name: str, index: int | None) -> tuple[Content, str]:
    """Give an output and its media type.

    Args:
        endpoint: of the job.
        result: of a job that is done.
        name: of the output.
        index: which part of a list; None: the only one, or the whole output if it holds no files.

    Raises:
        ApiError: there is none.
    """
    value = result.outputs.get(name)
    blobs = {tuple(path): blob for path, blob in result.blobs if path[0] == name}
    kind = endpoint.file_kind(name) if name in endpoint.outputs else None
    if value is None and not blobs:
        raise _missing(f"The job has no output {name[:100]}")
    path: tuple[str | int, ...] = (name,)
    if isinstance(value, list) and (kind is not None or index is not None):
        index = _place(name, index, len(value))
        path, value = (name, index), value[index]
    elif index or (index is not None and kind is None):
        raise _missing(f"Output {name} is no list: ask for it without a number")
    text = None if kind is None else _text(value, blobs.get(path))
    if text is not None and (file := text.file()) is not None:
        with suppress(binascii.Error):  # then it is no file
            return file, media_type(file.read(0, min(SNIFFED, file.size)), kind) or UNKNOWN
    return _as_it_is(result, path)


def _place(name: str, index: int | None, length: int) -> int:
    if index is None and length == 1:
        return 0
    if index is None or index >= length:
        raise _missing(f"Output {name} holds {length} parts: ask for one of them by its number, from 0")
    return index


def _text(value: Any, blob: str | None) -> Content | None:
    """Give the text of an output, wherever it is; None: it is no text."""
    if blob is None:
        return Content.of(value.encode()) if isinstance(value, str) else None
    (content,) = stored_texts([blob])
    if not content.size:
        raise _missing("The output is forgotten")
    return content


def _as_it_is(result: Result, path: tuple[str | int, ...]) -> tuple[Content, str]:
    value: Any = whole_outputs(result.outputs, [part for part in result.blobs if part[0][0] == path[0]])
    for step in path:
        value = value[step]
    if value is None:
        raise _missing("The output is forgotten")
    if isinstance(value, LargeText):
        return value.content, TEXT
    if isinstance(value, str):
        return Content.of(value.encode()), TEXT
    return Content.of(current_app.json.dumps(value).encode()), JSON


def _answer(content: Content, mimetype: str, etag: str, filename: str) -> Response:
    """Answer by some bytes, or by what the client does not know of them yet."""
    start, stop = 0, content.size
    status = HTTPStatus.OK
    wanted = _range(etag)
    if request.if_none_match.contains_weak(etag):
        status = HTTPStatus.NOT_MODIFIED
        stop = 0
    elif wanted is not None and content.size:  # of nothing, all of it: some clients ask for ranges only
        start, stop = _limits(wanted, content.size)
        status = HTTPStatus.PARTIAL_CONTENT
    body = b"" if request.method == "HEAD" else content.pieces(start, stop)
    response = Response(body, status, mimetype=mimetype)
    response.set_etag(etag)
    response.headers["Accept-Ranges"] = "bytes"
    response.headers["Cache-Control"] = "private, no-cache"  # kept, and asked for whether it still counts
    if status is not HTTPStatus.NOT_MODIFIED:
        response.content_length = stop - start
        response.headers["Content-Disposition"] = f'inline; filename="{filename}"'
    if status is HTTPStatus.PARTIAL_CONTENT:
        response.headers["Content-Range"] = f"bytes {start}-{stop - 1}/{content.size}"
    return response


def _range(etag: str) -> Range | None:
    """Give the range that the current request asks for, if it is one that is served: of bytes, and single."""
    condition = request.if_range
    if request.method != "GET" or (request.headers.get("If-Range") and condition.etag != etag):
        return None
    found = request.range
    return found if found is not None and found.units == "bytes" and len(found.ranges) == 1 else None


def _limits(wanted: Range, size: int) -> tuple[int, int]:
    first, stop = wanted.ranges[0]
    start = max(0, size + first) if first < 0 else first
    if start >= size:
        raise RequestedRangeNotSatisfiable(size)
    return start, size if stop is None else min(stop, size)


def _missing(sentence: str, **body: Any) -> ApiError:
    return ApiError("output_not_found", sentence, **body)
