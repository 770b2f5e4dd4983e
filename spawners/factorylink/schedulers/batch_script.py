"""Makes a batch script from a job request, for every dialect, and checks the script. Pure.

The parts of a request cannot change the script's meaning: a directive contains only numbers and validated words, lines
of shell code come from the operator's configuration only, and the command is quoted word by word. A script never holds
a secret, since the scheduler stores scripts and shows them.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import lru_cache

from jinja2 import StrictUndefined, Template
from jinja2.sandbox import ImmutableSandboxedEnvironment

from factorycommon.models import JobRequest
from factorylink.errors import Refused

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

# The script's own files are private. Files that people create have the umask of the site's profile, if it sets one.
ENVIRONMENT = """\
umask 077
export HOME="${HOME:-$(getent passwd "$(id -u)" | cut -d: -f6)}"
export USER="${USER:-$(id -un)}" LOGNAME="${LOGNAME:-$(id -un)}" LANG="${LANG:-C.UTF-8}"
export PATH="${PATH:-/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin}"
if [ -r /etc/profile ]; then . /etc/profile; fi
export PYTHONNOUSERSITE=1"""

# no escaping: this is shell text, not HTML
_JINJA = ImmutableSandboxedEnvironment(
    undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, autoescape=False
)

INDEX = "%INDEX%"  # placeholder in the name of a job's log for the job's index in its array


@dataclass(frozen=True)
class JobVariables:
    """Shell expressions with which a dialect's script computes the environment variables FACTORYGATE_JOB_*.

    The programs in the job read these variables instead of the scheduler's own. An empty expression means that the
    scheduler does not provide the value.
    """

    id: str
    end: str  # end of the walltime, in seconds since the epoch
    node: str
    cores: str
    memory_mb: str  # in units of 2**20 bytes
    gpus: str
    index: str  # index in the array, from 1
    restarts: str  # how often the scheduler has requeued the job
    # both only for a job with a slice of a GPU: the slice that it requested, and how many shards it was given
    slice: str = ""
    shards: str = ""

    def exports(self) -> str:
        """Return the line of the script that computes and exports the variables."""
        names = (field.name for field in fields(self) if self.slice or field.name not in ("slice", "shards"))
        words = (f'FACTORYGATE_JOB_{name.upper()}="{getattr(self, name)}"' for name in names)
        return f"export {' '.join(words)}"


def end_by_clock(walltime: int) -> str:
    """Return a shell expression for the end of a job's walltime, in seconds since the epoch.

    ``walltime``: in seconds. The job's script must evaluate the expression at the job's start.
    """
    return f"$(($(date +%s) + {walltime}))"


# Lines after the command need a shell that waits for it, and a shell does not forward signals by itself.
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


def written(
    request: JobRequest,
    template: str,
    mark: str,
    identity: Sequence[str],
    resources: Sequence[str],
    environment: str,
    variables: JobVariables,
    owned: tuple[str, ...],
) -> str:
    """Return the batch script for a request.

    ``template``: the operator's Jinja text for the script; "": ``TEMPLATE`` is used. The text must use ``identity``,
    and may use ``resources``, ``environment``, ``setup``, ``command``, ``teardown``, and the request's other fields as
    ``job.cores``, ``job.memory_gb``, ... ``mark``: the prefix of a directive (``#PBS``); ``identity``, ``resources``:
    directives; ``environment``: lines of shell code; ``owned``: the options (``-N``) that only ``identity`` may set.

    The script exports ``variables`` at the end of ``environment`` or, if the template does not use ``environment``,
    right before the command. Raises Refused if the template fails, or sets an option of ``owned`` itself; also if the
    template leaves out ``identity``, or puts ``identity`` after the first command, since then the link could not find
    the job again.
    """
    exports = variables.exports()
    values = {
        "identity": "\n".join(identity),
        "resources": "\n".join(resources),
        "environment": f"{environment}\n{exports}",
        "setup": "\n".join(request.setup),
        "command": _command(request),
        "teardown": "\n".join(request.teardown),
        "job": request.model_dump(mode="json", exclude={"command", "setup", "teardown"}),
    }
    try:
        made = _compiled(template or TEMPLATE)
        text = made.render(values)
        if exports not in text.splitlines():
            text = made.render(values | {"command": f"{exports}\n{values['command']}"})
    except Exception as error:  # an expression of the template may raise any error
        raise Refused(f"The batch script's template fails: {type(error).__name__}: {error}") from error
    read = _directives(text, mark)
    for line in identity:
        if line not in read:
            raise Refused("The batch script's template leaves out {{ identity }}, or has it after the first command.")
    own = [line for line in read if any(word.startswith(owned) for word in line.split()[1:])]
    if len(own) != sum(any(word.startswith(owned) for word in line.split()[1:]) for line in identity):
        raise Refused("The batch script's template sets a job name or comment of its own.")
    return text


@lru_cache(maxsize=64)
def _compiled(template: str) -> Template:
    """Return the compiled template, cached because compiling takes most of the time. Raises jinja2's errors."""
    return _JINJA.from_string(template)


def _command(request: JobRequest) -> str:
    command = shlex.join(request.command)
    if not request.teardown:
        return f"exec {command}"  # replaces the shell, so that signals reach the command
    return WITH_TEARDOWN.format(command=command, teardown="\n".join(request.teardown))


def _directives(text: str, mark: str) -> list[str]:
    """Return the directives that the scheduler reads: those before the first line with a command."""
    found: list[str] = []
    for line in text.splitlines():
        if line.startswith(f"{mark} ") and len(line.split()) > 1:
            found.append(line.rstrip())
        elif line.strip() and not line.startswith("#"):
            break
    return found
