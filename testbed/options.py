"""Options of the command line that testbed and demo share.

This module uses only the standard library, since the demo's first start checks the options before anything is
installed.
"""

from __future__ import annotations

import argparse


def add_gpu_nodes(parser: argparse.ArgumentParser) -> None:
    """Add the option for the number of nodes with GPUs of each kind."""
    parser.add_argument("--gpu-nodes", type=int, default=2, help="nodes of each kind with GPUs")


def add_accounting(parser: argparse.ArgumentParser) -> None:
    """Add the option that turns on accounts and QOS."""
    parser.add_argument(
        "--accounting", action="store_true", help="with slurmdbd: accounts, QOS and limits are enforced"
    )


def add_isolation(parser: argparse.ArgumentParser) -> None:
    """Add the options for isolated factories."""
    parser.add_argument("--isolated", action="store_true", help="in network namespaces, behind sshd (root only)")
    parser.add_argument("--forwarding", choices=("yes", "no"), default="yes", help="whether sshd forwards ports")
    parser.add_argument("--carrier", choices=("tcp", "stdio"), help="to the doors; default: tcp if ports are forwarded")


def isolation_argv(options: argparse.Namespace) -> list[str]:
    """Return the isolation options as command-line arguments, for another process."""
    carrier = ["--carrier", options.carrier] if options.carrier else []
    return ["--isolated", "--forwarding", options.forwarding, *carrier] if options.isolated else []
