"""Files that are sent before the jobs that use them: POST /uploads, GET and DELETE /uploads/<id>."""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import Any

from flask import Blueprint, g, request, url_for
from flask.typing import ResponseReturnValue
from flask.views import MethodView

from app.auth import KEY_PARAMETERS
from app.bodies import MULTIPART, read_body
from app.errors import ApiError
from app.params import request_params
from app.services import services
from schemas.media.kinds import UNKNOWN, media_type
from tasks.errors import TooManyUploads
from tasks.uploads import Upload

blueprint = Blueprint("uploads", __name__)


@blueprint.post("/uploads")
def create() -> ResponseReturnValue:
    """Keep the body of the request, or the files of its form, for jobs to come."""
    files = _files()
    if not all(files) or not files:
        raise ApiError("malformed_request", "There is no file in the body, or an empty one")
    limits = services().uploads.limits
    if sum(map(len, files)) > limits.bytes:
        raise ApiError("body_too_large", f"The uploads of an API key may have {limits.bytes} bytes together")
    try:
        kept = services().uploads.add(g.client.id, [(data, media_type(data) or UNKNOWN) for data in files])
    except TooManyUploads as error:
        sentence = f"{error}: delete one, or wait until one expires"
        seconds = max(1, math.ceil(error.seconds))
        raise ApiError("too_many_uploads", sentence, retry_after=seconds, limit=error.limit) from error
    if len(kept) > 1:
        return {"success": True, "uploads": [_body(upload) for upload in kept]}, HTTPStatus.CREATED
    location = {"Location": url_for("uploads.upload", upload_id=kept[0].id)}
    return {"success": True, **_body(kept[0])}, HTTPStatus.CREATED, location


class OwnUpload(MethodView):
    """One upload of the key."""

    def get(self, upload_id: str) -> dict[str, Any]:
        """Describe it."""
        upload = services().uploads.find(g.client.id, upload_id)
        if upload is None:
            raise _unknown(upload_id)
        return {"success": True, **_body(upload)}

    def delete(self, upload_id: str) -> dict[str, Any]:
        """Forget it; jobs that were submitted with it have it already."""
        if not services().uploads.drop(g.client.id, upload_id):
            raise _unknown(upload_id)
        return {"success": True, "id": upload_id}


blueprint.add_url_rule("/uploads/<upload_id>", view_func=OwnUpload.as_view("upload"))


def _files() -> list[bytes]:
    if request.mimetype != MULTIPART:
        return [read_body().getvalue()]
    files: list[bytes] = []
    for name, value in request_params().without(*KEY_PARAMETERS).items():
        found = value if isinstance(value, list) else [value]
        if isinstance(value, str):
            raise ApiError("malformed_request", f"Field {name[:100]} of the form holds text, no file")
        files += found
    return files


def _body(upload: Upload) -> dict[str, Any]:
    return {
        "id": upload.id,
        "bytes": upload.size,
        "content_type": upload.content_type,
        "expires": upload.expires,
    }


def _unknown(upload_id: str) -> ApiError:
    return ApiError("upload_not_found", f"This API key has no upload {upload_id[:100]}")
