"""``python -m testbed up|down|status|env [FACTORY ...]``. Exit code 3 if a testbed cannot run here.

Without FACTORY, ``up`` does nothing, and the others apply to all known testbeds.

``python -m testbed fault FACTORY KIND [ARG ...] [--undo]`` causes or undoes a fault of a factory; ``fault FACTORY``
lists its present faults. ``fault demo clock hub|link SECONDS`` sets the clock of the demo's hub or link to SECONDS
ahead of the right time (less than 0: behind; 0 or ``--undo``: right again) and restarts that program.
"""

from __future__ import annotations

import argparse
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from factorylink.catalogue import loading
from testbed import clock, factories
from testbed.errors import CannotLayOut, CannotRun, NoSuchFault, TestbedError
from testbed.faults import faults
from testbed.faults.kinds import KINDS
from testbed.install import environments as install
from testbed.network.login_side import isolation
from testbed.options import add_accounting, add_gpu_nodes, add_isolation
from testbed.slurm import cluster

CHECKOUT = Path(__file__).resolve().parent.parent
CANNOT_RUN = 3
DEMO = "demo"  # used instead of a factory's id, for the demo's own faults


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return its exit code."""
    options = _parser().parse_intermixed_args(arguments)
    if options.state is None:
        options.state = _state(options)
    try:
        return _COMMANDS[options.command](options)
    except CannotRun as error:
        print(f"testbed: {error}", file=sys.stderr)
        return CANNOT_RUN
    except (TestbedError, loading.CatalogueError) as error:
        print(f"testbed: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="testbed", description="Real clusters, laid out as the catalogue says.")
    parser.add_argument("command", choices=sorted(_COMMANDS))
    parser.add_argument("factory", nargs="*", help="ids; none: for up nothing, for the others all that are known")
    parser.add_argument("--state", type=Path, help="where clusters live; default: .testbed, for faults also the demo's")
    parser.add_argument("--folder", type=Path, help="of the demo, for its clocks; default: .demo of this checkout")
    parser.add_argument("--undo", action="store_true", help="of a fault: the latest of that kind; without a kind: all")
    parser.add_argument("--packages", type=Path, help="where Slurm is unpacked; default: STATE/packages")
    parser.add_argument("--catalogue", type=Path, default=CHECKOUT / "hub_config/factories")
    add_gpu_nodes(parser)
    parser.add_argument("--cpu-nodes", type=int, default=1, help="nodes of each kind without")
    add_accounting(parser)
    add_isolation(parser)
    return parser


def _up(options: argparse.Namespace) -> int:
    known = loading.load(options.catalogue)
    for name in options.factory:
        if name not in known:
            raise CannotLayOut(f"{name!r} is none of the catalogue's {', '.join(sorted(known))}")
    for name in options.factory:
        running = factories.up(
            known[name],
            options.state,
            options.packages,
            gpu_nodes=options.gpu_nodes,
            cpu_nodes=options.cpu_nodes,
            isolation=isolation(options),
            accounting=options.accounting,
        )
        print(f"{name}: up, {len(running.nodes)} nodes, jobs run as {', '.join(running.accounts)}")
    return 0


def _down(options: argparse.Namespace) -> int:
    names = _named(options)
    clusters = [factories.load(options.state, name) for name in names]
    with ThreadPoolExecutor() as pool:
        for name, _ in zip(names, pool.map(lambda one: one.down(), clusters), strict=True):
            print(f"{name}: down")
    return 0


def _status(options: argparse.Namespace) -> int:
    every_one_ready = True
    for name in _named(options):
        found = factories.load(options.state, name)
        ready = bool(found.pids) and found.ready()
        every_one_ready &= ready
        daemons = ", ".join(f"{daemon} {pid}" for daemon, pid in found.pids.items())
        print(f"{name}: {'ready' if ready else 'not ready'}; {daemons or 'nothing runs'}")
    return 0 if every_one_ready else 1


def _env(options: argparse.Namespace) -> int:
    described = {name: factories.load(options.state, name).describe() for name in _named(options)}
    print(json.dumps(next(iter(described.values())) if len(described) == 1 else described, indent=1))
    return 0


def _fault(options: argparse.Namespace) -> int:
    if not options.factory:
        raise NoSuchFault(f"usage: fault FACTORY KIND [ARG ...]; kinds: {', '.join(KINDS)}, clock")
    name, *words = options.factory
    return _clock(options, words) if name == DEMO else _factory_fault(options, name, words)


def _factory_fault(options: argparse.Namespace, name: str, words: list[str]) -> int:
    found = cluster.load(options.state, name)
    if not options.undo and words:
        faults.begin(found, words[0], *words[1:])
        return 0
    standing = [fault for fault in faults.standing(found) if fault.outage.fits(*words)]
    if not options.undo:
        print("".join(f"{fault.outage}\n" for fault in standing), end="")
        return 0
    if words and not standing:
        raise NoSuchFault(f"{name}: no such fault stands: {' '.join(words)}")
    for fault in standing[:1] if words else standing:
        fault.undo()
    return 0


def _clock(options: argparse.Namespace, words: list[str]) -> int:
    folder = options.folder or install.state_folder()
    match words:
        case ["clock", program, seconds] if not options.undo:
            clock.put(folder, program, float(seconds))
        case [] | ["clock"] if options.undo:
            for program in clock.wrong(folder):
                clock.put(folder, program, 0)
        case ["clock", program, *_] if options.undo:
            clock.put(folder, program, 0)
        case []:
            print("".join(f"clock {name} {seconds:g}\n" for name, seconds in clock.wrong(folder).items()), end="")
        case _:
            raise NoSuchFault("usage: fault demo clock hub|link SECONDS, or with --undo")
    return 0


def _state(options: argparse.Namespace) -> Path:
    """Return the folder in which a command looks for clusters if ``--state`` is not given: the checkout's ``.testbed``.

    For ``fault``, it is the demo's folder of clusters if only that folder has a cluster of the factory.
    """
    own, demo = CHECKOUT / ".testbed", install.program_folder() / "clusters"
    asked = options.factory[:1] if options.command == "fault" else []
    return demo if asked and asked[0] in cluster.known(demo) and asked[0] not in cluster.known(own) else own


def _named(options: argparse.Namespace) -> list[str]:
    return options.factory or factories.known(options.state)


_COMMANDS = {"up": _up, "down": _down, "status": _status, "env": _env, "fault": _fault}
