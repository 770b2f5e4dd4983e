"""batchspawner's interface for operators and users: its settings, and the methods of its spawners."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from traitlets import Unicode

from factorycommon.models import JobOptions, SessionState
from factoryspawner.callback import BatchSpawnerBase
from factoryspawner.config.batch_settings import FEEDING, check_settings, job_options
from factoryspawner.session_handle import SessionHandle


class BatchspawnerFace(BatchSpawnerBase):  # type: ignore[misc]  # batchspawner is untyped
    """The base of FactorySpawner: batchspawner's methods, and its settings that have an effect on the job.

    Creating a spawner raises SettingsError if the configuration has a setting of batchspawner that is in ``REFUSED`` of
    ``config.batch_settings``, because the setting would have no effect here.
    """

    req_qos = Unicode("", help="Quality of service of every job").tag(config=True)
    req_constraint = Unicode("", help="Node features that every job asks for").tag(config=True)
    req_reservation = Unicode("", help="Reservation that every job runs in").tag(config=True)
    req_gres = Unicode("", help="Generic resources in place of the size's GPUs").tag(config=True)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for section in (cls.__name__ for cls in type(self).__mro__ if cls.__name__ in self.config):
            check_settings(self.config[section], section)

    @property
    @abstractmethod
    def handle(self) -> SessionHandle:
        """Return the handle of this server's session; the handle may have no session yet."""

    def job_options(self) -> JobOptions:
        """Return the options for the job (account, partition and others) from the spawner's settings.

        Raises SettingsError if a value is not valid.
        """
        return job_options({name: getattr(self, name) for name in FEEDING})

    async def run_command(self, *_args: Any, **_kwargs: Any) -> str:
        """Raise RuntimeError: batchspawner's method that runs shell commands must not be used."""
        raise RuntimeError("The hub runs no commands; the link talks to the schedulers")

    def state_ispending(self) -> bool:
        """Return whether the job waits in the queue, or is being submitted."""
        return self.handle.session is not None and self.handle.session.state == SessionState.PENDING

    def state_isrunning(self) -> bool:
        """Return whether the session is starting or running: the job is on a node."""
        return self.handle.session is not None and self.handle.session.state in (
            SessionState.STARTING,
            SessionState.RUNNING,
        )

    def state_isunknown(self) -> bool:
        """Return whether the session is unreachable.

        Such a session cannot be used or followed now, but has not ended. For example, its factory or its door does not
        answer, or the site has suspended its job.
        """
        return self.handle.session is not None and self.handle.session.state == SessionState.UNREACHABLE

    def state_gethost(self) -> str | None:
        """Return the name of the job's node; None: there is no session, or the job's node is not known."""
        return self.handle.session.node if self.handle.session is not None else None
