# ruff: noqa: F821, D100
# Who may log in, and what each person may do.
from pathlib import Path

from factoryspawner.config import hub_config
from factoryspawner.login import names, password_file, people

config = hub_config.loaded()
factories = "access:services!service=factories"
names.check_no_robots(config)

if config.login is not None:
    people.upgrade(config.login.people_file)
    c.JupyterHub.authenticator_class = "factoryspawner.login.authenticator.FederatedAuthenticator"
    antennas = config.antennas_file(Path(__file__).parents[1] / "antennas.yaml")
    c.FederatedAuthenticator.antennas_file = "" if antennas is None else str(antennas)
    c.Authenticator.enable_auth_state = True
    c.CryptKeeper.keys = hub_config.read_secret(config.login.crypt_key_file).split()
    c.Authenticator.auth_refresh_age = config.login.refresh_seconds
    c.Authenticator.refresh_pre_spawn = True
elif config.passwords_file is not None:
    c.JupyterHub.authenticator_class = "factoryspawner.login.passwords.PasswordAuthenticator"
    c.PasswordAuthenticator.passwords_file = str(config.passwords_file)
    # The hub must know these users before they first log in, so that its API can start servers for them.
    c.Authenticator.allowed_users = set(password_file.read_passwords(config.passwords_file))
c.Authenticator.admin_users = set(config.admins)
if config.guests_at is not None and (config.login is not None or config.passwords_file is not None):
    from factoryspawner.login import guests

    guests.check_names(config)
    kind = "PasswordsWithGuests" if config.login is None else "FederatedWithGuests"
    c.JupyterHub.authenticator_class = f"factoryspawner.login.guests.{kind}"
    c.GuestLogin.workshops_at = config.guests_at

workshops = "access:services!service=workshops"
of_person = [factories] if config.workshops is None else [factories, workshops]

c.JupyterHub.services = [
    {
        "name": "factories",  # the link's API for notebooks and scripts
        "url": config.link_url,
        "api_token": hub_config.read_secret(config.service_token_file),
        "oauth_no_confirm": True,
        "display": False,
        "timeout": 1,  # seconds; the hub does not wait for its link
    }
]
c.JupyterHub.load_roles = [
    {"name": "user", "scopes": ["self", *of_person]},
    {"name": "server", "scopes": ["users:activity!user", "access:servers!server", factories]},
    {
        "name": "factories",  # the role by which the link starts servers again that a restarted hub has forgotten
        "scopes": ["list:users", "read:users:name", "read:servers", "start:servers"],
        "services": ["factories"],
    },
]
c.Spawner.server_token_scopes = ["users:activity!user", "access:servers!server", factories]

if config.workshops is not None:
    c.JupyterHub.services.append(
        {
            "name": "workshops",  # its API for trainers' scripts
            "url": config.workshops.url,
            "api_token": hub_config.read_secret(config.workshops.token_file),
            "oauth_no_confirm": True,
            "display": False,
            "timeout": 1,  # seconds; the hub does not wait for it
        }
    )
    c.JupyterHub.load_roles.append(
        {
            "name": "workshops",  # the service may look, and neither start, enter nor grant anything
            "scopes": ["list:users", "read:users:name", "read:servers", workshops],
            "services": ["workshops"],
        }
    )

if config.admin_token_file is not None:
    c.JupyterHub.services.append({"name": "admin", "api_token": hub_config.read_secret(config.admin_token_file)})
    c.JupyterHub.load_roles.append(
        {
            "name": "operator",
            "scopes": [
                "admin:users",
                "servers",
                "access:servers",
                "access:services",
                "tokens",
                "admin:groups",
                "read:roles",
                "list:services",
                "read:services",
                "read:hub",
                "read:metrics",
                "proxy",
            ],
            "services": ["admin"],
        }
    )
