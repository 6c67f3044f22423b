"""What the caller names to reach a server, checked before anything is sent."""

from urllib.parse import urlsplit


def check_server(url: str) -> str:
    """Give the base URL of a server without a slash at its end.

    Raises:
        ValueError: not an http or https URL with a host; or it carries a user, a query or a fragment.
    """
    parts = urlsplit(url)
    if parts.username is not None or parts.password is not None:
        # The text of this error must not repeat the password.
        raise ValueError("the server's URL may not carry a user or a password; pass an API key")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"not the URL of a server: {url!r}; expected such as 'https://api.example.org'")
    return url.rstrip("/")


def clean_key(key: str | None) -> str | None:
    """Give an API key without white space around it, None for an empty one.

    Raises:
        ValueError: it holds a character that no HTTP header can carry.
    """
    key = (key or "").strip()
    if not all("!" <= character <= "~" for character in key):
        raise ValueError("the API key holds characters other than visible ASCII ones")
    return key or None
