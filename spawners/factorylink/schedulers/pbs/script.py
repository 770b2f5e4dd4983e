"""Makes the batch script for PBS. Pure: a request in, text out.

**How the job is recognised.** PBS keeps no comment from a submission: ``comment`` is the scheduler's own. An ordinary
user can set few attributes that ``qstat -f`` shows to everybody: ``Account_Name`` (-A) is the account that is charged,
``project`` (-P) has limits at some sites, and the name must be the same for all jobs. So the identity is one variable
of ``Variable_List``. This variable has no other use, and only the job's owner (and the site) can set or alter it. Other
people can copy it into their jobs, so its HMAC signs the account, too.

**The log.** PBS spools a job's output on the node and copies it when the job has ended. The script opens the log itself
instead, so that the log can be read while the job runs. The script appends to the log, so that a requeued job continues
it. What was printed before the script opened the log, and after the script, is in PBS' own copy: a file with ``.pbs``
after the log's name, which PBS keeps only if the job failed.

**The job's environment.** Nothing of the link's environment is forwarded (no ``-V``). A login shell of the person
starts the script; this cannot be avoided. On ``qdel`` the login shell and the script get TERM at once, and when the
login shell has ended PBS kills all other processes of the job, so there is hardly any time for a clean end. PBS sends
no signal before the walltime is over, so the door takes the end from ``FACTORYGATE_JOB_END``.

**Which GPUs.** PBS counts GPUs (``ngpus``). A hook of the site may select the GPUs of a job, by
``CUDA_VISIBLE_DEVICES`` or by hiding the others. Without a hook every job on a node would take the first GPU. So the
jobs of an account choose different GPUs by locks in a folder of the node; a lock ends with its job. Other people's jobs
on that node do not see these locks.
"""

from __future__ import annotations

import re

from factorycommon.models import JobRequest
from factorylink.errors import Refused
from factorylink.schedulers.batch_script import ENVIRONMENT, INDEX, JobVariables, end_by_clock, written

VARIABLE = "FACTORYGATE_JOB"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.+-]{0,229}")
_COMMENT = re.compile(r"[A-Za-z0-9_.:@+/-]+")  # a comma would start another variable
GPUS = """\
factorygate_take_gpus() {{
  local wanted={gpus} variable devices folder="/tmp/factorygate-gpus-$(id -u)" number lock taken=() locks=()
  [ -z "${{CUDA_VISIBLE_DEVICES+x}}${{ROCR_VISIBLE_DEVICES+x}}${{ZE_AFFINITY_MASK+x}}" ] || return 0
  if devices="$(nvidia-smi --query-gpu=index --format=csv,noheader 2>/dev/null)"; then
    variable=CUDA_VISIBLE_DEVICES
  elif [ -r /dev/kfd ]; then
    variable=ROCR_VISIBLE_DEVICES
    devices="$(number=0; for lock in /dev/dri/renderD*; do [ -r "$lock" ] && echo "$((number++))"; done)"
  fi
  [ "$(echo "$devices" | wc -w)" -gt "$wanted" ] || return 0
  mkdir -m 700 "$folder" 2>/dev/null
  if [ -L "$folder" ] || ! [ -O "$folder" ] || ! command -v flock >/dev/null; then
    echo "factorygate: which GPUs of the node are this job's is not known: $folder or flock cannot be used" >&2
    return 0
  fi
  for number in $devices; do
    [ "${{#taken[@]}}" -lt "$wanted" ] || break
    exec {{lock}}>>"$folder/$number" || continue
    if flock -n "$lock"; then taken+=("$number"); else exec {{lock}}>&-; fi
  done
  [ "${{#taken[@]}}" -eq "$wanted" ] || echo "factorygate: of $wanted GPUs ${{#taken[@]}} are not another job's" >&2
  [ "${{#taken[@]}}" -gt 0 ] || return 0
  export CUDA_DEVICE_ORDER=PCI_BUS_ID "$variable=$(IFS=,; echo "${{taken[*]}}")"
}}
factorygate_take_gpus"""
# One chunk of ``select``. A "+" would add another chunk, and a "," another resource of ``-l``: both are refused.
_CHUNK = re.compile(r"[A-Za-z]\w*=[\w./@-]+(:[A-Za-z]\w*=[\w./@-]+)*", re.ASCII)


def script(request: JobRequest, template: str = "") -> str:
    """Return the script for a request.

    ``template``: the operator's Jinja template of the script; "": the usual script. ``batch_script.written`` describes
    the template's variables. Raises Refused for a request that PBS cannot express. Also raises Refused if the template
    fails, leaves out the variable ``environment`` (which opens the log) or the variable ``identity``, uses ``identity``
    after a command, or sets the option ``-N``, ``-v`` or ``-V`` itself.
    """
    log = _log(request)
    text = written(
        request,
        template,
        "#PBS",
        identity(request),
        resources(request),
        "\n".join(
            (
                log,
                ENVIRONMENT,
                *((GPUS.format(gpus=request.gpus),) if request.gpus and not request.whole_node else ()),
            )
        ),
        variables(request),
        owned=("-N", "-v", "-V"),
    )
    if log not in text.splitlines():
        raise Refused("The batch script's template leaves out {{ environment }}: there would be no log.")
    return text


def variables(request: JobRequest) -> JobVariables:
    """Return the shell expressions for the job's variables, from PBS' own variables and from the request.

    PBS does not provide all values. The end of the job is computed from the walltime. The memory ("" if the job
    requests nodes by their type alone) and the GPUs are the requested ones. The number of earlier runs is always 0.
    """
    asked = request.gpu_syntax != "constraint"
    return JobVariables(
        id="${PBS_JOBID:-}",
        end=end_by_clock(request.walltime),
        node="$(hostname)",
        cores=f"${{NCPUS:-{request.cores}}}",
        memory_mb=str(int(request.memory_gb * 10**9) // 2**20) if asked else "",
        gpus=str(request.gpus),
        index="${PBS_ARRAY_INDEX:-}",
        restarts="0",
    )


def identity(request: JobRequest) -> tuple[str, ...]:
    """Return the directives by which the link finds its job again, and those for the shell, PBS' own output and mail.

    With these directives PBS sends no mail, and keeps its own copy of the output (which is not the job's log) only if
    the job fails. Raises Refused if PBS does not accept the name or the comment.
    """
    if not _NAME.fullmatch(request.name) or not _COMMENT.fullmatch(request.comment):
        raise Refused(f"PBS takes no such job name or variable: {request.name}, {request.comment}")
    return (
        f"#PBS -N {request.name}",
        f"#PBS -v {VARIABLE}={request.comment}",
        "#PBS -S /bin/bash",
        # PBS' own messages, and the login shell's output; nothing is kept of a job that ends with 0.
        f"#PBS -o {request.output.replace(INDEX, '^array_index^')}.pbs",
        "#PBS -j oe",
        "#PBS -R oe",
        "#PBS -W umask=077",
        "#PBS -m n",
    )


def resources(request: JobRequest) -> tuple[str, ...]:
    """Return the directives for the job's resources: one chunk, which is always on one host.

    A GB of the request is 10^9 bytes, a gb of PBS 1024^3, so the memory is converted to kb (1024 bytes). ``gres``,
    if set, is requested in place of ngpus; ``constraint`` is added to the chunk. If ``gpu_syntax`` is
    ``constraint``, the chunk has only ``gres`` and the request's ``constraint``, which is the type of the node
    (``select=1:node_type=mi300a``). There are also directives for placement, walltime, account and queue; the queue is
    the request's ``partition``, or the queue of its ``reservation`` if there is one. Raises Refused for a request
    that PBS cannot express, for example one with a QOS.
    """
    if request.qos is not None:
        raise Refused("PBS has no QOS: take `qos` out of the size and the configuration of this factory.")
    if request.gpu_type is not None:
        raise Refused("PBS knows types of GPUs only as resources of the site: name them in `constraint`.")
    for word in (request.gres, request.constraint):
        if word is not None and not _CHUNK.fullmatch(word):
            raise Refused(f"Not resources of a chunk as PBS writes them (NAME=VALUE:NAME=VALUE): {word}")
    chunk = ["1"]
    if request.gpu_syntax != "constraint":
        chunk += [f"ncpus={request.cores}", f"mem={int(request.memory_gb * 10**9) // 1024}kb"]
        chunk += [f"ngpus={request.gpus}"] if request.gpus and not request.gres else []
    elif request.constraint is None:
        raise Refused("This factory's `gpu_syntax` is `constraint`, and there is none.")
    chunk += [request.gres] if request.gres else []
    chunk += [request.constraint] if request.constraint else []
    # R12.server: the queue is R12
    queue = request.reservation.partition(".")[0] if request.reservation else request.partition
    words = [
        f"-q {queue}",
        f"-l select={':'.join(chunk)}",
        f"-l place={'pack:exclhost' if request.whole_node else 'pack'}",
        f"-l walltime={clock(request.walltime)}",
    ]
    if request.account is not None:
        words.append(f"-A {request.account}")
    return tuple(f"#PBS {word}" for word in words)


def clock(seconds: int) -> str:
    """Return seconds as PBS writes them: 3661 -> 01:01:01. Hours may have more than two digits."""
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def _log(request: JobRequest) -> str:
    """Return the line that opens the job's log and changes to the log's folder."""
    folder = request.output.rpartition("/")[0] or "/"
    name = request.output.replace(INDEX, "${PBS_ARRAY_INDEX}")
    return f'umask 077; cd "{folder}" && exec >>"{name}" 2>&1 || exit 1'
