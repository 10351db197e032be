"""Where webhooks go, and where they never do."""

import asyncio
import socket
from ipaddress import ip_address

import httpx
import pytest
from django.test import override_settings

from popolni.agents.networks import read_networks
from popolni.core.errors import UserError
from popolni.readers.webhooks.targets import (
    VARIABLE,
    NotAllowed,
    check_url,
    find_addresses,
    is_allowed,
    read_allowed,
)

PRIVATE = [
    "127.0.0.1", "127.8.8.8", "0.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1",
    "169.254.169.254", "100.64.0.1", "192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1",
    "255.255.255.255", "::1", "::", "fe80::1", "fc00::1", "fd12::1", "fec0::1", "ff02::1",
    "::127.0.0.1", "64:ff9b::a00:1", "2002:a00:1::1", "2001:0:a00:1::1", "2001:db8::1",
    "192.0.0.8", "192.88.99.1", "2001:1::1", "3fff::1",
]  # fmt: skip
PUBLIC = ["8.8.8.8", "93.184.216.34", "2606:4700:4700::1111"]


@pytest.mark.parametrize("text", PRIVATE)
def test_what_is_not_public_is_refused(text: str) -> None:
    address = ip_address(text)
    assert not is_allowed(address, "https", ())
    assert is_allowed(address, "https", read_networks("0.0.0.0/0,::/0"))


@pytest.mark.parametrize("text", PUBLIC)
def test_the_public_network_is_there_for_all(text: str) -> None:
    assert is_allowed(ip_address(text), "https", ())
    assert not is_allowed(ip_address(text), "http", read_networks("0.0.0.0/0,::/0"))


def look_up(url: str, allowed: str = "") -> list[str]:
    found = asyncio.run(find_addresses(httpx.URL(url), read_networks(allowed)))
    return [str(address) for address in found]


@pytest.mark.parametrize("text", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0"])
def test_however_it_is_written_it_is_this_machine(text: str) -> None:
    """The resolver reads more ways to write an address than we do."""
    with pytest.raises(NotAllowed):
        look_up(f"https://{text}/")


def stands_for(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    def found(_host: str, port: int, **_kind: object) -> list[tuple[object, ...]]:
        return [(2, 1, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", found)


def test_a_name_that_stands_for_our_network_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    stands_for(monkeypatch, "10.0.0.1", "169.254.169.254", "::ffff:192.168.0.1")
    with pytest.raises(NotAllowed):
        look_up("https://innocent.example/")
    assert look_up("https://innocent.example/", "10.0.0.0/24") == ["10.0.0.1"]
    stands_for(monkeypatch, "10.0.0.1", "8.8.8.8", "8.8.8.8", "8.8.4.4", "1.1.1.1", "9.9.9.9")
    assert look_up("https://innocent.example/") == ["8.8.8.8", "8.8.4.4", "1.1.1.1"]


def test_without_tls_a_name_is_of_this_machine_or_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    stands_for(monkeypatch, "8.8.8.8")
    with pytest.raises(NotAllowed):
        look_up("http://localhost/", "0.0.0.0/0")


def test_what_is_looked_up_is_the_name_that_the_server_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the older rules of the resolver `straße` is `strasse`, which may be somebody else."""
    asked: list[str] = []

    def found(host: str, port: int, **_kind: object) -> list[tuple[object, ...]]:
        asked.append(host)
        return [(2, 1, 6, "", ("8.8.8.8", port))]

    monkeypatch.setattr(socket, "getaddrinfo", found)
    look_up("https://straße.example/")
    assert asked == ["xn--strae-oqa.example"]


def test_a_name_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(*_words: object, **_kind: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", found)
    with pytest.raises(OSError, match="not known"):
        look_up("https://nowhere.example/")


@pytest.mark.parametrize(
    "text",
    [
        "https://example.com", "https://example.com:8443/a?b=c", " https://пример.рф/п ",
        "http://127.0.0.1:8000/", "http://localhost:1/", "http://[::1]:1/", "https://8.8.8.8/",
    ],
)  # fmt: skip
def test_addresses_that_are_taken(text: str) -> None:
    assert check_url(text, read_networks("127.0.0.0/8,::1")) == text.strip()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not an address such as"),
        ("example.com/a", "not an address such as"),
        ("ftp://example.com/", "not an address such as"),
        ("file:///etc/passwd", "not an address such as"),
        ("https:///a", "not an address such as"),
        ("https://exa mple.com/", "not an address such as"),
        ("https://example.com:99999/", "not an address such as"),
        ("https://example.com/\na", "not an address such as"),
        ("https://example.com:0/", "not an address such as"),
        ("http://localhost/", "127.0.0.1 is in a private network"),
        ("http://example.com/", "begins with https"),
        ("http://10.0.0.1/", "begins with https"),
        ("http://127.0.0.1.example.com/", "begins with https"),
        ("https://me:word@example.com/", "neither a password"),
        ("https://example.com/#a", "neither a password"),
        ("https://10.0.0.1/", "10.0.0.1 is in a private network"),
        ("https://[fd00::1]/", "fd00::1 is in a private network"),
        ("https://example.com/" + "a" * 500, "at most 500 characters"),
    ],
)
def test_addresses_that_are_not(text: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        check_url(text, ())


def test_what_is_allowed_besides() -> None:
    assert read_allowed({}) == ()
    assert read_allowed({VARIABLE: "10.1.0.0/16, ::1"}) == read_networks("10.1.0.0/16,::1")
    with pytest.raises(UserError, match=f"{VARIABLE}: .*10.1.0.0/8"):
        read_allowed({VARIABLE: "10.1.0.0/8"})
    with override_settings(DEMO=True):
        assert is_allowed(ip_address("127.0.0.1"), "http", read_allowed({}))
        assert not is_allowed(ip_address("fd00::1"), "https", read_allowed({}))
        assert not is_allowed(ip_address("10.1.0.1"), "https", read_allowed({}))
        assert is_allowed(ip_address("10.1.0.1"), "https", read_allowed({VARIABLE: "10.1.0.0/16"}))
