"""The texts for an isolated factory's network: addresses, names, and the border's rules."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest

from testbed.network import namespaces as network
from testbed.network.namespaces import LOGIN, Network

NETWORK = Network(tag="0badcafe", factory="trial", subnet="10.99.7", nodes=("gpu001", "cpu001"), outbound="none")


def accepted(outbound: str) -> list[str]:
    text = network.rules(NETWORK.model_copy(update={"outbound": outbound}))
    return [line for line in text.splitlines() if line.endswith("ACCEPT") and "FORWARD" in line]


def test_every_host_has_an_address_on_the_bridge() -> None:
    inside = ipaddress.ip_network("10.99.7.0/25")
    addresses = [ipaddress.ip_address(address) for address in NETWORK.hosts.values()]
    assert list(NETWORK.hosts) == [LOGIN, "gpu001", "cpu001"]
    assert len(set(addresses)) == 3
    assert all(address in inside for address in addresses)
    assert ipaddress.ip_address(NETWORK.hub) not in inside


def test_names_of_interfaces_fit_the_kernel() -> None:
    assert len(NETWORK.interface) <= 15
    assert all(len(host) <= 15 for host in NETWORK.hosts)


def test_packets_that_are_not_allowed_are_dropped() -> None:
    text = network.rules(NETWORK)
    assert all(f":{chain} DROP" in text for chain in ("INPUT", "FORWARD", "OUTPUT"))
    assert text.index("-A FORWARD -j FAULTS") < text.index("ACCEPT"), "a fault comes before what is let through"


def test_from_the_hub_the_logins_ssh_alone_is_let_in() -> None:
    assert [rule for rule in accepted("none") if "-i hub" in rule] == [
        f"-A FORWARD -i hub -d {NETWORK.hosts[LOGIN]} -p tcp --dport 22 -j ACCEPT"
    ]


@pytest.mark.parametrize("outbound", ["none", "login", "compute"])
def test_the_login_side_alone_is_let_out_where_the_site_does(outbound: str) -> None:
    let_out = [rule for rule in accepted(outbound) if "-o hub" in rule]
    expected = [] if outbound == "none" else [f"-A FORWARD -i inside -s {NETWORK.hosts[LOGIN]} -o hub -j ACCEPT"]
    assert let_out == expected


def test_checkouts_are_told_apart() -> None:
    assert network.tag(Path("/one/it4lia")) != network.tag(Path("/other/it4lia"))
    assert network.tag(Path("/one/it4lia")) == network.tag(Path("/one/it4lia"))


def test_names_are_those_of_all_hosts() -> None:
    assert network.hosts_file(NETWORK).splitlines() == [
        "127.0.0.1 localhost",
        *(f"{address} {name}" for name, address in NETWORK.hosts.items()),
    ]
