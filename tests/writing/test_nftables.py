"""Sets of nftables, in the kernel of a network namespace."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator

import pytest

from lab.network import Namespaces
from tests.conftest import require
from tracker.errors import ExportError
from tracker.settings import ExportSettings
from tracker.writing.nftables import Nftables, sets_text

NOW = 1_800_000_000.0
TRUSTED = ("198.51.100.0/25", "203.0.113.128/26", "203.0.113.192", "2001:db8:5::/48")


class Kernel:
    """A namespace of its own, and nft in it."""

    def __init__(self, name: str, ipv6_prefix: int = 128) -> None:
        self.argv = ("ip", "netns", "exec", name, "nft")
        self.settings = ExportSettings(nftables=("trusted", "granted"), nft_command=self.argv)
        self.sets = sets_text(self.settings, TRUSTED, ipv6_prefix).text
        self.nftables = Nftables(self.settings)

    def nft(self, *arguments: str, text: str = "") -> str:
        return subprocess.run(
            [*self.argv, *arguments], input=text, capture_output=True, text=True, check=True
        ).stdout

    def elements(self, name: str) -> dict[str, int]:
        listing = json.loads(self.nft("-j", "list", "set", "inet", "popgate", name))
        found = {}
        for element in listing["nftables"][1]["set"].get("elem", []):
            value = element["elem"]["val"]
            key = value if isinstance(value, str) else f"{value['prefix']['addr']}/64"
            found[key] = element["elem"]["timeout"]
        return found

    def holds(self, name: str, address: str) -> bool:
        done = subprocess.run(
            [*self.argv, "get", "element", "inet", "popgate", name, f"{{ {address} }}"],
            capture_output=True,
            check=False,
        )
        return done.returncode == 0


@pytest.fixture
def namespace() -> Iterator[str]:
    require(Namespaces.unavailable())
    require(None if shutil.which("nft", path="/usr/sbin:/usr/bin") else "not installed: nftables")
    name = f"popgate-{os.getpid()}-nft"
    subprocess.run(["ip", "netns", "add", name], check=True)
    yield name
    subprocess.run(["ip", "netns", "del", name], check=True)


@pytest.fixture
def kernel(namespace: str) -> Kernel:
    return Kernel(namespace)


def test_the_text_passes_nft_s_own_check(kernel: Kernel) -> None:
    assert kernel.nft("-c", "-f", "-", text=kernel.sets) == ""


def test_an_element_lasts_for_the_rest_of_its_grant(kernel: Kernel) -> None:
    granted = {"203.0.113.5": int(NOW) + 1800, "2001:db8::5": int(NOW) + 60}
    kernel.nftables.put(kernel.sets, granted, NOW, 0)
    assert kernel.elements("popgate_granted4") == {"203.0.113.5": 1800}
    assert kernel.elements("popgate_granted6") == {"2001:db8::5": 60}


def test_the_kernel_ends_an_element_by_itself(kernel: Kernel) -> None:
    kernel.nftables.put(kernel.sets, {"203.0.113.5": int(NOW) + 1}, NOW, 0)
    assert kernel.holds("popgate_granted4", "203.0.113.5")
    time.sleep(1.3)
    assert not kernel.holds("popgate_granted4", "203.0.113.5")


def test_trusted_addresses_are_intervals(kernel: Kernel) -> None:
    kernel.nftables.put(kernel.sets, {}, NOW, 0)
    for address in ("198.51.100.127", "203.0.113.128", "203.0.113.192"):
        assert kernel.holds("popgate_trusted4", address), address
    for address in ("198.51.100.128", "203.0.113.193"):
        assert not kernel.holds("popgate_trusted4", address), address
    assert kernel.holds("popgate_trusted6", "2001:db8:5::1")


def test_what_ends_early_goes_at_once_and_what_comes_is_added(kernel: Kernel) -> None:
    end = int(NOW) + 1800
    kernel.nftables.put(kernel.sets, {"203.0.113.5": end, "203.0.113.6": end}, NOW, 0)
    kernel.nftables.put(kernel.sets, {"203.0.113.6": end, "203.0.113.7": end}, NOW, 0)
    assert kernel.elements("popgate_granted4").keys() == {"203.0.113.6", "203.0.113.7"}


def test_a_grant_that_ends_sooner_is_told_at_once(kernel: Kernel) -> None:
    """As when the last of the sessions ends that held it open."""
    kernel.nftables.put(kernel.sets, {"203.0.113.5": int(NOW) + 86400}, NOW, 0)
    kernel.nftables.put(kernel.sets, {"203.0.113.5": int(NOW) + 1800}, NOW, 0)
    assert kernel.elements("popgate_granted4") == {"203.0.113.5": 1800}


def test_a_renewed_grant_is_told_before_its_element_would_end(kernel: Kernel) -> None:
    first, later = int(NOW) + 1800, int(NOW) + 1860
    kernel.nftables.put(kernel.sets, {"203.0.113.5": first}, NOW, 0)
    kernel.nftables.put(kernel.sets, {"203.0.113.5": later}, NOW + 60, 1)
    assert kernel.elements("popgate_granted4") == {"203.0.113.5": 1800}
    assert not kernel.nftables.due(first - 151, 1)
    assert kernel.nftables.due(first - 149, 1)
    kernel.nftables.put(kernel.sets, {"203.0.113.5": later}, first - 100, 1)
    assert kernel.elements("popgate_granted4") == {"203.0.113.5": 160}


def test_another_process_takes_the_sets_up_as_they_are(kernel: Kernel) -> None:
    granted = {"203.0.113.5": int(NOW) + 1800}
    kernel.nftables.put(kernel.sets, {**granted, "203.0.113.6": int(NOW) + 1800}, NOW, 0)
    Nftables(kernel.settings).put(kernel.sets, granted, NOW, 0)
    assert kernel.elements("popgate_granted4").keys() == {"203.0.113.5"}


def test_a_firewall_that_was_loaded_anew_gets_its_sets_back(kernel: Kernel) -> None:
    granted = {"203.0.113.5": int(NOW) + 1800}
    kernel.nftables.put(kernel.sets, granted, NOW, 0)
    kernel.nft("flush", "ruleset")
    assert kernel.nftables.due(NOW + 60, 60)
    kernel.nftables.put(kernel.sets, granted, NOW + 60, 60)
    assert kernel.elements("popgate_granted4").keys() == {"203.0.113.5"}
    assert kernel.holds("popgate_trusted4", "198.51.100.1")


def test_nothing_is_run_when_nothing_changed(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    granted = {"203.0.113.5": int(NOW) + 1800}
    kernel.nftables.put(kernel.sets, granted, NOW, 0)
    monkeypatch.setattr("tracker.writing.nftables.run", lambda *_: pytest.fail("nft was run"))
    kernel.nftables.put(kernel.sets, granted, NOW + 1, 1)


def test_a_failure_is_tried_again_after_a_while_and_then_made_up_for(kernel: Kernel) -> None:
    granted = {"203.0.113.5": int(NOW) + 1800}
    nftables = kernel.nftables
    nftables.put(kernel.sets, {}, NOW, 0)
    nftables._command = ("nft-that-is-not-there",)
    with pytest.raises(ExportError, match="nft-that-is-not-there"):
        nftables.put(kernel.sets, granted, NOW, 1)
    nftables._command = kernel.argv
    assert not nftables.due(NOW, 2)
    assert nftables.due(NOW, 61)
    nftables.put(kernel.sets, granted, NOW + 60, 61)
    assert kernel.elements("popgate_granted4") == {"203.0.113.5": 1740}


def test_networks_of_ipv6_can_have_a_timeout(namespace: str) -> None:
    kernel = Kernel(namespace, ipv6_prefix=64)
    granted = {"2001:db8:1:2::/64": int(NOW) + 1800}
    kernel.nftables.put(kernel.sets, granted, NOW, 0)
    assert kernel.holds("popgate_granted6", "2001:db8:1:2::5")
    Nftables(kernel.settings).put(kernel.sets, {}, NOW, 0)
    assert not kernel.holds("popgate_granted6", "2001:db8:1:2::5")
