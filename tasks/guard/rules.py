"""Which URLs may be asked for on behalf of a client, and which addresses connected to. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urljoin, urlsplit

from tasks.errors import OutgoingRefused

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

LONGEST_URL = 8000  # characters; signed URLs of object stores have one or two thousand
DEFAULT_PORTS = {"https": 443, "http": 80}
_URL = re.compile(r"https?://[!-~]+", re.IGNORECASE)  # printable ASCII, no space
_HOST = re.compile(r"(?=.{1,253}$)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_-]{1,63}\.?")
_IPV6_UNICAST = IPv6Network("2000::/3")
_TUNNELS = ("2001::/32", "2002::/16", "192.88.99.0/24")
"""An IPv4 address stands in these; what such an address reaches is up to whoever runs the gateway."""
_SPECIAL = ("192.0.0.0/24", "3fff::/20")
"""Of IANA's registries; `is_global` of Python 3.11 does not know all of them. Oracle had metadata there."""
_CLOUDS = ("168.63.129.16/32",)
"""Not private by its number, but served by Azure inside of every machine."""
_INSIDE = tuple(map(ip_network, (*_TUNNELS, *_SPECIAL, *_CLOUDS)))
_NAT64 = IPv6Network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class Rules:
    """What may be asked for.

    Attributes:
        schemes: https, http.
        ports: of the servers.
        names: hosts that may have any address, as the operator says.
        networks: addresses that are allowed although they are not public.
    """

    schemes: frozenset[str] = frozenset(DEFAULT_PORTS)
    ports: frozenset[int] = frozenset(DEFAULT_PORTS.values())
    names: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()

    def allow(self, host: str, address: str) -> bool:
        """Tell whether `address`, which the name `host` has, may be connected to."""
        found = _plain(ip_address(address))
        return host in self.names or any(found in network for network in self.networks) or is_public(found)


@dataclass(frozen=True, slots=True)
class Target:
    """A URL in parts.

    Attributes:
        scheme: https or http.
        host: name or address, in lower case, without brackets.
        port: of the server.
        path: path and query. Secret: it is not for logs.
    """

    scheme: str
    host: str
    port: int
    path: str

    def __repr__(self) -> str:
        return f"{self.scheme}://{self.host}:{self.port}/..."


def is_url(text: str) -> bool:
    """Tell whether this is meant as a URL of the web."""
    return text[:8].lower().startswith(("https://", "http://"))


def shown_url(text: str) -> str:
    """Give a URL without what may be secret in it: the query."""
    return text.partition("?")[0].partition("#")[0]


def is_public(address: Address) -> bool:
    """Tell whether everybody on the internet would reach the same machine by this address.

    Not public are loopback, private, link-local (where clouds serve credentials), carrier-grade NAT,
    multicast, special and reserved addresses, and tunnels; nor an IPv6 address that stands for such an IPv4
    one.
    """
    address = _plain(address)
    if address.is_multicast or address.is_reserved or any(address in network for network in _INSIDE):
        return False
    return address.is_global and (address.version == 4 or address in _IPV6_UNICAST)


def _plain(address: Address) -> Address:
    """Give the IPv4 address that an IPv6 one stands for (mapped, NAT64), if it does."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def read_url(text: str, rules: Rules) -> Target:
    """Read a URL, as far as it can be judged without asking for its host's address.

    Raises:
        OutgoingRefused: it is none, or one that the rules do not allow; in words that do not repeat it.
    """
    if len(text) > LONGEST_URL:
        raise OutgoingRefused(f"is too long: at most {LONGEST_URL} characters allowed")
    if not _URL.fullmatch(text) or "\\" in text:
        raise OutgoingRefused("is no URL of the form https://host/path in ASCII")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise OutgoingRefused("has no valid host or port") from None
    if "@" in parts.netloc:
        raise OutgoingRefused("holds credentials: only URLs without user and password are taken")
    if parts.scheme not in rules.schemes:
        raise OutgoingRefused(f"begins with {parts.scheme}: only {', '.join(sorted(rules.schemes))} allowed")
    host = parts.hostname or ""
    literal = _literal(host)
    if literal is None and not _HOST.fullmatch(host):
        raise OutgoingRefused("has no valid host")
    port = DEFAULT_PORTS[parts.scheme] if port is None else port
    if port not in rules.ports:
        allowed = ", ".join(map(str, sorted(rules.ports)))
        raise OutgoingRefused(f"names port {port}: only {allowed} allowed")
    if literal is not None and not rules.allow(host, host):
        raise OutgoingRefused("is not at a public address")
    return Target(parts.scheme, host, port, (parts.path or "/") + (f"?{parts.query}" if parts.query else ""))


def redirected(target: Target, location: str) -> str:
    """Give the URL that an answer of `target` redirects to.

    Raises:
        OutgoingRefused: it is none, or leads from https to http.
    """
    host = f"[{target.host}]" if ":" in target.host else target.host
    try:
        url = urljoin(f"{target.scheme}://{host}:{target.port}{target.path}", location)
    except ValueError:
        raise OutgoingRefused("redirects to what is no URL") from None
    if target.scheme == "https" and not url.lower().startswith("https://"):
        raise OutgoingRefused("redirects from https to something else")
    return url


def read_private(text: str) -> tuple[frozenset[str], tuple[Network, ...]]:
    """Read names, addresses and networks that are separated by `:` or ends of lines; IPv6 stands in brackets.

    Raises:
        ValueError: with the first part that is none of these.
    """
    names, networks = set(), []
    for part in re.findall(r"\[[^\]]*\]|[^:\n]+", text.lower()):
        word = part.strip("[] ")
        try:
            networks.append(ip_network(word))
        except ValueError:
            if part.startswith("[") or not _HOST.fullmatch(word) or word.replace(".", "").isdigit():
                raise ValueError(part) from None
            names.add(word)
    return frozenset(names), tuple(networks)


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
