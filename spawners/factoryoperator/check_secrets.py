"""Checks that tokens and keys exist, are private, have the right form, and agree between hub and link."""

from __future__ import annotations

import base64
import binascii
import errno
import hmac
import json
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from factorycommon.private_files import open_to_others
from factorylink.config import LinkConfig, SshTransportSettings
from factorylink.credentials.base import read_private_key
from factorylink.credentials.base import read_secret as read_link_secret
from factoryoperator.check_files import named_files
from factoryoperator.findings import Finding, note
from factoryoperator.gateway import Gateway
from factoryspawner.config.hub_config import HubConfig, HubConfigError, read_secret

SHORTEST = 16  # characters of a token
_PROXY_ENV, _HEADER = "proxy.env", "restore-routes.header"


def hub_secrets(gateway: Gateway) -> Iterator[Finding]:
    """Yield what is wrong with the files with secrets that hub.yaml names: unreadable, open to others, or malformed.

    The private key of ``tls`` is not checked here. A missing cookie secret is no mistake: the hub makes one.
    """
    config, at = gateway.hub.config, gateway.hub.at
    if config is None:
        return
    for keys, path in named_files(config).items():
        try:
            text = read_secret(path)
        except (HubConfigError, UnicodeDecodeError) as error:
            yield Finding(at(*keys), _mended(str(error), path))
            continue
        if problem := _form(keys, text):
            yield Finding(at(*keys), f"{path}: {problem}")
    yield from _cookie_secret(config.cookie_secret_file, at("cookie_secret_file"))


def _mended(problem: str, path: Path) -> str:
    return f"{problem}: run chmod 600 {path}" if "must be 0600" in problem else problem


def _form(keys: tuple[str, ...], text: str) -> str:
    """Return what is wrong with the form of a secret; "" if the form is right.

    ``keys``: the keys in hub.yaml or link.yaml that lead to the file's name; only the last one counts. ``text``: the
    secret.
    """
    match keys[-1]:
        case "crypt_key_file":
            return "" if all(_is_crypt_key(line) for line in text.split()) else (
                "each line must be a key of 32 bytes: openssl rand -hex 32"
            )  # fmt: skip
        case "passwords_file":
            try:
                known = json.loads(text)
            except ValueError:
                known = None
            return "" if isinstance(known, dict) else "is not a JSON object of names and hashes"
        case "client_secret_file":
            return ""
        case _:
            if len(text.split()) != 1:
                return "must hold one token and nothing else"
            return (
                ""
                if len(text) >= SHORTEST
                else f"the token is shorter than {SHORTEST} characters: openssl rand -hex 32"
            )


def _is_crypt_key(line: str) -> bool:
    if re.fullmatch(r"[0-9a-fA-F]{64}", line):
        return True
    try:
        return len(base64.b64decode(line, validate=True)) == 32
    except (binascii.Error, ValueError):
        return False


def _cookie_secret(path: Path, where: str) -> Iterator[Finding]:
    """Yield what is wrong with the cookie secret; nothing if there is no file, since JupyterHub creates a missing one.

    JupyterHub would not start with a file that others may read, or that has no secret in hex.
    """
    try:
        found, text = path.stat(), path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError) as error:
        yield Finding(where, f"{path} cannot be read: {error}")
        return
    if open_to_others(found):
        mode = stat.S_IMODE(found.st_mode)
        yield Finding(where, f"{path}: must be 0600, is {mode:04o}: run chmod 600 {path}")
    elif not re.fullmatch(r"([0-9a-fA-F]{2}){32,}", text):
        yield Finding(where, f"{path} is not a secret of JupyterHub's (32 bytes in hex); restore it from your backup")


def link_secrets(gateway: Gateway) -> Iterator[Finding]:
    """Yield what is wrong with the link's token and the link's own keys.

    Also yield a hint for each site account in link.yaml that has no key, at factories whose credentials are keys in
    files.
    """
    config, at = gateway.link.config, gateway.link.at
    if config is None:
        return
    try:
        text = read_link_secret(config.hub.token_file).decode(errors="replace").strip()
    except (OSError, ValueError) as error:
        yield Finding(at("hub", "token_file"), str(error))
    else:
        if problem := _form(("token_file",), text):
            yield Finding(at("hub", "token_file"), f"{config.hub.token_file}: {problem}")
    key = "state_dir" if config.key_dir is None else "key_dir"
    for name, problem in _own_keys(config.keys, made=config.key_dir is None):
        yield Finding(at(key), f"{config.keys / name}: {problem}")
    for factory, access in config.factories.items():
        transport = access.transport
        if isinstance(transport, SshTransportSettings) and transport.credentials.kind == "key":
            keys = transport.credentials.keys
            accounts = {*access.accounts.values(), *access.account_pool}
            for account in sorted(one for one in accounts if not (keys / one).exists()):
                yield note(
                    at("factories", factory, "transport", "credentials", "keys"),
                    f"{keys} has no key for the account {account}: nobody can start anything as it",
                )


def _own_keys(folder: Path, made: bool) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the link's own keys in the folder: the name of the key's file, and the problem.

    ``made``: True if the link makes missing keys at its first start; False if missing keys are a mistake.
    """
    hmac_key, ssh_key = folder / "hmac.key", folder / "link_ed25519"
    for key, how in ((hmac_key, "openssl rand -hex 32"), (ssh_key, "ssh-keygen -t ed25519 -N '' -f")):
        if not (made or key.exists()):
            yield key.name, f"is missing, and the link makes none in key_dir: {how}, or restore it from your backup"
    try:
        if not re.fullmatch(rb"[0-9a-f]{64}", read_link_secret(hmac_key).strip()):
            yield hmac_key.name, "is not a key of this link; restore it from your backup"
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        yield hmac_key.name, str(error)
    try:
        read_private_key(ssh_key)
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        yield ssh_key.name, str(error)


# --- values that must agree


def sides(gateway: Gateway) -> Iterator[Finding]:
    """Yield a finding for each value of hub.yaml that must be the same in link.yaml or the proxy's files, but is not.

    Also yield what else is wrong in the proxy's files, such as wrong modes or a missing ``BASE_URL``.
    """
    if gateway.hub.config is not None and gateway.link.config is not None:
        yield from _hub_and_link(gateway, gateway.hub.config, gateway.link.config)
    if gateway.hub.config is not None:
        yield from _proxy(gateway, gateway.hub.config)


def _hub_and_link(gateway: Gateway, hub: HubConfig, link: LinkConfig) -> Iterator[Finding]:
    here, there = gateway.hub.at, gateway.link.at
    if _differ(hub.service_token_file, link.hub.token_file):
        yield Finding(
            here("service_token_file"),
            f"the token differs from that of {there('hub', 'token_file')}: the hub would refuse the link. Write one "
            "token into both files",
        )
    if hub.link_socket is not None and hub.link_socket.resolve() != link.socket.resolve():
        yield Finding(here("link_socket"), f"is {hub.link_socket}, but {there('socket')} is {link.socket}")
    if hub.link is not None and link.hub_listener is None:
        yield Finding(here("link"), f"is {hub.link.url}, but {there()} has no hub_listener: the link listens nowhere")
    elif hub.link is not None and link.hub_listener is not None and _port(hub.link.url) != link.hub_listener.port:
        where = there("hub_listener", "port")
        yield Finding(here("link", "url"), f"is {hub.link.url}, but {where} is {link.hub_listener.port}")
    if hub.base_url != link.hub.base_url:
        yield Finding(here("base_url"), f"is {hub.base_url}, but {there('hub', 'base_url')} is {link.hub.base_url}")
    if hub.hub_url != link.hub.url.rstrip("/"):
        yield Finding(here("hub_url"), f"is {hub.hub_url}, but {there('hub', 'url')} is {link.hub.url}")
    # Another host uses another name for a link that listens on all addresses.
    host = link.listen_host if link.tls is None else urlsplit(hub.link_url).hostname
    listens = f"http{'' if link.tls is None else 's'}://{host}:{link.listen_port}"
    if hub.link_url != listens:
        yield Finding(
            here("link_url"), f"is {hub.link_url}, but by {there('listen_port')} the link listens at {listens}"
        )
    of_mail = None if link.mail is None else link.mail.public_url
    for section, address in (("hub", link.hub.public_url), ("mail", of_mail)):
        if address is not None and address.rstrip("/") != hub.public_url:
            where = there(section, "public_url")
            yield Finding(where, f"is {address.rstrip('/')}, but {here('public_url')} is {hub.public_url}")


def _port(url: str) -> int:
    return urlsplit(url).port or 443


def _differ(one: Path, other: Path) -> bool:
    """Return whether two files hold different tokens; False if a file cannot be read, which another check reports."""
    try:
        return not hmac.compare_digest(one.read_bytes().strip(), other.read_bytes().strip())
    except OSError:
        return False


def _proxy(gateway: Gateway, hub: HubConfig) -> Iterator[Finding]:
    """Yield what is wrong in the proxy's files ``proxy.env`` and ``restore-routes.header``, compared with hub.yaml.

    Both files lie beside hub.yaml; the proxy's systemd unit uses them. A missing file is no mistake.
    """
    here = gateway.hub.at
    env = gateway.hub.path.parent / _PROXY_ENV
    settings = []
    if env.exists():
        try:
            read_secret(env)
            settings = _settings(env.read_text(encoding="utf-8"))
        except (HubConfigError, UnicodeDecodeError) as error:
            yield Finding(str(env), _of_the_proxy(str(error), env))
            return
    for number, name, value in settings:
        if name == "CONFIGPROXY_AUTH_TOKEN" and _not_in(value, hub.proxy_token_file):
            yield Finding(
                f"{env}:{number}: {name}",
                f"differs from the token of {here('proxy_token_file')}: the proxy would refuse the hub",
            )
        if name == "BASE_URL" and value != hub.base_url:
            yield Finding(f"{env}:{number}: {name}", f"is {value}, but {here('base_url')} is {hub.base_url}")
    if env.exists() and hub.base_url != "/" and "BASE_URL" not in {name for _, name, _ in settings}:
        yield Finding(
            str(env),
            f"lacks BASE_URL={hub.base_url}: without it a new proxy has its routes back late ({here('base_url')})",
        )
    header = gateway.hub.path.parent / _HEADER
    if not header.exists():
        return
    try:
        text = read_secret(header)
    except (HubConfigError, UnicodeDecodeError) as error:
        yield Finding(str(header), _of_the_proxy(str(error), header))
        return
    if not re.fullmatch(r"Authorization: (token|Bearer) \S+", text):
        yield Finding(f"{header}:1", "must be one line: Authorization: token TOKEN")
    elif hub.admin_token_file is not None and _not_in(text.split()[-1], hub.admin_token_file):
        yield note(f"{header}:1", f"is not the token of {here('admin_token_file')}; it must have the scope 'proxy'")


def _of_the_proxy(problem: str, path: Path) -> str:
    """Return what the operator must correct in the file ``path``, which the proxy's systemd unit uses.

    ``problem``: the message of the error that was raised when the file was read. systemd reads the file as root, but a
    backup reads it as the hub's account, so the file must belong to this account.
    """
    said = _mended(problem.removeprefix(f"{path}: "), path)
    if said == os.strerror(errno.EACCES):
        return f"{said}: it must belong to the account of the hub, whose backups contain it"
    return said


def _settings(text: str) -> list[tuple[int, str, str]]:
    """Return the assignments in the text of a systemd EnvironmentFile as (line number, name, value)."""
    parted = [(number, *line.strip().partition("=")) for number, line in enumerate(text.splitlines(), 1)]
    return [(number, name, value.strip("\"'")) for number, name, is_one, value in parted if is_one and name[:1] != "#"]


def _not_in(token: str, path: Path) -> bool:
    try:
        return not hmac.compare_digest(token.encode(), path.read_bytes().strip())
    except OSError:
        return False
