"""This very package as a wheel for Pyodide.

It is packed from the installed files, so that a site can be built from an installed wheel as well as from a
checkout. The same files give the same bytes, so that a rebuilt site differs only where the engine does.
"""

from __future__ import annotations

import base64
import hashlib
import zipfile
from collections.abc import Iterator
from importlib.metadata import distribution, version
from pathlib import Path

PACKAGE = Path(__file__).parent.parent

_NAME = "durably_wasm"
_WHEEL = "Wheel-Version: 1.0\nGenerator: durably-wasm\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip can hold


def installed_version() -> str:
    """Return this package's version."""
    return version("durably-wasm")


def installed_metadata() -> str:
    """Return this package's METADATA file."""
    return distribution("durably-wasm").read_text("METADATA") or ""


def pack_engine(package: Path, version: str, metadata: str, into: Path) -> Path:
    """Write the engine's wheel into a folder and return its path.

    The browser runs neither the command line nor a copy of its own JavaScript, so both stay out.
    """
    info = f"{_NAME}-{version}.dist-info"
    files = {f"{_NAME}/{name}": (package / name).read_bytes() for name in _engine_files(package)}
    files |= {f"{info}/METADATA": metadata.encode(), f"{info}/WHEEL": _WHEEL.encode()}
    files[f"{info}/RECORD"] = _record(files, f"{info}/RECORD").encode()
    wheel = into / f"{_NAME}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in files.items():
            archive.writestr(_entry(name), content)
    return wheel


def _engine_files(package: Path) -> Iterator[str]:
    for path in sorted(package.rglob("*")):
        name = path.relative_to(package)
        if name.parts[0] in ("cli", "web") or name.as_posix() == "__main__.py":
            continue
        if path.suffix in (".py", ".sql") or path.name == "py.typed":
            yield name.as_posix()


def _record(files: dict[str, bytes], own_name: str) -> str:
    rows = [f"{name},sha256={_digest(content)},{len(content)}\n" for name, content in files.items()]
    return "".join(rows) + f"{own_name},,\n"


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.create_system = 3  # Unix, wherever the site is built
    entry.external_attr = 0o644 << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry
