"""The wheels of a site: pinned ones for the engine, and those that a build asks for.

`pyodide-requirements.txt` pins version and hash of each wheel that every site has. What `--with` adds is
resolved by pip for Pyodide's platform, against the same versions. (pip judges conditions such as
`sys_platform == "emscripten"` by the machine that builds, so a package may bring a wheel too many.)
"""

from __future__ import annotations

import email.parser
import re
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import click
from packaging.markers import default_environment
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from durably_wasm.cli.downloads import Report, filled_once, key, run

# What the engine imports, each after what it needs itself.
ENGINE_NEEDS = ("annotated-types", "typing-extensions", "typing-inspection", "pydantic-core", "pydantic")
# What a page may ask for in every site, and what reads what it asks for.
ALWAYS = ("micropip", "packaging")

REQUIREMENTS = Path(__file__).parent / "pyodide-requirements.txt"

# The tags of Pyodide 314: CPython 3.14 on its 2026 platform.
_PLATFORM = (
    *("--platform", "pyemscripten_2026_0_wasm32"),
    *("--python-version", "314"),
    *("--implementation", "cp"),
    *("--abi", "cp314"),
    *("--only-binary", ":all:"),
)
_PIP = (sys.executable, "-m", "pip", "--quiet", "--no-input", "--disable-pip-version-check", "download")
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"


def parse_requirement(text: str) -> str | None:
    """Return the requirement without its condition; None when the condition does not hold in Pyodide.

    Raises `BadParameter` when it is none, or does not start with a package's name.
    """
    if re.match(rf"\s*{_NAME}\s*(?:$|[\[(=<>!~;])", text) is None:
        raise click.BadParameter(f"{text!r} does not start with the name of a package")
    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        raise click.BadParameter(f"{text!r} is no requirement: {str(error).splitlines()[0]}") from error
    condition, requirement.marker = requirement.marker, None
    return str(requirement) if condition is None or condition.evaluate(_environment()) else None


def required_name(requirement: str) -> str:
    """Return the normalized name in a requirement: 'Foo_Bar[extra]>=1' is about 'foo-bar'."""
    found = re.match(_NAME, requirement.strip())
    return canonicalize_name(found.group()) if found else ""


def find_wheels(downloads: Path, packages: tuple[str, ...], report: Report) -> dict[str, Path]:
    """Return the wheels of a site by package name, downloaded on first use."""
    pinned = wheels_in(_pinned(downloads, report))
    return pinned if not packages else wheels_in(_asked_for(downloads, packages, report)) | pinned


def wheels_in(folder: Path) -> dict[str, Path]:
    """Return the wheels in a folder by normalized package name."""
    return {canonicalize_name(wheel.name.split("-")[0]): wheel for wheel in sorted(folder.glob("*.whl"))}


def with_needs(name: str, wheels: Mapping[str, Path], known: Iterable[str]) -> list[str]:
    """Return the names of a package and of what it needs of `wheels`, except those `known`.

    A need under a condition counts when its wheel is there: pip has already judged the conditions.
    """
    found: list[str] = []
    waiting = [name]
    while waiting:
        name = waiting.pop(0)
        if name in wheels and name not in found and name not in known:
            found.append(name)
            waiting += _needs(wheels[name])
    return found


def _pinned(downloads: Path, report: Report) -> Path:
    def download(folder: Path) -> None:
        report("Downloading the engine's wheels")
        options = ["--no-deps", "--require-hashes", "--requirement", str(REQUIREMENTS)]
        run([*_PIP, *_PLATFORM, *options, "--dest", "."], folder, "Downloading the engine's wheels")

    return filled_once(downloads / f"wheels-{key(REQUIREMENTS.read_text())}", download)


def _asked_for(downloads: Path, packages: tuple[str, ...], report: Report) -> Path:
    pins = "\n".join(re.findall(rf"^{_NAME}==\S+", REQUIREMENTS.read_text(), re.MULTILINE))
    names = " ".join(packages)

    def download(folder: Path) -> None:
        report(f"Downloading {names}")
        (folder / "pins.txt").write_text(pins)
        options = ["--constraint", "pins.txt", "--dest", "."]
        run([*_PIP, *_PLATFORM, *options, *packages], folder, f"Downloading {names}")

    return filled_once(downloads / f"with-{key(pins, *sorted(packages))}", download)


def _needs(wheel: Path) -> Iterator[str]:
    with zipfile.ZipFile(wheel) as archive:
        info = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = email.parser.BytesHeaderParser().parsebytes(archive.read(info))
    for need in metadata.get_all("Requires-Dist", []):
        yield required_name(need)


def _environment() -> dict[str, str]:
    """Return what conditions are judged by: Pyodide's values."""
    here = {name: str(value) for name, value in default_environment().items()}
    return here | {
        "os_name": "posix",
        "platform_machine": "wasm32",
        "platform_system": "Emscripten",
        "python_full_version": "3.14.2",
        "python_version": "3.14",
        "sys_platform": "emscripten",
    }
