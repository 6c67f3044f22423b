"""Credentials: what a client presents, and the API key that it stands for."""

from __future__ import annotations

import hashlib

from itsdangerous import BadData, URLSafeTimedSerializer

from tasks.accounts import ApiKey, KeyRing

SESSION_LIFETIME = 30 * 86400  # s


class Authenticator:
    """Tells which API key a credential stands for.

    A credential is an API key, or a session token: the signed id of a key. A token is valid in every API
    process that shares the secret, for exactly what its key is valid for at the moment.
    """

    def __init__(self, keys: KeyRing, secret: str) -> None:
        self._keys = keys
        self._serializer = URLSafeTimedSerializer(
            secret, salt="stoker.session", signer_kwargs={"digest_method": hashlib.sha256}
        )

    def resolve(self, credential: str) -> ApiKey | None:
        """Give the key that `credential` stands for; None if it is not valid."""
        return self._keys.find(credential) or self._of_token(credential)

    def session_token(self, credential: str, key: ApiKey) -> str:
        """Give a session token for `key`.

        A token that is presented is handed back as it is: else a session could be prolonged for ever.
        """
        return credential if self._of_token(credential) else self._serializer.dumps(key.id)

    def _of_token(self, token: str) -> ApiKey | None:
        try:
            key_id = self._serializer.loads(token, max_age=SESSION_LIFETIME)
        except (BadData, UnicodeEncodeError):
            return None
        return self._keys.get(key_id) if isinstance(key_id, str) else None
