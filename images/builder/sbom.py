"""Writes what an image is made of as SPDX (an SBOM), equal for equal images."""

from __future__ import annotations

import json
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path

from images.builder.steps import EPOCH, run


def write(archive: Path, identity: str, target: Path) -> None:
    """Write the SBOM of an OCI archive; ``identity`` is the image's id."""
    syft = Path(sys.executable).with_name("syft")
    found = run(
        [syft, "scan", f"oci-archive:{archive}", "--quiet", "--output=spdx-json"], SYFT_CHECK_FOR_APP_UPDATE="false"
    )
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
