"""Writes what an image is made of as SPDX (an SBOM), equal for equal images."""

from __future__ import annotations

import json
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path

from images.builder.steps import EPOCH, run


def write(archive: Path, name: str, identity: str, target: Path) -> None:
    """Write the SBOM of an OCI archive; ``name`` and ``identity`` are the image's."""
    syft = Path(sys.executable).with_name("syft")
    title, _, version = name.partition(":")
    # Named, or the document would hold the archive's path on this machine.
    source = (f"oci-archive:{archive}", f"--source-name={title}", f"--source-version={version}")
    found = run([syft, "scan", *source, "--quiet", "--output=spdx-json"], SYFT_CHECK_FOR_APP_UPDATE="false")
    target.write_text(json.dumps(steady(json.loads(found), identity), indent=1, sort_keys=True) + "\n")


def steady(document: dict[str, object], identity: str) -> dict[str, object]:
    """Return the document with the time of the image and a namespace made of its id, in place of new ones."""
    made = {"created": datetime.fromtimestamp(EPOCH, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}
    creation = document.get("creationInfo")
    return {
        **document,
        "creationInfo": {**(creation if isinstance(creation, dict) else {}), **made},
        "documentNamespace": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, identity)}",
    }
