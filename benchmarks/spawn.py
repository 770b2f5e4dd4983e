"""Measures the time from the POST that starts a server to the first answer 200 through the proxy, ten times each.

This gateway and batchspawner alternate on the same idle Slurm, with the same environment, people and proxy program. The
baseline is the bare single-user server of that environment, started as the same Unix account, until it answers. All
three notebooks are polled every 0.05 s. Between two starts the server is stopped and the queue is empty. The result is
the median.

The session's own log, and the time in which Slurm starts an empty job, show the causes of the time above the baseline.
"""

from __future__ import annotations

import asyncio
import pwd
import socket
import time
from collections.abc import Mapping

import httpx

from benchmarks import gateways, measure
from benchmarks.bed import SIZE, Bed, as_user, bed

TIMES = 10
LIMIT = 120.0  # seconds


async def one_start(gateway: gateways.Gateway, server: str, tell: bool = False) -> float:
    """Return the seconds from the POST to the first 200; then stop the server, and wait until the queue is empty.

    ``tell``: whether to print the link's log of the session.
    """
    person = gateway.bed.people[0]
    begin = time.monotonic()
    post = asyncio.create_task(gateway.start_server(person, server))

    async def answers() -> bool:
        if post.done():
            post.result()  # raises an error if the POST was refused
        return await gateway.answers(person, server)

    await measure.until(answers, LIMIT, f"{gateway.name} starts {server}")
    taken = time.monotonic() - begin
    await post
    if tell:
        for line in await gateway.story(person, server):
            measure.note(f"{gateway.name}, last start: {line}")
    await gateway.stop_server(person, server)
    await gateway.bed.idle()
    return taken


async def _bare(on: Bed, person: str, hub_api: str, token: str) -> float:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    home = pwd.getpwnam(person).pw_dir
    prefix = f"/user/{person}/bare/"
    env: Mapping[str, str] = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "HOME": home,
        "USER": person,
        "PYTHONNOUSERSITE": "1",
        "JUPYTERHUB_API_URL": f"{hub_api}/hub/api",
        "JUPYTERHUB_ACTIVITY_URL": f"{hub_api}/hub/api/users/{person}/activity",
        "JUPYTERHUB_API_TOKEN": token,
        "JUPYTERHUB_BASE_URL": "/",
        "JUPYTERHUB_CLIENT_ID": f"jupyterhub-user-{person}-bare",
        "JUPYTERHUB_HOST": "",
        "JUPYTERHUB_OAUTH_CALLBACK_URL": f"{prefix}oauth_callback",
        "JUPYTERHUB_OAUTH_SCOPES": "[]",
        "JUPYTERHUB_OAUTH_ACCESS_SCOPES": "[]",
        "JUPYTERHUB_SERVER_NAME": "bare",
        "JUPYTERHUB_SERVICE_PREFIX": prefix,
        "JUPYTERHUB_SERVICE_URL": f"http://127.0.0.1:{port}{prefix}",
        "JUPYTERHUB_USER": person,
    }
    argv = (*as_user(person), str(on.notebook_python.parent / "jupyterhub-singleuser"))
    with (on.folder / "bare.log").open("ab") as log:
        begin = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            *argv, env=env, cwd=home, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log
        )
        try:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}{prefix}") as client:

                async def answers() -> bool:
                    try:
                        return (await client.get("api")).status_code == 200
                    except httpx.TransportError:
                        return False

                await measure.until(answers, LIMIT, f"the bare server answers (log in {on.folder})")
                return time.monotonic() - begin
        finally:
            process.terminate()
            await process.wait()


async def empty_job(on: Bed) -> float:
    """Return the median of the seconds from ``sbatch`` until the job's script starts, by the machine's clock."""
    taken = []
    size = next(size for size in on.factory.sizes if size.id == SIZE)
    home = pwd.getpwnam(on.people[0]).pw_dir
    for number in range(TIMES):
        output = f"{home}/.factorygate-bench-{number}"
        begin = time.time()
        await asyncio.to_thread(
            on.as_account, on.people[0], "sbatch", f"--partition={size.partition}", f"--gres=gpu:{size.gpus}",
            "--time=5", f"--output={output}", "--wrap=date +%s.%N",
        )  # fmt: skip
        await on.idle()
        taken.append(float((await asyncio.to_thread(on.as_account, on.people[0], "cat", output)).stdout) - begin)
        await asyncio.to_thread(on.as_account, on.people[0], "rm", output)
    return measure.median(taken)


async def main() -> None:
    """Run the benchmark, and print the results."""
    ours: list[float] = []
    theirs: list[float] = []
    bare: list[float] = []
    with bed("spawn") as on:
        slurm = await empty_job(on)
        async with gateways.ours(on) as gateway, gateways.peer(on) as peer:
            token = await gateway.token(on.people[0])
            for number in range(TIMES + 1):
                ours.append(await one_start(gateway, f"s{number}", tell=number == TIMES))
                theirs.append(await one_start(peer, f"s{number}"))
                bare.append(await _bare(on, on.people[0], gateway.hub_api, token))
    for name, share in (("median", 0.5), ("slowest", 1.0)):
        # The first round fills caches and is not counted.
        at = [measure.percentile(taken[1:], share) for taken in (ours, theirs, bare)]
        measure.report("spawn", f"ready-{name}", at[0], {"batchspawner": at[1], "floor": at[2]}, "s")
    middle = [measure.median(taken[1:]) for taken in (ours, theirs, bare)]
    measure.note(
        f"over the floor: ours {middle[0] - middle[2]:.2f} s, batchspawner {middle[1] - middle[2]:.2f} s; Slurm takes "
        f"{slurm:.2f} s from sbatch to the first line of an empty job, and the rest is the door and the way through it"
    )


if __name__ == "__main__":
    asyncio.run(main())
