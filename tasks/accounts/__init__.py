"""API keys and the clients that they stand for: of files, and of the database."""

from tasks.accounts.cache import KeyCache
from tasks.accounts.clients import Client, Limits
from tasks.accounts.directory import Clients
from tasks.accounts.keyring import KeyRing
from tasks.accounts.keys import Grant, KeyRecord, KeyStore
from tasks.accounts.webhooks import WebhookStore

__all__ = [
    "Client",
    "Clients",
    "Grant",
    "KeyCache",
    "KeyRecord",
    "KeyRing",
    "KeyStore",
    "Limits",
    "WebhookStore",
]
