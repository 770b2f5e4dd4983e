"""The process of the service: connects its parts, runs its HTTP servers in one event loop, and ends cleanly."""

from __future__ import annotations

import asyncio
import logging
import signal
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from factorycommon.private_files import read_or_make_key
from factorycommon.service.serving import Listener, StartError, alone, new_server, own_folder, tcp_socket, unix_socket
from factorycommon.tls import HUB, PROXY, WORKSHOPS, TlsError, listening
from workshops.api.callers import TokenCallers
from workshops.api.ending import ending_router, public_router
from workshops.api.helping import help_router
from workshops.api.hub import hub_app
from workshops.api.material import material_router
from workshops.api.moving import moving_router
from workshops.api.rehearsal import rehearsal_router
from workshops.api.room import room_router
from workshops.api.seat_acts import seat_acts_router
from workshops.api.seats import seats_router
from workshops.api.user import user_app
from workshops.clockwork import Clockwork
from workshops.config import WorkshopsConfig
from workshops.ending.service import WorkshopEnding
from workshops.joining.service import Joining
from workshops.link import LinkSocket
from workshops.material.deliveries import MaterialDelivery
from workshops.material.fetcher import MaterialFetcher
from workshops.material.service import MaterialActs, Materials
from workshops.projects.pools import PoolsFile
from workshops.rehearsal.service import Rehearsals
from workshops.room.acts import SeatActs
from workshops.room.service import Room
from workshops.seats.moving import ClassMoves
from workshops.seats.runner import SeatRunner
from workshops.service import Workshops
from workshops.store.store import Store

log = logging.getLogger("workshops")


def utc_now() -> datetime:
    """Return the time of the wall clock, in UTC."""
    return datetime.now(UTC)


async def serve(config: WorkshopsConfig, now: Callable[[], datetime] = utc_now) -> None:
    """Run the workshops service until SIGTERM or SIGINT. ``now``: the clock.

    Raises StartError if the service cannot start, for example because another process of the service uses the same
    folder, and StoreError if the database cannot be used.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    own_folder(config.state_dir)
    with alone(config.state_dir / "workshops.lock", "workshops service"):
        store = Store(config.store)
        try:
            await store.open()
            await _serve(config, store, stop, now)
        except TlsError as error:
            raise StartError(f"tls: {error}") from error
        finally:
            await store.close()


async def _serve(config: WorkshopsConfig, store: Store, stop: asyncio.Event, now: Callable[[], datetime]) -> None:
    pools = PoolsFile(config.pools)
    try:
        secret = read_or_make_key(config.state_dir / "joining.key")
    except (OSError, ValueError) as error:
        raise StartError(f"The key of the join codes cannot be used: {error}") from error

    def changed() -> None:
        clockwork.wake()
        room.wake()
        materials.wake()

    joining = Joining(store, config.joining, secret, config.hub.root, changed, now)
    link = LinkSocket(None if config.link is None else config.link.socket)
    seats = SeatRunner(store, link, now, config.hub.root, config.limits.warm_minutes is None)
    ending = WorkshopEnding.of(config, store, link, pools, joining, secret, now)
    materials = Materials(store, MaterialFetcher(config.state_dir / "material", config.material), now)
    workshops = Workshops(config, store, pools, now, secret, changed, materials.status)
    rehearsals = Rehearsals(workshops, store, link, pools, secret, now, changed, materials.status)
    clockwork = Clockwork(config, store, pools, now, joining.promote, seats, ending.keep, rehearsals.windows)
    room = Room(workshops, store, link, now)
    delivery = MaterialDelivery(workshops, store, link, room.sessions, materials, now)
    room.steps_of, room.trouble_of = materials.steps, seats.trouble
    acts = SeatActs(workshops, store, link, room, seats, materials.is_ready, delivery.anew, now)
    more = (
        partial(room_router, room),
        partial(help_router, room.helping),
        partial(seat_acts_router, acts),
        partial(seats_router, workshops, store, seats),
        partial(moving_router, ClassMoves(workshops, store, seats, now, changed)),
        partial(ending_router, workshops, ending),
        partial(material_router, MaterialActs(workshops, materials), delivery),
        partial(rehearsal_router, rehearsals),
    )
    callers = TokenCallers(config.hub, config.tls)
    for_hub = hub_app(workshops, joining, (*more, partial(public_router, ending)))
    for_people = user_app(workshops, joining, callers, config.hub.base_url, more)
    names = (PROXY, HUB, WORKSHOPS)  # `factorygate check` presents the certificate of this service
    listeners = [
        Listener(for_hub, unix_socket(config.socket)),
        Listener(for_people, tcp_socket(config.listen_host, config.listen_port), _tls(config, names)),
    ]
    if (own := config.hub_listener) is not None:
        listeners.append(Listener(for_hub, tcp_socket(own.host, own.port), _tls(config, (HUB,))))
    ticking = asyncio.create_task(clockwork.run(), name="the clock")
    following = asyncio.create_task(room.run(), name="the rooms")
    fetching = asyncio.create_task(materials.run(), name="the material")
    delivering = asyncio.create_task(delivery.run(), name="the delivery of material")
    rehearsing = asyncio.create_task(rehearsals.run(), name="the rehearsals")
    acting = asyncio.create_task(acts.run(), name="what is done to seats")
    servers = [new_server(listener) for listener in listeners]
    serving = [
        asyncio.create_task(server.serve([listener.socket]))
        for server, listener in zip(servers, listeners, strict=True)
    ]
    log.info("The workshops service is up")
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([stopping, *serving], return_when=asyncio.FIRST_COMPLETED)
    log.info("The workshops service ends; classes go on")
    room.close()
    for server in servers:
        server.should_exit = True
    await asyncio.gather(*serving)
    background = (ticking, following, fetching, delivering, rehearsing, acting, stopping)
    for task in background:
        task.cancel()
    await asyncio.gather(*background, return_exceptions=True)
    await seats.close()
    await materials.close()
    await joining.mails.close()
    await callers.close()
    await link.close()
    config.socket.unlink(missing_ok=True)


def _tls(config: WorkshopsConfig, names: tuple[str, ...]) -> ssl.SSLContext | None:
    """Return the TLS settings of a listener that accepts clients whose certificates have one of these names.

    None if the configuration has no TLS. Raises TlsError.
    """
    return None if config.tls is None else listening(config.tls, names)
