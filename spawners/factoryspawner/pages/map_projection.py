"""Projects coordinates to the map of Europe, by a Lambert azimuthal equal-area projection on a sphere.

Results are in the map's units. ``hub_config/static/europe.svg`` is drawn by the same functions (``bin/map``), so that
points and coasts fit together.
"""

from __future__ import annotations

from math import cos, radians, sin, sqrt

from factorycommon.models import Point

WIDTH, HEIGHT = 1000, 990  # size of the map in its own units
_CENTRE = Point(latitude=52, longitude=10)
_EARTH_KM = 6371.0
_UNIT_KM = 4.1
_LEFT_KM, _TOP_KM = -1800.0, 2210.0  # the map's left and upper edge, in km from the centre


def project(latitude: float, longitude: float) -> tuple[float, float]:
    """Return ``(x, y)`` in the map's units, from its upper left corner.

    A point outside of the map gets a position outside of it.
    """
    lat, lat0 = radians(latitude), radians(_CENTRE.latitude)
    turn = radians(longitude - _CENTRE.longitude)
    towards = 1 + sin(lat0) * sin(lat) + cos(lat0) * cos(lat) * cos(turn)
    scale = _EARTH_KM * sqrt(2 / max(towards, 1e-9))
    east = scale * cos(lat) * sin(turn)
    north = scale * (cos(lat0) * sin(lat) - sin(lat0) * cos(lat) * cos(turn))
    return (east - _LEFT_KM) / _UNIT_KM, (_TOP_KM - north) / _UNIT_KM


def place(at: Point) -> tuple[float, float]:
    """Return the position of a catalogue's point on the map, rounded to a tenth of a unit."""
    x, y = project(at.latitude, at.longitude)
    return round(x, 1), round(y, 1)
