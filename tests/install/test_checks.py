"""The checks of factorygate-install before it changes anything."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

import pytest

from factoryinstaller import checks
from factoryinstaller.errors import InstallerError
from testbed import ports

DEBIAN = 'PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\nVERSION_ID="13"\nID=debian\n'


def test_known_systems_are_taken() -> None:
    assert checks.system(DEBIAN) == "Debian 13"
    assert checks.system('ID=ubuntu\nVERSION_ID="24.04"\n') == "Ubuntu 24.04"


@pytest.mark.parametrize("text", [DEBIAN.replace("13", "12"), 'ID=fedora\nPRETTY_NAME="Fedora 43"\n', ""])
def test_another_system_is_refused_with_its_name(text: str) -> None:
    with pytest.raises(InstallerError, match=r"This is .*made for Debian 13 and Ubuntu 24\.04"):
        checks.system(text)


def fails(_domain: str) -> list[str]:
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def test_a_name_that_does_not_resolve_is_refused() -> None:
    with pytest.raises(InstallerError, match=r"gateway\.example\.org does not resolve .*80 and 443"):
        checks.name("gateway.example.org", fails, checks.is_ours)


@pytest.mark.parametrize(("ours", "remark"), [(lambda _: True, ""), (lambda _: False, "no address of this machine")])
def test_a_name_that_leads_elsewhere_is_remarked(ours: Callable[[str], bool], remark: str) -> None:
    said = checks.name("gateway.example.org", lambda _: ["192.0.2.1"], ours)
    assert remark in said
    assert bool(said) == bool(remark)


def test_an_address_of_this_machine_is_known() -> None:
    assert checks.is_ours("127.0.0.1")
    assert not checks.is_ours("192.0.2.1")


def test_a_port_of_another_program_is_refused_with_its_name() -> None:
    port = ports.single()  # no connection of another program takes it afterwards
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        with open("/proc/self/comm", encoding="utf-8") as file:
            me = file.read().strip()
        with pytest.raises(InstallerError, match=f"Port {port} is used by {me}"):
            checks.ports(lambda _service: False, {port: "x.service"})
        checks.ports(lambda service: service == "x.service", {port: "x.service"})
    checks.ports(lambda _service: False, {port: "x.service"})


@pytest.mark.skipif(os.geteuid() == 0, reason="is root")
def test_an_ordinary_user_is_told_to_use_sudo() -> None:
    with pytest.raises(InstallerError, match="sudo"):
        checks.machine(checks.Path("/"))
