"""The text of a generated API key: `stk_<public part>_<secret part>`. Pure, but for the random numbers.

The public part names the key in lists, logs and the database. The secret part has 256 random bits, so that
one SHA-256 keeps it as safe as a slow hash would: nobody can try that many.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets

MARK = "stk"
_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"
_ID_LENGTH = 10  # letters, 50 bits: two keys with one id are not to be expected
_SECRET_BYTES = 32
_KEY = re.compile(rf"{MARK}_([a-z2-7]{{{_ID_LENGTH}}})_[A-Za-z0-9_-]{{43}}")
_BARE_ID = re.compile(rf"[a-z2-7]{{{_ID_LENGTH}}}")
_NAMED = re.compile(rf"(?:{MARK}_)?([a-z2-7]{{{_ID_LENGTH}}})(?:_.*)?")


def new_key() -> tuple[str, str]:
    """Make a key; gives its id, which is public, and the key."""
    key_id = "".join(secrets.choice(_LETTERS) for _ in range(_ID_LENGTH))
    return key_id, f"{shown(key_id)}_{secrets.token_urlsafe(_SECRET_BYTES)}"


def shown(key_id: str) -> str:
    """Give the part of a key that may be shown: its beginning."""
    return f"{MARK}_{key_id}"


def id_of_key(text: str) -> str | None:
    """Give the id of what has the form of a key; None if it has not."""
    found = _KEY.fullmatch(text)
    return found[1] if found else None


def is_id(text: str) -> bool:
    """Tell whether this has the form of an id."""
    return _BARE_ID.fullmatch(text) is not None


def id_named_by(text: str) -> str | None:
    """Give the id that a person names: by itself, by the beginning of the key, or by the whole key."""
    found = _NAMED.fullmatch(text.strip())
    return found[1] if found else None


def digest_of(key: str) -> str:
    """Give the form in which a key is stored."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def matches(key: str, digest: str) -> bool:
    """Tell whether `digest` is that of `key`, in a time that does not tell where they differ."""
    return hmac.compare_digest(digest_of(key), digest)
