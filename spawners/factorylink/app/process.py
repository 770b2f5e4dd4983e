"""The link as one process: connects its parts, runs all servers in one event loop, and ends cleanly."""

from __future__ import annotations

import asyncio
import logging
import signal
import ssl
from collections.abc import Collection, Mapping
from pathlib import Path

from factorycommon.garbage_collection import collect_less_often
from factorycommon.models import Factory
from factorycommon.service.serving import Listener, StartError, alone, new_server, own_folder, tcp_socket, unix_socket
from factorycommon.tls import HUB, LINK, PROXY, TlsError, listening
from factorylink.api.cluster_websocket import ClusterWebSocket
from factorylink.api.door import BackWay, back_app
from factorylink.app.assembly import LinkParts, assemble
from factorylink.background.hub_recovery import HubRecovery
from factorylink.catalogue.catalogue import Catalogue
from factorylink.config import LinkConfig
from factorylink.doors.manager import DoorManager
from factorylink.hub_client import HubClient
from factorylink.jobs.identity import Identity, read_or_make_key, read_or_make_ssh_key
from factorylink.ledger.ledger import Ledger
from factorylink.projects import workshop_table
from factorylink.projects.book import YamlTable
from factorylink.projects.workshop_table import WorkshopTable
from factorylink.site.connecting import make_connections
from factorylink.site.offered_factories import OfferedFactories

log = logging.getLogger("factorylink")

_USER_API = "http://user-api"  # a name for the user app's Unix socket


async def serve(config: LinkConfig, factories: Mapping[str, Factory], federation: Catalogue) -> None:
    """Run the link until SIGTERM or SIGINT. Raises StartError, LedgerError.

    ``factories``: the factories that this hub offers, with the overrides of ``config`` applied; ``federation``: the
    whole catalogue.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    own_folder(config.state_dir)
    with alone(config.state_dir / "link.lock", "link"):
        ledger = Ledger(config.database, alone=True)
        try:
            await ledger.open()
            await _serve(config, factories, federation, ledger, stop)
        except TlsError as error:
            raise StartError(f"tls: {error}") from error
        finally:
            await ledger.close()


async def _serve(
    config: LinkConfig,
    factories: Mapping[str, Factory],
    federation: Catalogue,
    ledger: Ledger,
    stop: asyncio.Event,
) -> None:
    back_socket, user_socket = config.state_dir / "back.sock", config.state_dir / "user.sock"
    parts, hub = _build(config, factories, federation, ledger, back_socket), HubClient(config.hub, config.tls)
    recovery, callers = HubRecovery(parts.live_sessions, hub), parts.callers(hub)
    parts.workshop_seats.on_begun = recovery.look_soon
    back = BackWay(config.hub.url, _USER_API, config.hub.base_url, user_socket, config.tls)
    to_schedulers = ClusterWebSocket(parts.clusters, callers)
    hub_app, user_app = parts.hub_app(recovery), parts.user_app(callers, config.hub.base_url)
    from_doors = back_app(back)
    for app in (user_app, from_doors):  # sessions also open WebSockets through their door
        app.add_api_websocket_route(
            f"{config.hub.base_url}services/factories/api/clusters/{{cluster_id}}/wire", to_schedulers.handle
        )
    listeners = [
        Listener(hub_app, unix_socket(config.socket)),
        Listener(user_app, unix_socket(user_socket)),
        Listener(from_doors, unix_socket(back_socket)),
        Listener(user_app, tcp_socket(config.listen_host, config.listen_port), _tls(config, (PROXY, HUB, LINK))),
    ]
    workshops = None if config.workshops is None else config.workshops.socket
    if workshops is not None:  # the socket gets the group of the shared files, as the table of projects has it
        listeners.append(Listener(parts.workshops_app(), unix_socket(workshops, mode=0o660)))
    if (own := config.hub_listener) is not None:
        listeners.append(Listener(hub_app, tcp_socket(own.host, own.port), _tls(config, (HUB,))))
    if (read := config.metrics) is not None:
        tls = _tls(config, None) if read.tls else None
        listeners.append(Listener(parts.metrics_app(), tcp_socket(read.host, read.port), tls))
    collect_less_often()
    await parts.start()
    parts.tasks.begin(parts.revocation.run(), "ending what nobody may use any more")
    parts.measure()
    parts.tasks.begin(recovery.run(), "bringing back what the hub forgot")
    parts.tasks.begin(parts.account_holds.run(), "wiping and giving back held accounts")
    servers = [new_server(listener) for listener in listeners]
    serving = [
        asyncio.create_task(server.serve([listener.socket]))
        for server, listener in zip(servers, listeners, strict=True)
    ]
    log.info("The link is up: %s", ", ".join(factories))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([stopping, *serving], return_when=asyncio.FIRST_COMPLETED)
    log.info("The link ends; jobs and notebooks go on")
    parts.end_streams()
    for server in servers:
        server.should_exit = True
    await asyncio.gather(*serving)
    await parts.close()
    await hub.close()
    await back.close()
    stopping.cancel()
    for path in filter(None, (config.socket, user_socket, back_socket, workshops)):
        path.unlink(missing_ok=True)


def _build(
    config: LinkConfig, factories: Mapping[str, Factory], federation: Catalogue, ledger: Ledger, back_socket: Path
) -> LinkParts:
    try:
        make = config.key_dir is None  # if an operator provides the keys, the link must not make a missing one
        identity = Identity(config.hub.name, read_or_make_key(config.keys / "hmac.key", make))
        ssh_key = read_or_make_ssh_key(config.keys / "link_ed25519", make)
    except (OSError, ValueError) as error:
        raise StartError(f"The link's keys cannot be used: {error}") from error
    try:
        offered = make_connections(config, factories)
    except ValueError as error:
        raise StartError(str(error)) from error
    doors = DoorManager(
        config,
        ssh_key,
        lambda session_id, status: parts.listener.on_status(session_id, status),
        back_socket,
    )
    known, ours = federation.factories, config.factories
    refuse = workshop_table.reserved if config.workshops is not None else lambda _projects: ()
    table = None if config.projects is None else YamlTable(config.projects, known, ours, refuse)
    workshops = (
        None if config.workshops is None else WorkshopTable(config.workshops, known, ours, config.kept_workshops)
    )
    public_key = ssh_key.export_public_key().decode().split()[1]
    factories_here = OfferedFactories(ledger, offered, federation)
    parts = assemble(config, ledger, identity, factories_here, doors, public_key, table, workshops)
    return parts


def _tls(config: LinkConfig, names: Collection[str] | None) -> ssl.SSLContext | None:
    """Return the SSL context of a listener that accepts only clients with a certificate.

    None: the link itself has no certificate. ``names``: the names that a client's certificate may have; None: any name.
    Raises TlsError.
    """
    return None if config.tls is None else listening(config.tls, names)
