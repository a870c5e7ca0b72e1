"""Where webhooks may go."""

import asyncio
import ipaddress
from typing import Any

import pytest

from services.projector.webhooks.addresses import Forbidden, Unresolved, address_of, is_allowed


@pytest.mark.parametrize(
    "text",
    [
        "10.0.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "0.0.0.0",
        "224.0.0.1",
        "100.64.0.1",
        "::",
        "fe80::1",
        "fd00::1",
        "::ffff:10.0.0.1",
        "64:ff9b::a9fe:a9fe",
        "2002:a00:1::",
        "::a00:1",
        "ff02::1",
    ],
)
def test_what_is_not_public_is_not_allowed_not_even_in_development(text: str) -> None:
    assert not is_allowed(ipaddress.ip_address(text), loopback=True)


@pytest.mark.parametrize("text", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_this_machine_is_allowed_in_development_only(text: str) -> None:
    assert is_allowed(ipaddress.ip_address(text), loopback=True)
    assert not is_allowed(ipaddress.ip_address(text), loopback=False)


@pytest.mark.parametrize("text", ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"])
def test_public_addresses_are_allowed(text: str) -> None:
    assert is_allowed(ipaddress.ip_address(text), loopback=False)


async def test_a_name_is_judged_by_all_of_its_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    async def two(*_: Any, **__: Any) -> list[Any]:
        return [(0, 0, 0, "", ("93.184.215.14", 80)), (0, 0, 0, "", ("10.0.0.1", 80))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", two, raising=False)
    with pytest.raises(Forbidden):
        await address_of("two.example", 80, loopback=False)


async def test_a_name_without_an_address_may_get_one_later() -> None:
    with pytest.raises(Unresolved):
        await address_of("nothing.invalid", 80, loopback=False)
