"""Credentials: what a client presents, and whom it stands for."""

from __future__ import annotations

import hashlib

from itsdangerous import BadData, URLSafeTimedSerializer

from tasks.accounts import Client, Clients

SESSION_LIFETIME = 30 * 86400  # s
LONGEST = 8190  # characters of a credential, as of a header; a body may hold 100 MB in its place


class Authenticator:
    """Tells which client a credential stands for.

    A credential is an API key, or a session token: the signed id of a key. A token is valid in every API
    process that shares the secret, for exactly what its key is valid for at the moment.
    """

    def __init__(self, clients: Clients, secret: str) -> None:
        self._clients = clients
        self._serializer = URLSafeTimedSerializer(
            secret, salt="stoker.session", signer_kwargs={"digest_method": hashlib.sha256}
        )

    def resolve(self, credential: str) -> Client | None:
        """Give the client that `credential` stands for; None if it is not valid.

        Raises:
            DatabaseUnavailable: nobody can tell at the moment.
        """
        if len(credential) > LONGEST:
            return None
        return self._clients.find(credential) or self._of_token(credential)

    def session_token(self, credential: str, client: Client) -> str:
        """Give a session token for the key of `client`.

        A token that is presented is handed back as it is: else a session could be prolonged for ever.
        """
        return credential if self._of_token(credential) else self._serializer.dumps(client.key_id)

    def _of_token(self, token: str) -> Client | None:
        try:
            key_id = self._serializer.loads(token, max_age=SESSION_LIFETIME)
        except (BadData, UnicodeEncodeError):
            return None
        return self._clients.get(key_id) if isinstance(key_id, str) else None
