"""Which URLs and addresses are allowed on behalf of a client."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import OutgoingRefused
from tasks.guard.rules import (
    Rules,
    Target,
    is_public,
    is_url,
    read_private,
    read_url,
    redirected,
    shown_url,
)

RULES = Rules()
_NOT_PUBLIC = """
0.0.0.0 10.1.2.3 100.64.0.1 127.0.0.1 127.255.255.254 169.254.169.254 172.16.0.1 172.31.255.255 192.0.0.1
192.0.0.8 192.0.0.192 168.63.129.16 3fff::1
192.0.2.1 192.88.99.1 192.168.1.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.250 240.0.0.1
255.255.255.255 :: ::1 ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 64:ff9b::7f00:1
64:ff9b::a9fe:a9fe 64:ff9b::a00:1 64:ff9b:1::a00:1 100::1 2001::1 2001:db8::1 2002:7f00:1::1 2002:808:808::1
fc00::1 fd00:ec2::254 fe80::1 fe80::1%eth0 fec0::1 ff02::1 ff0e::1 5f00::1
"""
NOT_PUBLIC = _NOT_PUBLIC.split()
PUBLIC = ("1.1.1.1", "8.8.8.8", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808")


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_addresses_inside_are_not_public(address: str) -> None:
    assert not RULES.allow("files.example", address)


@pytest.mark.parametrize("address", PUBLIC)
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert RULES.allow("files.example", address)


@given(st.ip_addresses(v=4))
def test_an_address_is_judged_alike_in_every_form(address: IPv4Address) -> None:
    mapped = IPv6Address(f"::ffff:{address}")
    translated = IPv6Address(int(IPv6Address("64:ff9b::")) + int(address))
    assert is_public(address) == is_public(mapped) == is_public(translated)
    assert is_public(address) <= address.is_global
    assert not is_public(IPv6Address((0x2002 << 112) + (int(address) << 80) + 1))  # 6to4


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://files.example", Target("https", "files.example", 443, "/")),
        ("HTTP://Files.Example:80/a%20b?c=d#e", Target("http", "files.example", 80, "/a%20b?c=d")),
        ("https://[2606:4700::1111]/x", Target("https", "2606:4700::1111", 443, "/x")),
        ("https://xn--zrich-kva.example./", Target("https", "xn--zrich-kva.example.", 443, "/")),
    ],
)
def test_a_url_is_taken_apart(url: str, target: Target) -> None:
    assert is_url(url)
    assert read_url(url, RULES) == target


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "is no URL"),
        ("ftp://files.example/a", "is no URL"),
        ("file:///etc/passwd", "is no URL"),
        ("https:///a", "no valid host"),
        ("https://", "is no URL"),
        ("https://files.example/a b", "is no URL"),
        ("https://files.example/\r\nHost: x", "is no URL"),
        ("https://files.example\\@10.0.0.1/", "is no URL"),
        ("https://zürich.example/", "is no URL"),
        ("https://user:word@files.example/", "holds credentials"),
        ("https://@files.example/", "holds credentials"),
        ("https://files.example:8080/", "names port 8080: only 80, 443 allowed"),
        ("https://files.example:99999/", "no valid host or port"),
        ("https://files.example:x/", "no valid host or port"),
        ("https://[::1/", "no valid host or port"),
        ("https://files_.%65xample/", "no valid host"),
        ("https://a..b/", "no valid host"),
        ("https://127.0.0.1/", "is not at a public address"),
        ("https://[::ffff:10.0.0.1]/", "is not at a public address"),
        ("https://[fe80::1%25eth0]/", "is not at a public address"),
        ("https://files.example/" + "a" * 8000, "is too long"),
    ],
)
def test_what_is_wrong_with_a_url_is_told_without_it(url: str, reason: str) -> None:
    with pytest.raises(OutgoingRefused, match=reason) as refused:
        read_url(url, RULES)
    assert "files.example" not in str(refused.value)


def test_http_may_be_forbidden() -> None:
    with pytest.raises(OutgoingRefused, match="begins with http: only https allowed"):
        read_url("http://files.example/", Rules(schemes=frozenset({"https"})))


def test_a_redirect_is_read_relative_to_where_it_came_from() -> None:
    target = Target("https", "files.example", 443, "/a/b?c=d")
    assert redirected(target, "e") == "https://files.example:443/a/e"
    assert redirected(target, "//other.example/f") == "https://other.example/f"
    with pytest.raises(OutgoingRefused, match="from https"):
        redirected(target, "http://files.example/")


def test_private_hosts_are_allowed_by_name_address_and_network() -> None:
    names, networks = read_private("Files.Corp:10.1.0.0/16:192.168.7.7:[fd00::/8]:[::1]")
    assert names == {"files.corp"}
    assert networks == tuple(map(ip_network, ("10.1.0.0/16", "192.168.7.7", "fd00::/8", "::1")))
    rules = Rules(names=names, networks=networks)
    assert rules.allow("files.corp", "10.9.9.9")
    assert rules.allow("other.corp", "10.1.9.9")
    assert rules.allow("other.corp", "::ffff:10.1.9.9")
    assert rules.allow("other.corp", "fd00::1")
    assert not rules.allow("other.corp", "10.2.0.1")
    assert read_url("http://192.168.7.7/", rules).host == "192.168.7.7"


@pytest.mark.parametrize("text", ["10.0.0.0/33", "10.0.0.1/8", "a b", "[files.corp]", "fd00::/8", "1.2.3"])
def test_what_is_no_private_host_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        read_private(text)


def test_logs_show_no_query() -> None:
    assert shown_url("https://a.example/b?token=secret#c") == "https://a.example/b"
    assert "secret" not in repr(read_url("https://a.example/secret?token=secret", RULES))
