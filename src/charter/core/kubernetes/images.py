"""Container image references: where an image comes from and whether it can change under its name.

`ubuntu` is short for `docker.io/library/ubuntu:latest`; rules see the long form, so that an
approved registry is compared with what is really pulled. A reference is *pinned* when it names a
digest: whatever its tag says, the digest decides.

Source: Spec CA-2; the reference grammar of the OCI distribution specification.
"""

from __future__ import annotations

import re
from typing import Final

_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
_REFERENCE: Final = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._:/-]{0,254}?)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@(?P<digest>[A-Za-z0-9:+._-]+))?"
)
_DEFAULT_REGISTRY: Final = "docker.io"
_DEFAULT_FOLDER: Final = "library"


def read_image(text: str) -> dict[str, object] | None:
    """`repository` (with its registry), `tag`, `pinned`; None for what is no reference."""
    match = _REFERENCE.fullmatch(text)
    if match is None:
        return None
    name, tag, digest = match["name"], match["tag"], match["digest"]
    first, _, rest = name.partition("/")
    if "/" not in name:
        registry, path = _DEFAULT_REGISTRY, f"{_DEFAULT_FOLDER}/{first}"
    elif "." in first or ":" in first or first == "localhost":
        registry, path = first, rest
    else:
        registry, path = _DEFAULT_REGISTRY, name
    if ":" in path or "//" in path or path.strip("/") != path:
        return None
    if digest is not None and _DIGEST.fullmatch(digest) is None:
        return None
    pinned = digest is not None
    return {
        "repository": f"{registry.lower()}/{path}",
        "tag": tag if tag is not None else ("" if pinned else "latest"),
        "pinned": pinned,
    }
