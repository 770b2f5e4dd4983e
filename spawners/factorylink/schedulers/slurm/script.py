"""Makes the batch script for Slurm. Pure: a request in, text out.

**The job's environment.** Nothing of the link's own environment is forwarded, and no login shell is used: both are the
effect of ``--export=NIL``. With ``--export=NONE`` slurmd would run ``su -`` for the user. This takes up to two minutes,
and if a person's ``.bash_profile`` started another shell, the script would never run. (Slurm 22.05 does not know NIL,
and does the same with it.) The script sets the few variables that programs rely on, and sources ``/etc/profile`` for
the site's modules. ``SLURM_EXPORT_ENV=ALL`` undoes NIL for the person's ``srun``.
"""

from __future__ import annotations

from factorycommon.models import JobRequest
from factorylink.schedulers.batch_script import ENVIRONMENT, INDEX, TEMPLATE, JobVariables, end_by_clock, written

__all__ = ["TEMPLATE", "identity", "resources", "script"]

WARNING = 120  # seconds before the walltime at which the job's command gets SIGUSR1


def script(request: JobRequest, template: str = "") -> str:
    """Return the batch script for a request. ``template``: the operator's template; "": ``TEMPLATE`` is used.

    Raises Refused if the template fails, sets the job's name or comment itself, or does not have ``{{ identity }}``
    before the first command.
    """
    return written(
        request,
        template,
        "#SBATCH",
        identity(request),
        resources(request),
        f"{ENVIRONMENT} SLURM_EXPORT_ENV=ALL",
        variables(request),
        owned=("--job-name", "--comment", "-J"),
    )


def variables(request: JobRequest) -> JobVariables:
    """Return the shell expressions with which the script computes the environment variables ``FACTORYGATE_JOB_*``.

    They use Slurm's own variables and the request. If Slurm does not provide the end of the job's walltime, as in
    releases before 22.05, the end is computed from the requested walltime.
    """
    return JobVariables(
        id="${SLURM_JOB_ID:-}",
        end=f"${{SLURM_JOB_END_TIME:-{end_by_clock(60 * _minutes(request))}}}",
        node="${SLURMD_NODENAME:-$(hostname)}",
        cores=f"${{SLURM_CPUS_ON_NODE:-{request.cores}}}",
        memory_mb="${SLURM_MEM_PER_NODE:-}",
        gpus=f"${{SLURM_GPUS_ON_NODE:-{request.gpus}}}",
        index="${SLURM_ARRAY_TASK_ID:-}",
        restarts="${SLURM_RESTART_COUNT:-0}",
        slice=request.gpu_slice or "",
        shards="${SLURM_SHARDS_ON_NODE:-}",  # releases before 23.02 do not set it
    )


def identity(request: JobRequest) -> tuple[str, ...]:
    """Return the directives by which the link finds its job again, and those for log, environment variables and signal.

    The job gets none of the link's variables. If the request wants a warning, the job's command gets SIGUSR1
    ``WARNING`` seconds before the walltime is over.
    """
    return (
        f"#SBATCH --job-name={request.name}",
        f"#SBATCH --comment={request.comment}",
        f"#SBATCH --output={request.output.replace(INDEX, '%a')}",
        "#SBATCH --open-mode=append",  # a requeued job continues in the same log
        "#SBATCH --export=NIL",
        *([f"#SBATCH --signal=B:USR1@{WARNING}"] if request.warned else ()),
    )


def resources(request: JobRequest) -> tuple[str, ...]:
    """Return the directives for the job's resources (one task on one node), and for the folder in which the job starts.

    The directives for partition, walltime, account, QOS, constraint and reservation are returned, too. The job starts
    in the folder of its log; there is no directive for a folder whose path contains ``%``.
    """
    words = [
        f"--partition={request.partition}",
        "--nodes=1",
        "--ntasks=1",
        f"--cpus-per-task={request.cores}",
        f"--time={_minutes(request)}",
    ]
    if request.asks_memory:
        # One of Slurm's M is 2**20 bytes, so convert: a size of 122 GB is 122 GB in the job. A whole
        # node gets all its memory (0).
        words.append("--mem=0" if request.whole_node else f"--mem={int(request.memory_gb * 10**9) // 2**20}M")
    if request.whole_node:
        words.append("--exclusive")
    kind = f"{request.gpu_type}:" if request.gpu_type else ""
    if request.gres:
        words.append(f"--gres={request.gres}")
    elif request.gpus and request.gpu_syntax == "gpus-per-node":
        words.append(f"--gpus-per-node={kind}{request.gpus}")
    elif request.gpus and request.gpu_syntax != "constraint":
        words.append(f"--gres=gpu:{kind if request.gpu_syntax == 'gres-typed' else ''}{request.gpus}")
    for option in ("account", "qos", "constraint", "reservation"):
        value = getattr(request, option)
        if value is not None:
            words.append(f"--{option}={value}")
    folder = request.output.rpartition("/")[0] or "/"
    if "%" not in folder:
        words.append(f"--chdir={folder}")
    return tuple(f"#SBATCH {word}" for word in words)


def _minutes(request: JobRequest) -> int:
    """Return the walltime in minutes, rounded up."""
    return -(-request.walltime // 60)
