"""Stand-ins for notebooks, so that hundreds of sessions fit on one machine.

Each job is a waiting shell of 4 MB, and one process serves all sessions. For this gateway the process opens a real door
for each job (``factorygate.session.door``: its SSH server, keys and commands), behind which a server answers 200
instead of JupyterLab. For batchspawner it listens on a port for each job, answers 200 there, and tells the hub the port
as ``batchspawner-singleuser`` does. So the cost of a notebook for its node, and the notebook's own start, are left out;
the cost of a session for gateway, scheduler and login side is complete.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from benchmarks import programs
from benchmarks.bed import ROOT, Bed
from factorygate.session import door
from factorygate.session.status import OLDEST_PROTOCOL, DoorStatusLine, moment

_OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"

# The program that replaces the environment's Python on both sides; it gets the arguments of door or
# batchspawner-singleuser.
_JOB = """\
#!/bin/bash
start=$EPOCHREALTIME kind=plain end=${FACTORYGATE_JOB_END:--}
while [ $# -gt 0 ]; do
  case $1 in
    factorygate.session) kind=door ;;
    --id) id=$2 ;;
    --folder) folder=$2 ;;
    --authorized) key=$2 ;;
  esac
  shift
done
exec 3<>/dev/tcp/127.0.0.1/{port}
echo "$kind $start $SLURM_JOB_ID ${id:--} ${key:--} ${JUPYTERHUB_API_URL:--} ${JUPYTERHUB_API_TOKEN:--} $end" >&3
if [ $kind = door ]; then
  umask 077
  read -r found <&3
  echo "$found" >"$folder/door.json.new" && mv "$folder/door.json.new" "$folder/door.json"
fi
read -r code <&3
exit "$code"
"""


@asynccontextmanager
async def standins(bed: Bed) -> AsyncIterator[Bed]:
    """Yield a copy of ``bed`` whose notebook Python is the stand-in, while the stand-in's process runs.

    ``bed.folder/starts`` gets a line for each job, with its session (``-`` for batchspawner's) and the Unix time of its
    first command.
    """
    program = bed.cluster.folder / "standin"
    port = programs.free_port()
    program.write_text(_JOB.replace("{port}", str(port)))
    program.chmod(0o755)
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT}:{ROOT / 'spawners'}:{ROOT / 'extensions'}"}
    async with programs.running(bed.folder) as run:
        await run("standin", (sys.executable, "-m", "benchmarks.standin", str(port), str(bed.folder / "starts")), env)
        await programs.listening(run, port)
        yield replace(bed, notebook_python=program)


class _Session:
    """A simulated session behind a door; its notebook answers as soon as it has received its environment variables."""

    def __init__(self, status: DoorStatusLine) -> None:
        self.status = status
        self.over = asyncio.Event()
        self._changed = asyncio.Condition()
        self._token: str | None = None

    async def publish(self, **changes: Any) -> None:
        async with self._changed:
            self.status = replace(self.status, **changes)
            self._changed.notify_all()

    async def changed(self, seen: DoorStatusLine) -> DoorStatusLine:
        async with self._changed:
            await self._changed.wait_for(lambda: self.status != seen)
        return self.status

    async def take_environment(self, told: dict[str, Any]) -> DoorStatusLine:
        self._token = told["environment"].get("JUPYTERHUB_API_TOKEN")
        now = moment(time.time())
        await self.publish(environment=True, phase="up", opened=True, last_activity=now)
        return self.status

    def token(self) -> str | None:
        return self._token

    def end(self, *_: object) -> None:
        self.over.set()

    def new_end(self, _told: object) -> DoorStatusLine:
        return self.status


class Server:
    """The process that serves all sessions of a run."""

    def __init__(self, starts: Path, folder: Path) -> None:
        self._starts = starts
        self._folder = folder
        self._http = httpx.AsyncClient(limits=httpx.Limits(max_connections=None), timeout=60, trust_env=False)

    async def serve(self, port: int) -> None:
        await asyncio.start_unix_server(_answer, self._folder / "notebook.sock")
        async with await asyncio.start_server(self._job, "127.0.0.1", port, backlog=1024) as server:
            await server.serve_forever()

    async def _job(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = (await reader.readline()).decode().split()
        if len(line) != 8:
            writer.close()  # the client only checks whether anybody listens
            return
        kind, start, job, session, key, api, token, end = line
        with self._starts.open("a") as file:
            file.write(f"{session} {start}\n")
        if kind == "door":
            await self._door(reader, writer, job, session, key, moment(float(end)) if end != "-" else None)
        else:
            await self._plain(reader, api, token)
        writer.close()

    async def _door(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        job: str,
        session_id: str,
        key: str,
        ends: str | None,
    ) -> None:
        status = DoorStatusLine(
            session=session_id,
            job=job,
            phase="waiting",
            release="0",
            ends=ends,
            notebook_sock=str(self._folder / "notebook.sock"),
            hub_sock=str(self._folder / f"{job}.hub"),
        )
        session = _Session(status)
        opened = door.Door(session, key)  # type: ignore[arg-type]  # that is the stand-in
        bound = door.bind("127.0.0.1", None)
        await opened.open(bound)
        where = {"protocol": OLDEST_PROTOCOL, "session": session_id, "job": job, "port": bound.getsockname()[1]}
        writer.write((json.dumps({**where, "host_key": opened.host_key}) + "\n").encode())
        gone, over = asyncio.create_task(reader.read()), asyncio.create_task(session.over.wait())
        await asyncio.wait((gone, over), return_when=asyncio.FIRST_COMPLETED)
        if session.over.is_set():
            await session.publish(phase="ended", end_reason="stopped", exit_code=0)
            writer.write(b"0\n")
        await gone
        over.cancel()
        await opened.close()

    async def _plain(self, reader: asyncio.StreamReader, api: str, token: str) -> None:
        async with await asyncio.start_server(_answer, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            headers = {"Authorization": f"token {token}"}
            answer = await self._http.post(f"{api}/batchspawner", json={"port": port}, headers=headers)
            answer.raise_for_status()
            await reader.read()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
        )
        await writer.drain()
    writer.close()


async def main(port: int, starts: Path) -> None:
    """Serve until killed. ``port``: where jobs announce themselves; ``starts``: the file that gets a line for each."""
    with tempfile.TemporaryDirectory() as folder:
        await Server(starts, Path(folder)).serve(port)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2])))
