"""Where a webhook may go, when it is tried again, and whose secret signs it."""

from __future__ import annotations

import pytest

from longhaul.webhooks import tenant_secret
from longhaul_controller.addresses import is_public
from longhaul_controller.webhooks import pause_after

pytestmark = pytest.mark.fault("F39")


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "1.1.1.1", "93.184.215.14", "2606:4700::1111", "2a00:1450:4001:800::200e", "::ffff:8.8.8.8", "64:ff9b::808:808"],
)  # fmt: skip
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.0.0.1",
        "100.64.0.1",  # shared: also where Alibaba's metadata are
        "127.0.0.1",
        "127.255.255.254",
        "168.63.129.16",  # Azure's platform
        "169.254.169.254",  # metadata of nearly every cloud
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.192",  # Oracle's metadata
        "192.0.2.1",
        "192.168.1.1",
        "198.18.0.1",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::ffff:168.63.129.16",
        "64:ff9b::a9fe:a9fe",  # 169.254.169.254 through NAT64
        "64:ff9b:1::a00:1",
        "100::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "2001:db8::1",
        "2002:7f00:1::",  # 127.0.0.1 through 6to4
        "fc00::1",
        "fd00:ec2::254",  # Amazon's metadata
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
    ],
)
def test_any_other_address_is_not(address: str) -> None:
    assert not is_public(address)


def test_the_default_tries_end_within_eight_hours() -> None:
    pauses = [pause_after(tries, 5.0, jitter=0.5) for tries in range(1, 8)]
    assert pauses == [5, 20, 80, 320, 1280, 5120, 20480]
    assert 7 * 3600 < sum(pauses) < 8 * 3600
    assert (pause_after(1, 8.0, jitter=0.0), pause_after(1, 8.0, jitter=1.0)) == (6, 10)


def test_each_tenant_has_its_own_secret() -> None:
    secret = "a secret of the installation that is long enough"
    secrets = {tenant_secret(secret, tenant) for tenant in ("acme", "other")} | {tenant_secret(secret[1:], "acme")}
    assert len(secrets) == 3
    assert tenant_secret(secret, "acme") == tenant_secret(secret, "acme")
    assert all(one.startswith("whsec_") for one in secrets)
