"""Pages that need no login: the map of all factories, the status page, and the language switch.

The server renders all of their content, so they work without JavaScript. They show no personal data; only the map shows
a logged-in person's antenna to this person.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from jupyterhub.handlers import BaseHandler
from tornado import web

from factorycommon.language import N_
from factorycommon.models import ANTENNA, MaintenanceView, Model, NetworkAntenna, NetworkFactory, NetworkView
from factorycommon.version import version
from factorylink.client import LinkAddress, LinkSilent
from factoryspawner.gateway import gateway
from factoryspawner.language import COOKIE, PageLanguage, languages
from factoryspawner.pages import map_marks, map_projection

_YEAR_DAYS = 365
# Minimum distances between two numbers, and between a number and an antenna, in the map's units. A number is 26 px wide
# on a page of at least 576 px, whose map is at least 500 px wide, and 24 px on a narrower page, whose map is at least
# 285 px wide (network.css).
WIDE = (54.0, 40.0)
NARROW = (86.0, 62.0)
OLD_SECONDS = 120.0  # the link asks for jobs every 30 s, and for free resources every 20 s while somebody looks


class Marked(Model):
    """A factory or antenna on the map.

    ``number``: the index in the page's list, from 1 for factories, from 0 for antennas; ``x``, ``y``: the position in
    the map's units; ``kind``: ``antenna``, or the factory's state as the function ``kind`` returns it.
    """

    id: str
    number: int
    x: float
    y: float
    kind: str


class MapFactory(Marked):
    """A factory on the map. ``wide`` and ``narrow``: the positions of its number on a wide and on a narrow page."""

    name: str
    wide: map_marks.Spot
    narrow: map_marks.Spot


class MapLine(Model):
    """A line on the map, from an antenna to a factory to which the antenna is linked."""

    antenna: str
    x1: float
    y1: float
    x2: float
    y2: float


class Drawing(Model):
    """What is drawn over the map's land; all positions and sizes are in the map's own units, not in pixels."""

    width: int = map_projection.WIDTH
    height: int = map_projection.HEIGHT
    factories: tuple[MapFactory, ...] = ()
    antennas: tuple[Marked, ...] = ()
    lines: tuple[MapLine, ...] = ()


class StatusView(Model):
    """The answer to ``GET /hub/status.json``.

    ``hub``: always ``ok``; ``link``: ``ok``, or ``silent`` if the link does not answer the hub, so that the state of
    the factories is unknown; ``version``: the version of the hub's program; ``factories``: those that this hub offers,
    none if the link is silent.
    """

    hub: str = "ok"
    version: str
    link: str
    factories: tuple[NetworkFactory, ...] = ()


def kind(factory: NetworkFactory, now: datetime) -> str:
    """Return a factory's state as a word: its health if this hub offers the factory, else ``planned`` or ``template``.

    A healthy factory in maintenance is ``maintenance`` if none of its partitions has a node left, else ``partly``. A
    factory that this hub does not offer is ``planned`` if the catalogue's entry has this state, else ``template``, also
    if the entry's state is ``live``.
    """
    if factory.health is not None:
        if factory.health.state == "ok" and (running := _running(factory, now)):
            return "maintenance" if _closed(factory, running) else "partly"
        return factory.health.state
    return "planned" if factory.state == "planned" else "template"


def _running(factory: NetworkFactory, now: datetime) -> list[MaintenanceView]:
    return [one for one in factory.maintenance if one.start <= now < one.end]


def _closed(factory: NetworkFactory, running: list[MaintenanceView]) -> bool:
    closes = {name for one in running for name in one.closes}
    return bool(closes) and closes >= {load.name for load in factory.partitions}


def maintenance_from(factory: NetworkFactory, now: datetime) -> datetime | None:
    """Return when the next announced maintenance of an available factory begins.

    None if none is announced, if one is in progress, or if the factory is not available.
    """
    if kind(factory, now) != "ok":
        return None
    return min((one.start for one in factory.maintenance if one.start > now), default=None)


def as_of(factory: NetworkFactory) -> datetime | None:
    """Return the time of the data that pages show of a factory.

    None if the hub does not offer the factory, if the factory does not answer the link, or if the link has no data of
    the factory yet.
    """
    if factory.health is None or factory.health.state == "unreachable":
        return None
    return factory.loads_at if factory.partitions else factory.health.answered_at


def is_old(at: datetime | None, now: datetime) -> bool:
    """Return whether ``at`` is more than ``OLD_SECONDS`` before ``now``; False if ``at`` is None.

    ``OLD_SECONDS`` is several of the link's polling intervals.
    """
    return at is not None and (now - at).total_seconds() > OLD_SECONDS


def own_antenna(user: Any) -> str:
    """Return the id of the antenna that a person last selected at a login; "" if there is none.

    ``user``: the hub's user; None: nobody is logged in.
    """
    groups = (group.name for group in user.groups) if user is not None else ()
    return next((name.removeprefix(ANTENNA) for name in groups if name.startswith(ANTENNA)), "")


def drawing(network: NetworkView, now: datetime) -> Drawing:
    """Return the present map of all factories and antennas that have coordinates in the catalogue.

    Entries without coordinates are in the page's list only.
    """
    spots = {one.id: map_projection.place(one.at) for one in network.factories if one.at is not None}
    antennas, lines = [], []
    for number, antenna in enumerate(network.antennas):
        if antenna.at is None:
            continue
        x, y = map_projection.place(antenna.at)
        antennas.append(Marked(id=antenna.id, number=number, x=x, y=y, kind="antenna"))
        ends = [spots[name] for name in antenna.factories if name in spots]
        lines += [MapLine(antenna=antenna.id, x1=x, y1=y, x2=end[0], y2=end[1]) for end in ends]
    places, fixed = tuple(spots.values()), tuple((one.x, one.y) for one in antennas)
    wide, narrow = (
        dict(zip(spots, map_marks.spread(places, fixed, *distances), strict=True)) for distances in (WIDE, NARROW)
    )
    factories = [
        MapFactory(id=one.id, name=one.name, number=number, x=spots[one.id][0], y=spots[one.id][1], kind=kind(one, now),
                wide=wide[one.id], narrow=narrow[one.id])
        for number, one in enumerate(network.factories, 1)
        if one.id in spots
    ]  # fmt: skip
    return Drawing(factories=tuple(factories), antennas=tuple(antennas), lines=tuple(lines))


def chosen(antennas: Iterable[NetworkAntenna], wanted: str) -> NetworkAntenna | None:
    """Return the antenna with the id ``wanted``; None if ``wanted`` is empty or unknown."""
    return next((one for one in antennas if one.id == wanted), None)


class PublicHandler(BaseHandler):  # type: ignore[misc]  # jupyterhub is untyped
    """The base class of handlers for the gateway's pages; visitors need no login unless a handler requires one."""

    def initialize(self, link_at: LinkAddress, locale: Path) -> None:
        """Keep ``link_at`` (where the link listens) and ``locale`` (the folder of the translations)."""
        self._link_at = link_at
        self._locale = locale

    @property
    def language(self) -> PageLanguage:
        """Return the language of the page."""
        return languages(self._locale).of(self.request)

    async def network(self) -> NetworkView | None:
        """Return the public view of all factories and antennas, in the page's language; None if the link is silent."""
        try:
            found = await gateway(self._link_at).network()
        except LinkSilent:
            return None
        return self.language.spoken(found)

    async def page(self, name: str, **values: Any) -> None:
        """Finish the request with the page made from the gateway's template ``name`` and ``values``.

        Browsers must not store the page. The template also gets the time as ``now``, and functions that describe a
        factory's state.
        """
        self.set_header("Cache-Control", "no-store")
        self.set_header("Content-Language", self.language.code)
        common = {"kind": kind, "maintenance_from": maintenance_from, "as_of": as_of, "is_old": is_old}
        self.finish(await self.render_template(name, now=datetime.now(UTC), **common, **values))


class FactoriesPage(PublicHandler):
    """The page with the map of factories and antennas, and with a list of all of them."""

    async def get(self) -> None:
        """Answer HTML.

        Query: ``antenna``: the id of the antenna whose factories are marked; if the id is empty or unknown, no
        factories are marked. Without this parameter, the person's own antenna is used.
        """
        network = await self.network()
        antennas = network.antennas if network else ()
        own = chosen(antennas, own_antenna(self.current_user))
        asked = self.get_query_argument("antenna", None)
        await self.page(
            "factories.html",
            network=network,
            drawing=drawing(network, datetime.now(UTC)) if network else None,
            own=own,
            mine=own if asked is None else chosen(antennas, asked),
        )


class StatusPage(PublicHandler):
    """The status page: shows whether the link answers, and the state of the factories that this hub offers."""

    async def get(self) -> None:
        """Answer HTML with the same data as ``status.json``."""
        await self.page("status.html", status=await self.status())

    async def status(self) -> StatusView:
        """Return the state of the offered factories.

        If the link does not answer, return a view without factories, in which ``link`` is ``silent``.
        """
        network = await self.network()
        if network is None:
            return StatusView(version=version(), link="silent")
        offered = tuple(one for one in network.factories if one.health is not None)
        return StatusView(version=version(), link="ok", factories=offered)


class StatusJson(StatusPage):
    """The status as JSON, for programs."""

    async def get(self) -> None:
        """Answer a ``StatusView`` as JSON."""
        self.set_header("Content-Type", "application/json")
        self.set_header("Cache-Control", "no-store")
        self.finish((await self.status()).model_dump_json())


class LanguageSwitch(PublicHandler):
    """Stores in a cookie which language a person selected, and returns to the page that they came from."""

    async def get(self) -> None:
        """Store the language in a cookie, and redirect. Raises HTTPError 400 if there is no such language.

        Query: ``lang``: the language's code; ``next``: the path of this hub to which the redirect leads. Without
        ``next``, or if ``next`` leads outside of this hub, the redirect leads to the hub's base URL.
        """
        wanted = self.get_query_argument("lang", "")
        if wanted not in {one.code for one in languages(self._locale)}:
            raise web.HTTPError(400, N_("There is no such language here."))
        self.set_cookie(COOKIE, wanted, path=self.hub.base_url, expires_days=_YEAR_DAYS, samesite="Lax")
        self.redirect(_own_path(self.get_query_argument("next", ""), self.hub.base_url) or self.hub.base_url)


def _own_path(address: str, base: str) -> str | None:
    """Return ``address`` if it is a path that begins with ``base``, without ``lang`` in its query; else None.

    ``base``: the hub's base URL. An address with a host, a backslash or an unprintable character gives None, too.
    """
    parts = urlsplit(address)
    plain = not (parts.scheme or parts.netloc) and "\\" not in address and not address.startswith("//")
    if not (plain and parts.path.startswith(base) and address.isprintable()):
        return None
    asked = parse_qsl(parts.query, keep_blank_values=True)
    kept = [(name, value) for name, value in asked if name != "lang"]
    return address if kept == asked else parts._replace(query=urlencode(kept)).geturl()


def routes(link_at: LinkAddress, locale: Path) -> list[tuple[Any, ...]]:
    """Return the routes for ``c.JupyterHub.extra_handlers``; JupyterHub puts ``/hub`` before them.

    ``link_at``: where the link listens; ``locale``: the folder of the translations.
    """
    to_link = {"link_at": link_at, "locale": locale}
    return [
        (r"/factories", FactoriesPage, to_link),
        (r"/status", StatusPage, to_link),
        (r"/status\.json", StatusJson, to_link),
        (r"/gateway/language", LanguageSwitch, to_link),
    ]
