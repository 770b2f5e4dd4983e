"""The batch script for Slurm. Pure: a request in, text out.

What reaches an ``#SBATCH`` line is a number or a validated word; shell lines come from the operator's configuration
only; the command is quoted word by word. Nothing secret is ever in here: the scheduler keeps scripts and shows them.

**The job's environment.** Nothing of the link's own is forwarded (``--export=NIL``), and no login shell is asked for
(``--export=NONE`` makes slurmd run ``su -`` for the user: up to two minutes, and a person's ``.bash_profile`` that
starts another shell would swallow the job). The script makes the little that programs rely on, and sources
``/etc/profile`` for the site's modules. ``SLURM_EXPORT_ENV=ALL`` undoes NIL for the ``srun`` of the person.
"""

from __future__ import annotations

import shlex

from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from factorylink.errors import Refused
from factorylink.models import JobRequest

WARNING = 120  # seconds before the walltime at which the job's command gets USR1

TEMPLATE = """\
#!/bin/bash
{{ identity }}
{{ resources }}
{{ environment }}
{% if setup %}
{{ setup }}
{% endif %}
{{ command }}
"""

# Private unless the site's own profile says otherwise: what people make then has the umask they know from there.
ENVIRONMENT = """\
umask 077
export HOME="${HOME:-$(getent passwd "$(id -u)" | cut -d: -f6)}"
export USER="${USER:-$(id -un)}" LOGNAME="${LOGNAME:-$(id -un)}" LANG="${LANG:-C.UTF-8}"
export PATH="${PATH:-/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin}"
if [ -r /etc/profile ]; then . /etc/profile; fi
export PYTHONNOUSERSITE=1 SLURM_EXPORT_ENV=ALL"""

# Lines after the command need a shell that outlives it, and a shell forwards no signals by itself.
WITH_TEARDOWN = """\
trap 'factorygate_told=yes; kill -USR1 "$!"' USR1
trap 'factorygate_told=yes; kill -TERM "$!"' TERM
{command} &
factorygate_command=$!
factorygate_told=yes
while [ "$factorygate_told" ]; do  # a trapped signal ends a wait early, with a code of its own
    factorygate_told=
    wait "$factorygate_command"
    factorygate_now=$?
    # 127: the wait before was not ended early after all, and has its code.
    [ "$factorygate_now" = 127 ] && [ "$factorygate_code" ] || factorygate_code=$factorygate_now
done
{teardown}
exit "$factorygate_code\""""


def script(request: JobRequest, template: str = "") -> str:
    """The script for a request. ``template``: an operator's Jinja text in place of ``TEMPLATE``.

    A template may use ``identity`` (it must), ``resources``, ``environment``, ``setup``, ``command``, ``teardown``, and
    the request's own fields as ``job.cores``, ``job.memory_gb``, ... Refused: it fails, or leaves the identity out or
    where sbatch does not read it, so that the job could not be found again.
    """
    values = {
        "identity": "\n".join(identity(request)),
        "resources": "\n".join(resources(request)),
        "environment": ENVIRONMENT,
        "setup": "\n".join(request.setup),
        "command": _command(request),
        "teardown": "\n".join(request.teardown),
        "job": request.model_dump(mode="json", exclude={"command", "setup", "teardown"}),
    }
    jinja = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, autoescape=False
    )  # no escaping: this is shell text, not HTML
    try:
        text = jinja.from_string(template or TEMPLATE).render(values)
    except TemplateError as error:
        raise Refused(f"The batch script's template fails: {error}") from error
    read = _directives(text)
    for line in identity(request):
        if line not in read:
            raise Refused("The batch script's template leaves out {{ identity }}, or has it after the first command.")
    names = [line for line in read if line.split()[1].startswith(("--job-name", "--comment", "-J"))]
    if len(names) != 2:
        raise Refused("The batch script's template sets a job name or comment of its own.")
    return text


def identity(request: JobRequest) -> tuple[str, ...]:
    """The directives by which the link finds its job again, and its log."""
    return (
        f"#SBATCH --job-name={request.name}",
        f"#SBATCH --comment={request.comment}",
        f"#SBATCH --output={request.output}",
        "#SBATCH --open-mode=append",  # a requeued job goes on in the same log
        "#SBATCH --export=NIL",
        *([f"#SBATCH --signal=B:USR1@{WARNING}"] if request.warned else ()),
    )


def resources(request: JobRequest) -> tuple[str, ...]:
    """The directives for what the job gets: one task on one node."""
    words = [
        f"--partition={request.partition}",
        "--nodes=1",
        "--ntasks=1",
        f"--cpus-per-task={request.cores}",
        f"--time={-(-request.walltime // 60)}",  # minutes, rounded up
        # One of Slurm's MB counts as 10**6 bytes (see slurm_nodes). A whole node's memory is not counted out.
        "--mem=0" if request.whole_node else f"--mem={int(request.memory_gb * 1000)}M",
    ]
    if request.whole_node:
        words.append("--exclusive")
    kind = f"{request.gpu_type}:" if request.gpu_type else ""
    if request.gres:
        words.append(f"--gres={request.gres}")
    elif request.gpus and request.gpu_syntax == "gpus-per-node":
        words.append(f"--gpus-per-node={kind}{request.gpus}")
    elif request.gpus:
        words.append(f"--gres=gpu:{kind if request.gpu_syntax == 'gres-typed' else ''}{request.gpus}")
    for option in ("account", "qos", "constraint", "reservation"):
        value = getattr(request, option)
        if value is not None:
            words.append(f"--{option}={value}")
    folder = request.output.rpartition("/")[0] or "/"
    if "%" not in folder:
        words.append(f"--chdir={folder}")
    return tuple(f"#SBATCH {word}" for word in words)


def _command(request: JobRequest) -> str:
    command = shlex.join(request.command)
    if not request.teardown:
        return f"exec {command}"  # in the shell's place, so that signals reach it
    return WITH_TEARDOWN.format(command=command, teardown="\n".join(request.teardown))


def _directives(text: str) -> list[str]:
    """The ``#SBATCH`` lines that sbatch reads: those before the first line that is a command."""
    found: list[str] = []
    for line in text.splitlines():
        if line.startswith("#SBATCH ") and len(line.split()) > 1:
            found.append(line.rstrip())
        elif line.strip() and not line.startswith("#"):
            break
    return found
