"""Secrets of one installation: made on first use, kept in files that only their owner reads."""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path


def read_or_create(path: Path, length: int = 32) -> str:
    """Give the secret in `path`; make it first if there is none.

    Several processes may ask at once: all of them get the same secret.

    Args:
        path: file of the secret. It and its folder are made with modes 600 and 700.
        length: number of random bytes of a new secret (the text is about 4/3 as long).

    Raises:
        OSError: the file can be neither read nor made.
    """
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_urlsafe(length) + "\n")
        try:
            os.link(draft, path)  # unlike rename, this never replaces a secret that another process made
        except FileExistsError:
            pass
    finally:
        os.unlink(draft)
    return path.read_text().strip()
