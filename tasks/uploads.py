"""Files that clients send before the jobs that use them; they lie in the job store for a while.

A key's uploads are the fields of one hash, by id: when it expires, its size, its type. Their bytes lie among
the large values (`JobStore.put_texts`), under the same id.
"""

from __future__ import annotations

import io
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tasks.errors import StoreUnavailable, TooManyUploads
from tasks.store import JobStore
from tasks.store.texts import PIECE

_RESERVE = """
for n = 7, #ARGV, 2 do redis.call('HDEL', KEYS[1], ARGV[n]) end
local count, bytes, soonest = 0, 0, nil
local there = redis.call('HGETALL', KEYS[1])
for n = 1, #there, 2 do
  local expires, size = string.match(there[n + 1], '^(%S+) (%S+)')
  if tonumber(expires) <= tonumber(ARGV[1]) then
    redis.call('HDEL', KEYS[1], there[n])
  else
    count, bytes = count + 1, bytes + tonumber(size)
    if not soonest or tonumber(expires) < tonumber(soonest) then soonest = expires end
  end
end
if count + ARGV[5] > tonumber(ARGV[2]) then return {'files', soonest or ''} end
if bytes + ARGV[6] > tonumber(ARGV[3]) then return {'bytes', soonest or ''} end
redis.call('HSET', KEYS[1], unpack(ARGV, 7))
redis.call('EXPIRE', KEYS[1], ARGV[4])
return {'', ''}
"""
"""owner's uploads; now, most files, most bytes, lifetime, files and bytes that come, id and text of each...
-> the limit that would be broken, else empty; when the next upload expires, if there is any.

Uploads with these ids are there if the connection broke before the answer came: they come once."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that was sent.

    Attributes:
        id: nobody can guess it.
        size: in bytes.
        content_type: media type that its bytes tell.
        expires: when it is forgotten, in seconds since 1970.
    """

    id: str
    size: int
    content_type: str
    expires: float

    def to_text(self) -> str:
        """Give the form in which it is stored, less its id."""
        return f"{self.expires:.3f} {self.size} {self.content_type}"

    @classmethod
    def from_text(cls, upload_id: str, text: str) -> Upload:
        """Read `to_text()`."""
        expires, size, content_type = text.split(" ", 2)
        return cls(upload_id, int(size), content_type, float(expires))


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """Limits of the uploads of one key.

    Attributes:
        lifetime: seconds that an upload is kept.
        files: that it may have at a time.
        bytes: of all its uploads together.
    """

    lifetime: int
    files: int
    bytes: int


class Uploads:
    """The uploads of all keys. Every method raises `StoreUnavailable` if the store does not answer."""

    def __init__(self, store: JobStore, limits: UploadLimits) -> None:
        self._store = store
        self.limits = limits

    def add(self, owner: str, files: Sequence[tuple[bytes, str]]) -> list[Upload]:
        """Keep files, all of them or none.

        Args:
            owner: id of the API key.
            files: bytes and media type of each.

        Raises:
            TooManyUploads: the key has as many as it may.
        """
        now = time.time()
        expires = round(now + self.limits.lifetime, 3)
        uploads = [Upload(uuid.uuid4().hex, len(data), kind, expires) for data, kind in files]
        args: list[Any] = [now, self.limits.files, self.limits.bytes, self.limits.lifetime]
        args += [len(uploads), sum(upload.size for upload in uploads)]
        for upload in uploads:
            args += [upload.id, upload.to_text()]
        ((limit, soonest),) = self._store.run([(_RESERVE, [_key(owner)], args)])
        if limit:
            most = getattr(self.limits, limit)
            raise TooManyUploads(limit, most, float(soonest) - now if soonest else 0.0)
        try:
            for upload, (data, _) in zip(uploads, files, strict=True):
                self._store.put_texts({upload.id: data}, self.limits.lifetime)
        except StoreUnavailable:
            with suppress(StoreUnavailable):  # then they count until they expire
                for upload in uploads:
                    self.drop(owner, upload.id)
            raise
        return uploads

    def find(self, owner: str, upload_id: str) -> Upload | None:
        """Look an upload of the key up; None if it has no such one, or has it no more."""
        text = self._store.command("HGET", _key(owner), upload_id)
        upload = Upload.from_text(upload_id, text) if text else None
        return upload if upload is not None and upload.expires > time.time() else None

    def content(self, upload: Upload) -> bytes | None:
        """Give the bytes of an upload; None if they are gone."""
        data = io.BytesIO()
        for place in range(0, upload.size, PIECE):  # what is read at once is held by the connection, too
            data.write(self._store.text_part(upload.id, place, place + PIECE))
        return data.getvalue() if data.tell() == upload.size else None

    def drop(self, owner: str, upload_id: str) -> bool:
        """Forget an upload; gives whether the key had it."""
        dropped = self._store.command("HDEL", _key(owner), upload_id)
        if dropped:
            self._store.drop_texts([upload_id])
        return bool(dropped)


def _key(owner: str) -> str:
    return f"uploads:{owner}"
