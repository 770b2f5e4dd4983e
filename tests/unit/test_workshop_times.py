"""Times of a class: local times, summer time, and zones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workshops.times import NoSuchTime, in_zone, moment, zone_info

ZONES = st.sampled_from(
    ["Europe/Berlin", "Europe/Lisbon", "Atlantic/Azores", "Asia/Kathmandu", "UTC", "America/St_Johns"]
)


def test_a_class_across_the_end_of_summer_time_lasts_an_hour_longer_than_clocks_show() -> None:
    opens = moment(datetime(2026, 10, 24, 18), "Europe/Berlin")
    starts = moment(datetime(2026, 10, 25, 9), "Europe/Berlin")
    assert (opens, starts) == (datetime(2026, 10, 24, 16, tzinfo=UTC), datetime(2026, 10, 25, 8, tzinfo=UTC))
    assert starts - opens == timedelta(hours=16)
    assert f"{in_zone(starts, 'Europe/Berlin'):%H:%M %Z}" == "09:00 CET"
    assert f"{in_zone(opens, 'Europe/Berlin'):%H:%M %Z}" == "18:00 CEST"


@pytest.mark.parametrize(
    ("local", "code"),
    [
        (datetime(2027, 3, 28, 2, 30), "workshop-no-such-time"),  # clocks go from 2:00 to 3:00
        (datetime(2026, 10, 25, 2, 30), "workshop-time-twice"),  # clocks go from 3:00 back to 2:00
    ],
)
def test_a_time_that_clocks_never_or_twice_show_is_refused(local: datetime, code: str) -> None:
    with pytest.raises(NoSuchTime) as refused:
        moment(local, "Europe/Berlin")
    assert refused.value.args[0].code == code
    assert str(refused.value).endswith("Choose another time.")


def test_an_offset_says_which_of_two_times_is_meant() -> None:
    first = moment(datetime.fromisoformat("2026-10-25T02:30:00+02:00"), "Europe/Berlin")
    second = moment(datetime.fromisoformat("2026-10-25T02:30:00+01:00"), "Europe/Berlin")
    assert second - first == timedelta(hours=1)


@given(st.datetimes(min_value=datetime(2020, 1, 1), max_value=datetime(2040, 1, 1)), ZONES)
def test_a_moment_is_what_clocks_show(local: datetime, zone: str) -> None:
    try:
        found = moment(local, zone)
    except NoSuchTime:
        return
    assert in_zone(found, zone).replace(tzinfo=None) == local


@pytest.mark.parametrize("name", ["Mars/Base", "../../etc/passwd", "/etc/localtime", "", "Europe"])
def test_what_is_no_zone_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="there is no time zone"):
        zone_info(name)


@pytest.mark.parametrize(
    "local",
    [
        "0001-01-01T00:00:00",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59",
        "9999-12-31T23:59:59-12:00",
        "1999-12-31T23:59:59+00:00",
        "9000-01-01T00:00:01+00:00",
    ],
)
def test_a_year_that_no_class_has_is_refused(local: str) -> None:
    for zone in ("Europe/Berlin", "America/St_Johns"):
        with pytest.raises(ValueError, match="is no year for a workshop; allowed: 2000 to 9000"):
            moment(datetime.fromisoformat(local), zone)
