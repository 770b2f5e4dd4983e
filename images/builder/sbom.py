"""Writes the SBOM of an image as SPDX; equal images get equal SBOMs."""

from __future__ import annotations

import json
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path

from images.builder.steps import EPOCH, run


def write(archive: Path, name: str, identity: str, target: Path) -> None:
    """Write the SBOM of the image in the OCI archive ``archive`` to the file ``target``. Raises BuildError.

    ``name``: the image's name and version, as ``NAME:VERSION``; ``identity``: the image's id.
    """
    syft = Path(sys.executable).with_name("syft")
    title, _, version = name.partition(":")
    # The name is given, otherwise the document would contain the archive's path on this machine.
    source = (f"oci-archive:{archive}", f"--source-name={title}", f"--source-version={version}")
    found = run([syft, "scan", *source, "--quiet", "--output=spdx-json"], SYFT_CHECK_FOR_APP_UPDATE="false")
    target.write_text(json.dumps(steady(json.loads(found), identity), indent=1, sort_keys=True) + "\n")


def steady(document: dict[str, object], identity: str) -> dict[str, object]:
    """Return the SBOM with a fixed time, and with a namespace that is computed from the image's id."""
    made = {"created": datetime.fromtimestamp(EPOCH, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}
    creation = document.get("creationInfo")
    return {
        **document,
        "creationInfo": {**(creation if isinstance(creation, dict) else {}), **made},
        "documentNamespace": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, identity)}",
    }
