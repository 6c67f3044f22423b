"""The header Idempotency-Key: a request that is sent again stands for the job of the first time."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256

from flask import g, request

from app.auth import KEY_PARAMETERS
from app.errors import ApiError
from app.params import Params
from app.services import services
from schemas import Endpoint
from tasks.errors import IdempotencyKeyReused, RequestInProgress, StoreUnavailable
from tasks.idempotency import Claim

HEADER = "Idempotency-Key"
_FORM = re.compile(r'"[ !#-\[\]-~]{1,255}"|[!#-\[\]-~]{1,255}')  # quoted in the draft, bare in the wild

logger = logging.getLogger(__name__)


@contextmanager
def standing_for(job_id: str, endpoint: Endpoint, params: Params, ignored: tuple[str, ...]) -> Iterator[str]:
    """Give the id of the job that the current request stands for.

    It is `job_id` if this is the first request with its key, or if it has no key: then the job is to be
    submitted inside this context. Else it is the job of the first request.

    Args:
        job_id: of a new job.
        endpoint: what the client called.
        params: what it sent.
        ignored: parameters that change the answer, not the job.

    Raises:
        ApiError: the key is malformed, or came with another request, or its first request is still open.
    """
    key = _key()
    if key is None:
        yield job_id
        return
    keys = services().idempotency
    try:
        claim = keys.claim(g.client.id, key, _fingerprint(endpoint, params, ignored), job_id)
    except IdempotencyKeyReused as error:
        raise ApiError("idempotency_key_reused", str(error)) from error
    except RequestInProgress as error:
        raise ApiError("request_in_progress", str(error), retry_after=1) from error
    if claim.job_id != job_id:
        yield claim.job_id
        return
    try:
        yield job_id
    except BaseException:
        _tell(keys.release, claim)
        raise
    _tell(keys.accepted, claim)


def is_repeatable() -> bool:
    """Tell whether the client of the current request may send it again."""
    return HEADER in request.headers


def _key() -> str | None:
    value = request.headers.get(HEADER)
    if value is not None and not _FORM.fullmatch(value):
        sentence = f"{HEADER} must have 1 to 255 ASCII characters, quotes and backslashes excepted"
        raise ApiError("idempotency_key_malformed", sentence)
    return value.strip('"') if value is not None else None


def _fingerprint(endpoint: Endpoint, params: Params, ignored: tuple[str, ...]) -> str:
    sent = params.without(*KEY_PARAMETERS, *ignored)
    text = json.dumps([endpoint.name, params.textual, sent], sort_keys=True, default=_digest)
    return sha256(text.encode()).hexdigest()


def _digest(file: bytes) -> dict[str, str]:
    return {"sha256": sha256(file).hexdigest()}  # an object: beside files a form holds only strings


def _tell(method: Callable[[Claim], object], claim: Claim) -> None:
    """Tell the store what has become of a claim; if it cannot be told, the claim ends by itself."""
    try:
        method(claim)
    except StoreUnavailable as error:
        logger.warning("what became of an idempotency key for job %s is not stored: %s", claim.job_id, error)
