"""Static files under an address that names their content.

All files share one digest, which stands in the path: `/static/<digest>/charter.css`. A browser may
therefore keep them for ever, a new release has new addresses, and the style sheet can point to the
fonts beside it without knowing the digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

_FOLDER: Final = Path(__file__).parent / "static"
_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".woff2": "font/woff2",
}
_DIGEST_CHARACTERS: Final = 16  # 64 bits: tells releases apart; nothing is trusted because of it


@dataclass(frozen=True, slots=True)
class Asset:
    """One file: its bytes and their media type."""

    content: bytes
    media_type: str


def _read() -> Mapping[str, Asset]:
    files = sorted(path for path in _FOLDER.rglob("*") if path.suffix in _TYPES)
    return MappingProxyType(
        {
            path.relative_to(_FOLDER).as_posix(): Asset(path.read_bytes(), _TYPES[path.suffix])
            for path in files
        }
    )


def _digest(assets: Mapping[str, Asset]) -> str:
    whole = hashlib.sha256()
    for name, asset in assets.items():
        whole.update(f"{name}\0{len(asset.content)}\0".encode())
        whole.update(asset.content)
    return whole.hexdigest()[:_DIGEST_CHARACTERS]


# Read once: they are part of the program, and together smaller than half a megabyte.
ASSETS: Final = _read()
DIGEST: Final = _digest(ASSETS)


def url(name: str) -> str:
    """The address of a file; raises `KeyError` for one that there is not."""
    if name not in ASSETS:
        raise KeyError(name)
    return f"/static/{DIGEST}/{name}"
