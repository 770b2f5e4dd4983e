"""Settings of the addresses at which link and workshops service listen."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from factorycommon.models import Model

Port = Annotated[int, Field(ge=1, le=65535)]
Host = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.:-]{1,253}$")]  # a name or an address


class HubListener(Model):
    """The address at which the link or the workshops service listens for a hub on another host.

    At this address, the service accepts only clients whose certificate has the name ``hub``.
    """

    host: Host
    port: Port
