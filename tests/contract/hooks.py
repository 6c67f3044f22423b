"""What Schemathesis has to know besides the document: how files look like, and which texts hold JSON."""

from __future__ import annotations

import base64
import io
import json
import re
import uuid
from typing import Any

import schemathesis
from hypothesis import strategies as st
from PIL import Image


def _picture(side: int, format: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (side, side + 1), "orange").save(file, format)
    return file.getvalue()


_PICTURES = [_picture(side, format) for side in (1, 70) for format in ("PNG", "JPEG", "GIF")]
_SOUND = bytes.fromhex(  # a WAV file: 8 samples of silence, 8 bits, 8 kHz, mono
    "52494646 2c000000 57415645 666d7420 10000000 01000100 401f0000 401f0000 01000800 64617461 08000000"
    "80808080 80808080"
)


def _urls(files: list[bytes], kind: str) -> st.SearchStrategy[str]:
    heads = st.sampled_from([f"data:{kind}/x;base64,", ""])
    return st.builds(str.__add__, heads, st.sampled_from([base64.b64encode(f).decode() for f in files]))


schemathesis.openapi.format("image", _urls(_PICTURES, "image"))
schemathesis.openapi.format("audio", _urls([_SOUND], "audio"))
schemathesis.openapi.format("uri", st.just("https://example.com/hook"))
schemathesis.openapi.format("json", st.sampled_from(["{}", "[1, 2.5]", '"text"', ""]))
schemathesis.openapi.format("chat_context", st.sampled_from(["[]", '[{"role": "user", "content": "Hello"}]']))
schemathesis.openapi.media_type("image/*", st.sampled_from(_PICTURES))
schemathesis.openapi.media_type("audio/*", st.just(_SOUND))


@schemathesis.hook
def filter_case(context: Any, case: Any) -> bool:
    """Leave out what no schema can say: integers inside JSON have 64 bits."""
    parts = [part for part in (case.body, case.query) if isinstance(part, dict)]
    return all(_fits(_value(part.get(name))) for part in parts for name in ("chat", "data"))


def _value(given: Any) -> Any:
    try:
        return json.loads(given) if isinstance(given, str) else given
    except ValueError:
        return None


def _fits(value: Any) -> bool:
    if isinstance(value, dict | list):
        return all(map(_fits, value.values() if isinstance(value, dict) else value))
    return not isinstance(value, int) or abs(value) < 2**63


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Let each request be one of its own: the same `Idempotency-Key` twice would be answered by 422."""
    headers = case.headers or {}
    if re.fullmatch(r"[!#-\[\]-~]{1,255}", headers.get("Idempotency-Key", "")):
        headers["Idempotency-Key"] = str(uuid.uuid4())
