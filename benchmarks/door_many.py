"""Opens many connections to the same door from this process, as a link with many doors would.

``benchmarks.door`` runs ``python -m benchmarks.door_many LINK.YAML CATALOGUE SESSION NUMBER``. The program prints JSON:
the seconds until all connections are open, the seconds until they are open again after all were lost at the same time,
and the memory of this process in bytes per connection.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path

import asyncssh

from benchmarks import measure
from factorycommon.models import Session
from factorylink.catalogue import loading
from factorylink.doors import carriers
from factorylink.doors.manager import DoorManager
from factorylink.site.connecting import make_connections

LIMIT = 300.0  # seconds


async def main(link: Path, factories: Path, session: Session, number: int) -> None:
    """Open the connections, cut them, wait until they are open again, and print the measurements."""
    config = loading.load_link_config(link)
    key = asyncssh.read_private_key(str(config.state_dir / "link_ed25519"))
    name = session.choice.factory
    factory = loading.offered(config, loading.load(factories))[name]
    place = make_connections(config, {name: factory})[name]
    home = await place.commands.home(session.account)
    bridge = loading.bridge_argv(factory, session.choice)
    carrier = carriers.carrier(place.access.door, place.dialect, session.job or "", session.node, bridge)
    file = f"{home}/.factorygate/sessions/{session.id}/door.json"
    lost: list[None] = []

    async def opened(keepers: list[DoorManager]) -> float:
        begin = time.monotonic()

        async def all_open() -> bool:
            return all(keeper.is_open(session.id) for keeper in keepers)

        await measure.until(all_open, LIMIT, f"{number} doors open")
        return time.monotonic() - begin

    keepers = [
        DoorManager(
            config, key, lambda _, status: lost.append(None) if status is None else None, link.parent / "nobody"
        )
        for _ in range(number)
    ]
    # as in the link's DoorManager: the maximum number of connections that are opened at once
    gate = asyncio.Semaphore(16)
    for keeper in keepers:
        keeper._gates[name] = gate
    before = measure.memory(os.getpid())
    await asyncio.gather(
        *(
            keeper.open(carriers.Route(session.id, name, session.account, file, place.commands, place.streams, carrier))
            for keeper in keepers
        )
    )
    seconds = await opened(keepers)
    each = (measure.memory(os.getpid()) - before) / number
    for keeper in keepers:
        connection = keeper._lines[session.id]._connection
        assert connection is not None
        connection.abort()

    async def all_lost() -> bool:
        return len(lost) >= number

    await measure.until(all_lost, LIMIT, "all are lost")
    again = await opened(keepers)
    await asyncio.gather(*(keeper.shutdown() for keeper in keepers))
    await place.commands.close()
    print(json.dumps({"seconds": seconds, "again": again, "bytes": each}))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), Session.model_validate_json(sys.argv[3]), int(sys.argv[4])))
