"""The operator's command ``factorygate``: parses the command line, and runs subcommands such as ``sessions list``."""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from factorycommon.models import DrainBody, MessageBody, Session
from factorycommon.models.plain import plain_text
from factorycommon.service.yaml_file import CatalogueError
from factorycommon.version import version
from factorylink.cli import add_factory
from factorylink.cli import catalogue as cli_catalogue
from factorylink.cli import doctor as cli_doctor
from factorylink.cli import ledger as cli_ledger
from factorylink.cli import projects as cli_projects
from factorylink.cli import usage as cli_usage
from factorylink.client import LinkClient, LinkProblem, LinkSilent
from factorylink.ledger import audit

_SOCKET_VARIABLE = "FACTORYGATE_SOCKET"


def main(argv: Sequence[str] | None = None, more: Sequence[Callable[[Any], None]] = ()) -> int:
    """Run a command; return the exit code.

    0: done; 1: the command failed, or found a problem; 2: the address of the link, or of the workshops
    service, was not given; 130: interrupted.
    Raises SystemExit with code 2 for a wrong command line. ``more``: functions that add the commands of other packages
    to the parser's subparsers.
    """
    options = _parser(more).parse_args(argv)
    try:
        result: int = options.run(options)
    except CatalogueError as error:
        sys.stderr.write(f"{error}\n")
    except LinkProblem as error:
        words = " ".join(part for part in (str(error), error.problem.do) if part)
        sys.stderr.write(f"The link: {plain_text(words)}\n")
    except LinkSilent as error:
        sys.stderr.write(f"The link at {options.socket} cannot be asked: {error}. Does it run, as this user?\n")
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of our output closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    else:
        return result
    return 1


def _parser(more: Sequence[Callable[[Any], None]]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="factorygate", description="Operate a gateway.")
    socket = os.environ.get(_SOCKET_VARIABLE)
    parser.add_argument(
        "--socket", type=Path, default=socket, help=f"the link's Unix socket; else of ${_SOCKET_VARIABLE}"
    )
    parser.add_argument("--version", action="version", version=version(), help="the version of this program")
    parts = parser.add_subparsers(required=True, metavar="WHAT")
    sessions = parts.add_parser("sessions", help="look at sessions, stop one").add_subparsers(required=True)
    listing = sessions.add_parser("list", help="all live sessions, or a person's last ones")
    listing.add_argument("--user", help="of this person only")
    listing.add_argument("--all", action="store_true", help="ended ones too")
    listing.set_defaults(run=_with_link(_list))
    stop = sessions.add_parser("stop", help="stop a session")
    stop.add_argument("id", nargs="+")
    stop.set_defaults(run=_with_link(_stop))
    tell = sessions.add_parser("tell", help="show a message to whoever is in a session")
    tell.add_argument("id")
    tell.add_argument("message", type=_message, help="at most 1000 characters")
    tell.set_defaults(run=_with_link(_tell))
    factory = parts.add_parser("factory", help="add a factory; take nothing new at one, or again").add_subparsers(
        required=True
    )
    drain = factory.add_parser("drain", help="take nothing new; what runs goes on")
    drain.add_argument("factory")
    drain.add_argument("message", type=_drain_message, help="what people are told; at most 500 characters")
    drain.set_defaults(run=_with_link(_drain))
    undrain = factory.add_parser("undrain", help="take new sessions again")
    undrain.add_argument("factory")
    undrain.set_defaults(run=_with_link(_undrain))
    pause = factory.add_parser("pause", help="submit and enter nothing; watching goes on, and what is open stays open")
    pause.add_argument("factory")
    pause.add_argument("message", type=_drain_message, help="what people are told; at most 500 characters")
    pause.set_defaults(run=_with_link(_pause))
    resume = factory.add_parser("resume", help="submit and enter again")
    resume.add_argument("factory")
    resume.set_defaults(run=_with_link(_resume))
    add_factory.add(factory)
    audits = parts.add_parser("audit", help="what was done at a factory, for whom, with which key")
    export = audits.add_subparsers(required=True).add_parser("export", help="to give it to the site")
    export.add_argument("factory")
    export.add_argument("--since", type=_moment, help="day or moment, such as 2026-01-31; UTC unless it says otherwise")
    export.add_argument("--format", choices=("csv", "jsonl"), default="csv")
    export.set_defaults(run=_with_link(_export))
    cli_catalogue.add(parts)
    cli_doctor.add(parts)
    cli_ledger.add(parts)
    cli_projects.add(parts)
    cli_usage.add(parts, _with_link)
    for add in more:
        add(parts)
    parts.add_parser("version", help="of this program").set_defaults(run=_say_version)
    return parser


def _with_link(
    work: Callable[[LinkClient, argparse.Namespace], Awaitable[None]],
) -> Callable[[argparse.Namespace], int]:
    async def run(options: argparse.Namespace) -> None:
        link = LinkClient(options.socket)
        try:
            await work(link, options)
        finally:
            await link.close()

    def start(options: argparse.Namespace) -> int:
        if options.socket is None:
            sys.stderr.write(f"Say where the link is: --socket, or ${_SOCKET_VARIABLE}.\n")
            return 2
        asyncio.run(run(options))
        return 0

    return start


async def _list(link: LinkClient, options: argparse.Namespace) -> None:
    sessions = await link.sessions(user=options.user, live=not options.all, limit=100)
    rows = [("SESSION", "USER", "SERVER", "FACTORY", "SIZE", "STATE", "JOB", "NODE"), *map(_row, sessions)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write(plain_text(line.rstrip()) + "\n")


def _row(session: Session) -> tuple[str, ...]:
    state = session.state.value if session.end_reason is None else f"{session.state.value}: {session.end_reason.value}"
    choice = session.choice
    server, job, node = session.server or "-", session.job or "-", session.node or "-"
    return (session.id, session.user, server, choice.factory, choice.size, state, job, node)


async def _stop(link: LinkClient, options: argparse.Namespace) -> None:
    for session_id in options.id:
        await link.stop(session_id, "operator")
        sys.stdout.write(f"{session_id} is being stopped.\n")


async def _tell(link: LinkClient, options: argparse.Namespace) -> None:
    await link.tell(options.id, options.message)
    sys.stdout.write(f"{options.id} is told.\n")


async def _drain(link: LinkClient, options: argparse.Namespace) -> None:
    await link.drain(options.factory, options.message)
    sys.stdout.write(f"{options.factory} takes nothing new; what runs goes on.\n")


async def _undrain(link: LinkClient, options: argparse.Namespace) -> None:
    await link.undrain(options.factory)
    sys.stdout.write(f"{options.factory} takes new sessions again.\n")


async def _pause(link: LinkClient, options: argparse.Namespace) -> None:
    await link.pause(options.factory, options.message)
    sys.stdout.write(f"Nothing is submitted or entered at {options.factory}; watching goes on.\n")


async def _resume(link: LinkClient, options: argparse.Namespace) -> None:
    await link.resume(options.factory)
    sys.stdout.write(f"{options.factory} is used again.\n")


async def _export(link: LinkClient, options: argparse.Namespace) -> None:
    sys.stdout.write(audit.heading(options.format))
    write = audit.writer(options.format)
    async for line in link.audit(options.factory, options.since):
        sys.stdout.write(write(line))


def _message(text: str) -> MessageBody:
    try:
        return MessageBody(id=secrets.token_hex(8), text=text)
    except ValidationError as error:
        raise argparse.ArgumentTypeError("1 to 1000 characters, no control characters but ends of lines") from error


def _drain_message(text: str) -> str:
    try:
        return DrainBody(message=text).message
    except ValidationError as error:
        raise argparse.ArgumentTypeError("1 to 500 characters are allowed") from error


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        said = f"{text!r} is no day or moment; allowed: 2026-01-31, 2026-01-31T12:00:00+01:00"
        raise argparse.ArgumentTypeError(said) from error
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _say_version(_options: argparse.Namespace) -> int:
    sys.stdout.write(f"{version()}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
