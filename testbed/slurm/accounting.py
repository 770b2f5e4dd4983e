"""Makes slurmdbd's configuration, and the ``sacctmgr`` commands for accounts, QOS and limits, from the catalogue.

The functions return text; no file is touched.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

from factorycommon.models import Factory, Model, Qos
from testbed.slurm import database

UNPAID = "unpaid"  # the account of jobs that name none, at sites where jobs must name one; it may use no partition
_ANY_ACCOUNT = "project_1"  # used if the catalogue has no example
_OTHER_QOS = "unnamed"  # a second QOS, so that Slurm cannot choose one for jobs that name none


class Accounting(Model):
    """The address of slurmdbd, and the data from which it is configured."""

    host: str
    port: int
    packages: Path
    plugins: Path


def account(factory: Factory) -> str:
    """Return the account that is charged for all jobs at the factory. Slurm stores account names in lower case."""
    return (factory.account_example or _ANY_ACCOUNT).lower()


def project_qos(factory: Factory) -> str | None:
    """Return the QOS for jobs whose size has no QOS, or None; sites give this QOS the project's name."""
    needed = factory.qos_mandatory and any(size.qos is None for size in factory.sizes)
    return account(factory) if needed else None


def slurm_settings(where: Accounting, base: Path) -> dict[str, str]:
    """Return the settings of slurm.conf that enable accounting."""
    return {
        "AccountingStorageType": "accounting_storage/slurmdbd",
        "AccountingStorageHost": where.host,
        "AccountingStoragePort": str(where.port),
        "AccountingStoragePass": f"{base}/munge/socket",
        "AccountingStorageTRES": "gres/gpu",
        "AccountingStorageEnforce": "associations,limits,qos,safe",
    }


def slurmdbd_conf(where: Accounting, base: Path, user: str) -> str:
    """Return the text of slurmdbd.conf, which must be 0600."""
    settings = {
        "AuthType": "auth/munge",
        "AuthInfo": f"socket={base}/munge/socket",
        "DbdHost": where.host,
        "DbdPort": str(where.port),
        "CommunicationParameters": "NoInAddrAny",
        "SlurmUser": user,
        "PluginDir": str(where.plugins),
        "PidFile": f"{base}/run/slurmdbd.pid",
        "LogFile": f"{base}/log/slurmdbd.log",
        "StorageType": "accounting_storage/mysql",
        "StorageHost": "localhost",  # connected by the socket in MYSQL_UNIX_PORT
        "StorageUser": user,
        "StorageLoc": database.NAME,
    }
    return "".join(f"{key}={value}\n" for key, value in settings.items())


def orders(factory: Factory, people: Iterable[str]) -> list[tuple[str, ...]]:
    """Return the arguments of each ``sacctmgr -i`` command that creates the factory's accounts and QOS.

    The database must be empty. ``people``, the site accounts, may run in :func:`account` with each QOS of the factory.
    If a job must name an account, the default account of ``people`` may use nothing; if a job must name a QOS, there is
    no default QOS, or it allows nothing.
    """
    named = {qos.name.lower(): qos for qos in factory.qos}
    project = project_qos(factory)
    if project is not None:
        named.setdefault(project, Qos(name=project))
    # The default QOS of jobs that name none: on some sites it allows nothing, on others there is none.
    trap = next((name for name, qos in named.items() if qos.max_gpus == 0), None)
    if trap is not None:
        default = trap
    elif factory.qos_mandatory:
        named.setdefault(_OTHER_QOS, Qos(name=_OTHER_QOS))
        default = None
    else:
        named.setdefault("normal", Qos(name="normal"))
        default = "normal"
    lines = [_qos_order(name, qos) for name, qos in named.items()]
    everyone = ",".join(people)
    pays = account(factory)
    lines.append(("add", "account", pays, f"Description={factory.name}", "Organization=testbed"))
    takes = [f"QOS={','.join(named)}", *([] if default is None else [f"DefaultQOS={default}"])]
    if factory.account_mandatory:
        lines.append(("add", "account", UNPAID, "Description=nobody pays", "Organization=testbed"))
        lines.append(("add", "user", everyone, f"Account={UNPAID}", f"DefaultAccount={UNPAID}", "Partition=none"))
    lines.append(("add", "user", everyone, f"Account={pays}", *takes))
    return lines


def _qos_order(name: str, qos: Qos) -> tuple[str, ...]:
    limits = ["Flags=DenyOnLimit"]  # jobs over a limit are refused at once
    if qos.max_hours is not None:  # replaces the partition's limit
        limits = ["Flags=DenyOnLimit,PartitionTimeLimit"]
        limits.append(f"MaxWall={max(1, math.ceil(round(qos.max_hours * 60, 6)))}")
    job = {"node": qos.max_nodes, "cpu": qos.max_cores, "gres/gpu": qos.max_gpus}
    words = [f"{what}={number}" for what, number in job.items() if number is not None]
    if words:
        limits.append(f"MaxTRESPerJob={','.join(words)}")
    if qos.group_gpus is not None:
        limits.append(f"GrpTRES=gres/gpu={qos.group_gpus}")
    if qos.max_jobs is not None:
        limits.append(f"MaxSubmitJobsPerUser={qos.max_jobs}")
    return ("modify", "qos", name, "set", *limits) if name == "normal" else ("add", "qos", name, *limits)
