"""A login provider as a separate process (oidc-provider-mock): anybody can log in with any name."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx

from testbed import ports

CLIENT = "factorygate"


class OidcProvider:
    """The provider on loopback, with its log in ``folder``. Tokens are valid for ``seconds``."""

    def __init__(self, folder: Path, seconds: int = 3600) -> None:
        self.port = ports.single()
        self.issuer = f"http://127.0.0.1:{self.port}"
        self._folder = folder
        self._seconds = seconds
        self._process: subprocess.Popen[bytes] | None = None

    def up(self) -> None:
        """Start the provider, and wait until it answers; it has forgotten its people."""
        argv = [sys.executable, "-m", "oidc_provider_mock", "-H", "127.0.0.1"]
        with (self._folder / "provider.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*argv, "-p", str(self.port), "-e", str(self._seconds)], stdout=log, stderr=log, env={**os.environ}
            )
        while True:
            assert self._process.poll() is None, (self._folder / "provider.log").read_text()
            try:
                httpx.get(f"{self.issuer}/jwks", timeout=30, trust_env=False).raise_for_status()
            except httpx.TransportError:
                time.sleep(0.05)  # no event reports that the program is ready
                continue
            return

    def down(self) -> None:
        """Stop the provider."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def says(self, sub: str, **claims: Any) -> None:
        """Set the claims about a person."""
        httpx.put(f"{self.issuer}/users/{sub}", json=claims, timeout=30, trust_env=False).raise_for_status()

    def revoke(self, sub: str) -> None:
        """Revoke a person's tokens."""
        httpx.post(f"{self.issuer}/users/{sub}/revoke-tokens", timeout=30, trust_env=False).raise_for_status()

    def settings(self, folder: Path, name: str = "mine", **more: Any) -> dict[str, Any]:
        """Return this provider's entry for ``login.providers``, after writing its client secret into ``folder``.

        ``name``: the entry's id; ``more``: more keys of the entry.
        """
        secret = folder / f"{name}.secret"
        secret.write_text("s" * 16)
        secret.chmod(0o600)
        return {
            "id": name,
            "issuer": self.issuer,
            "client_id": CLIENT,
            "client_secret_file": str(secret),
            "scopes": ["openid", "profile", "email"],
        } | more
