"""Writes a letter to a factory's operator that says what the site must grant before this gateway may run there."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from factorycommon.models import Act, Factory

_ACTS: dict[Act, str] = {
    "unattended_submit": "submit and cancel jobs for a person who pressed a button in a browser, not at a terminal",
    "persistent_connection": "keep an SSH connection open while sessions run, and ask the scheduler over it",
    "replacement": "start a Dask worker again by itself when one that a person asked for has ended",
}


def letter(factory: Factory) -> str:
    """Return a letter that tells a factory's operator what the site must grant before the gateway may run there.

    The sender replaces the words in <brackets>.
    """
    return "\n".join(_lines(factory)) + "\n"


def _lines(factory: Factory) -> Iterator[str]:
    site = factory.site
    yield f"Subject: A JupyterHub gateway to {site.machine} ({factory.name})"
    yield ""
    yield f"To the operators of {site.machine}, {site.host}, {site.city}"
    yield ""
    yield "We run a gateway through which people with a project at your site start JupyterLab in a batch job"
    yield f"of their own. It works by your scheduler ({factory.scheduler}) alone: no daemon on your side, no port"
    yield "open to the internet. How it is kept safe, and what you can switch off, is in"
    yield "docs/factory-administrators.md. It is off for your site until you agree. For that we need:"
    yield from _section(1, "Your agreement", _agreement(factory))
    yield from _section(2, "A way to log in", _login(factory))
    yield from _section(3, "A way to the job", _door(factory))
    yield from _section(4, "Accounts, and who pays", _accounts(factory))
    yield from _section(5, "Your word on these values", _values(factory))
    yield from _section(6, "What we did not find", _unknown(factory))
    yield ""
    yield "With your answers we write `state: live` and `agreement` (who, when, contact) into the entry; until then the"
    yield "gateway refuses to start anything at your site."
    yield ""
    yield "<name, institution, address for questions, telephone for emergencies>"


def _section(number: int, title: str, lines: Iterator[str]) -> Iterator[str]:
    found = list(lines)
    if found:
        yield ""
        yield f"{number}. {title}"
        for line in found:
            yield textwrap.fill(line, 100, initial_indent="   - ", subsequent_indent="     ", break_long_words=False,
                                break_on_hyphens=False)  # fmt: skip


def _agreement(factory: Factory) -> Iterator[str]:
    yield "Who agrees, on which day, and whom we may ask: name and address."
    policy = factory.policy
    for act, words in _ACTS.items():
        answer = {"yes": "your rules allow it; please confirm", "no": "your rules, as we found them, forbid it",
                  "ask": "your rules leave it open"}.get(getattr(policy, act) or "", "nothing was found")  # fmt: skip
        yield f"May the gateway {words}? ({act}: {answer}.)"
    if policy.note:
        yield f"What we found: {policy.note}"
    limits = (("submits a minute", policy.submits_per_minute), ("logins a minute", policy.logins_per_minute),
              ("connections a site account", policy.max_connections))  # fmt: skip
    yield "At most " + ", ".join(f"{most or '<number>'} {what}" for what, most in limits) + "."


def _login(factory: Factory) -> Iterator[str]:
    login = factory.site.login
    hosts = ", ".join(factory.site.login_hosts) or "<login host>"
    port = str(login.port) if login is not None and login.port else "<which port?>"
    yield f"Login from <addresses of the gateway> to {hosts}, port {port}."
    if login is not None and login.source_bound:
        yield "You bind logins to addresses: ours above are fixed, and we tell you before they change."
    if login is not None and login.one_time_code:
        yield "A one-time code cannot be given by a gateway: which of the ways below do you offer in its place?"
    yield (
        "One of: your trust in our SSH CA for these accounts (certificates of minutes), a service account with the "
        "wrapper of site/ that acts for accounts on your list only, or a key for each account."
    )
    yield "An account for the watcher, which only asks the scheduler (squeue, sinfo, sacct or their like)."
    yield "The host keys of the login hosts, or the key of the CA that signs them: we learn no key from the network."


def _door(factory: Factory) -> Iterator[str]:
    carrier = factory.door.carrier
    found = "" if carrier is None else f" We found: {carrier}. {factory.door.note}"
    yield (
        "Forwarding from the login side to a port range of compute nodes (carrier `tcp`), or entering the job through "
        f"the scheduler (`stdio`).{found}"
    )
    yield "A folder on the node's own disk for the session's socket, /tmp or which?"


def _accounts(factory: Factory) -> Iterator[str]:
    yield "Site accounts: personal ones, or a pool for courses; the list of who may use the gateway is yours."
    yield (
        "Rules of yours that each person accepts before anything of theirs starts (`site.rules`: a version, and where "
        "they stand), and how somebody gets an account (`site.account_help`): their checklist shows both."
    )
    form = f" (of the form {factory.account_example})" if factory.account_example else ""
    needed = {True: "it must be named", False: "it need not be named", None: "must it be named?"}
    yield f"The account that pays{form}; {needed[factory.account_mandatory]}"
    if factory.qos_mandatory:
        yield "The QOS, which must be named: the same for all, or one for each project?"
    if not all(size.billed_as for size in factory.sizes) or factory.sketches:
        yield "Your billing unit, and what each node size below costs in it."
    yield "For courses: a reservation, who may use it, and when."
    yield (
        "For courses: are there slices of GPUs (MIG, or Slurm's shards)? Which GRES requests one "
        "(gpu:1g.10gb:1, shard:1), how many has a node, and which part of a GPU do you bill for one?"
    )
    yield (
        "For courses with people who have no account with you: may the gateway lend accounts of a pool to people whom "
        "it knows by name or mail address, one person at a time (pool_accounts)? May it empty such an account before "
        "another person gets it, and which command does so and which proves it (wipe)? May it start the jobs of a "
        "class before its people come (prestart)? What you allow goes into `agreement.teaching`."
    )
    yield (
        "May the watcher ask `id -Gnz -- ACCOUNT`? Only so we know whom to offer a reservation that you give to Unix "
        "groups."
    )


def _values(factory: Factory) -> Iterator[str]:
    for size in factory.sizes:
        queue = f"partition {size.partition}" + (f", QOS {size.qos}" if size.qos else "")
        sure = factory.origin(f"sizes.{size.id}.cores")
        share = f"{size.gpu_text}, {size.cores} cores, {size.memory_gb:g} GB"
        yield f"{size.id}: {share}, {queue}, at most {size.max_hours:g} h [{sure or 'not said'}]"
    for sketch in factory.sketches:
        lacks = ", ".join(f"{name} <?>" for name in sketch.lacks)
        yield f"{sketch.id}: {sketch.gpus} GPU; we could not find: {lacks}"
    for environment in factory.environments:
        if environment.state == "template":
            sure = factory.origin(f"environments.{environment.id}.title")
            question = "is it there, may we build on it, and in which folder?"
            yield f"{environment.id}: {environment.title}; {question} [{sure or 'not said'}]"
    out = {"compute": "compute nodes reach the internet", "login": "only the login side reaches the internet",
           "none": "nothing reaches the internet", "unknown": "do compute nodes reach the internet?"}  # fmt: skip
    yield f"Way out: {out[factory.outbound]}"


def _unknown(factory: Factory) -> Iterator[str]:
    yield from (f"{what[0].upper()}{what[1:]}" for what in factory.not_found)
