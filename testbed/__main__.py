"""``python -m testbed up|down|status|env FACTORY [FACTORY ...]``: exit code 3 where a testbed cannot run here."""

from __future__ import annotations

import argparse
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from factorylink import catalogue
from testbed import cluster
from testbed.errors import CannotLayOut, CannotRun, TestbedError
from testbed.login import Isolation

CHECKOUT = Path(__file__).resolve().parent.parent
CANNOT_RUN = 3


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        return _COMMANDS[options.command](options)
    except CannotRun as error:
        print(f"testbed: {error}", file=sys.stderr)
        return CANNOT_RUN
    except (TestbedError, catalogue.CatalogueError) as error:
        print(f"testbed: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="testbed", description="Real Slurm clusters, laid out as the catalogue says.")
    parser.add_argument("command", choices=sorted(_COMMANDS))
    parser.add_argument("factory", nargs="*", help="ids; none: for up nothing, for the others all that are known")
    parser.add_argument("--state", type=Path, default=CHECKOUT / ".testbed", help="where clusters live")
    parser.add_argument("--packages", type=Path, help="where Slurm is unpacked; default: STATE/packages")
    parser.add_argument("--catalogue", type=Path, default=CHECKOUT / "hub_config/factories")
    parser.add_argument("--gpu-nodes", type=int, default=2, help="nodes of each kind with GPUs")
    parser.add_argument("--cpu-nodes", type=int, default=1, help="nodes of each kind without")
    add_isolation(parser)
    return parser


def add_isolation(parser: argparse.ArgumentParser) -> None:
    """The options that say how factories are isolated; the demo has them too."""
    parser.add_argument("--isolated", action="store_true", help="in network namespaces, behind sshd (root only)")
    parser.add_argument("--forwarding", choices=("yes", "no"), default="yes", help="whether sshd forwards ports")
    parser.add_argument("--carrier", choices=("tcp", "stdio"), help="to the doors; default: tcp if ports are forwarded")


def isolation(options: argparse.Namespace) -> Isolation | None:
    """What those options say."""
    if not options.isolated:
        return None
    forwarding = options.forwarding == "yes"
    return Isolation(forwarding=forwarding, carrier=options.carrier or ("tcp" if forwarding else "stdio"))


def _up(options: argparse.Namespace) -> int:
    factories = catalogue.load(options.catalogue)
    for name in options.factory:
        if name not in factories:
            raise CannotLayOut(f"{name!r} is none of the catalogue's {', '.join(sorted(factories))}")
    for name in options.factory:
        running = cluster.up(
            factories[name],
            options.state,
            options.packages,
            gpu_nodes=options.gpu_nodes,
            cpu_nodes=options.cpu_nodes,
            isolation=isolation(options),
        )
        print(f"{name}: up, {len(running.nodes)} nodes, jobs run as {', '.join(running.accounts)}")
    return 0


def _down(options: argparse.Namespace) -> int:
    names = _named(options)
    clusters = [cluster.load(options.state, name) for name in names]
    with ThreadPoolExecutor() as pool:
        for name, _ in zip(names, pool.map(cluster.Cluster.down, clusters), strict=True):
            print(f"{name}: down")
    return 0


def _status(options: argparse.Namespace) -> int:
    every_one_ready = True
    for name in _named(options):
        found = cluster.load(options.state, name)
        ready = bool(found.pids) and found.ready()
        every_one_ready &= ready
        daemons = ", ".join(f"{daemon} {pid}" for daemon, pid in found.pids.items())
        print(f"{name}: {'ready' if ready else 'not ready'}; {daemons or 'nothing runs'}")
    return 0 if every_one_ready else 1


def _env(options: argparse.Namespace) -> int:
    described = {name: cluster.load(options.state, name).describe() for name in _named(options)}
    print(json.dumps(next(iter(described.values())) if len(described) == 1 else described, indent=1))
    return 0


def _named(options: argparse.Namespace) -> list[str]:
    return options.factory or cluster.known(options.state)


_COMMANDS = {"up": _up, "down": _down, "status": _status, "env": _env}

if __name__ == "__main__":
    sys.exit(main())
