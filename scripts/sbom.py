#!/usr/bin/env python3
"""The bill of materials as CycloneDX 1.5 JSON, from requirements.lock and pyproject.toml alone: no network, no clock, no chance.

    .venv/bin/python scripts/sbom.py > sbom.cdx.json

The same lock always gives the same bytes; the serial number is made from them.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import tomllib
import uuid
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent.parent
PINNED = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;\\]+)(?:\s*;\s*(?P<marker>[^\\\n]+?))?\s*\\?$")
HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


def components(lock: str) -> list[dict[str, Any]]:
    """Return one component for each package of a lock, by name.

    Raises:
        ValueError: a line is neither a pinned package, one of its hashes, nor a comment.
    """
    found: list[dict[str, Any]] = []
    for number, line in enumerate(lock.splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        hashes = HASH.findall(text)
        if hashes and found:
            found[-1]["hashes"] += [{"alg": "SHA-256", "content": digest} for digest in hashes]
            continue
        pinned = PINNED.match(text)
        if pinned is None:
            raise ValueError(f"requirements.lock:{number}: not a pinned package: {text[:80]}")
        name = re.sub(r"[-_.]+", "-", pinned["name"]).lower()
        purl = f"pkg:pypi/{name}@{pinned['version']}"
        component: dict[str, Any] = {
            **{"type": "library", "bom-ref": purl, "name": name, "version": pinned["version"], "purl": purl},
            "hashes": [],
        }
        if pinned["marker"]:
            component["properties"] = [{"name": "environment-marker", "value": pinned["marker"]}]
        found.append(component)
    bare = [row["name"] for row in found if not row["hashes"]]
    if bare:
        raise ValueError(f"without a hash: {', '.join(bare)}")
    return sorted(found, key=lambda row: str(row["name"]))


def bill(lock: str, project: dict[str, Any]) -> dict[str, Any]:
    """Return the whole bill."""
    rows = components(lock)
    serial = uuid.UUID(bytes=hashlib.sha256(json.dumps([project["version"], rows]).encode()).digest()[:16], version=4)
    ours = f"pkg:pypi/{project['name']}@{project['version']}"
    return {
        **{"bomFormat": "CycloneDX", "specVersion": "1.5", "serialNumber": f"urn:uuid:{serial}", "version": 1},
        "metadata": {
            "component": {
                **{"type": "application", "bom-ref": ours, "name": project["name"], "version": project["version"]},
                **{"purl": ours, "licenses": [{"license": {"id": project["license"]}}]},
            }
        },
        "components": rows,
        "dependencies": [{"ref": ours, "dependsOn": [row["bom-ref"] for row in rows]}],
    }


def main() -> int:
    """Print the bill."""
    project = tomllib.loads((HERE / "pyproject.toml").read_text("utf-8"))["project"]
    try:
        found = bill((HERE / "requirements.lock").read_text("utf-8"), project)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(json.dumps(found, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
