"""Refuses names that are reserved for robots, which are made-up members of workshops and take seats in rehearsals."""

from __future__ import annotations

from jupyterhub.auth import Authenticator

from factorycommon.models import is_robot
from factoryspawner.config.hub_config import HubConfig, HubConfigError
from factoryspawner.login.password_file import read_passwords


class NamesOfPeople(Authenticator):  # type: ignore[misc]  # untyped
    """The base of the gateway's authenticators, which refuses names that are reserved for the robots of rehearsals.

    Such names are refused at logins and for users that the hub's API creates.
    """

    def validate_username(self, username: str) -> bool:
        """Return whether a person may have this name: JupyterHub's rules allow it, and it is no robot's name."""
        return not is_robot(username) and bool(super().validate_username(username))


def check_no_robots(config: HubConfig) -> None:
    """Raise HubConfigError if somebody with a password has a name that only robots may have.

    Raises PasswordFileError if the file of passwords cannot be used.
    """
    for name in read_passwords(config.passwords_file) if config.passwords_file is not None else ():
        if is_robot(name):
            raise HubConfigError(f"passwords_file: {name!r} is a name for robots of rehearsals; give another one")
