"""What a page's option `packages` asks for, against what the site has. Nothing is looked for elsewhere.

Each text is a requirement as pip reads it (PEP 508): a name in any spelling, extras, versions, a condition. `boot.js`
unpacks the wheel of `packaging` before this module is imported.
"""

from __future__ import annotations

import importlib
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, distribution

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename


def choose_wheels(asked: str, packages: str) -> str:
    """Return the site's wheels that these requirements need, each once, as JSON. What cannot be had is passed over.

    Both arguments are JSON: a list of requirements, and the manifest's `packages`.
    """
    site: Mapping[str, Sequence[str]] = json.loads(packages)
    names = [canonicalize_name(read.name) for read in map(_read, json.loads(asked)) if isinstance(read, Requirement)]
    return json.dumps(list(dict.fromkeys(wheel for name in names for wheel in _wheels_of(name, site))))


def refusal(asked: str) -> str:
    """Return which of these requirements the installed packages do not fulfil, and why; empty when they do.

    The argument is a JSON list of requirements.
    """
    importlib.invalidate_caches()
    return "; ".join(reason for text in json.loads(asked) for reason in _reasons(text))


def _read(text: str) -> Requirement | str:
    """Return the requirement in a text, or why it is none."""
    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        return f"packages: {text!r} is not the name of a package: {str(error).splitlines()[0]}"
    if requirement.url is not None:
        return f"packages: {text!r} names an address, but only packages of the site itself are loaded"
    return requirement


def _reasons(text: str) -> Iterator[str]:
    requirement = _read(text)
    if isinstance(requirement, str):
        yield requirement
    elif requirement.marker is None or requirement.marker.evaluate():
        advice = f"build it with: durably-wasm build SOURCE --out DIST --with {shlex.quote(text)}"
        yield from (f"{reason}; {advice}" for reason in _unmet(requirement, frozenset()))


def _wheels_of(name: str, site: Mapping[str, Sequence[str]]) -> Sequence[str]:
    """Return the wheels of a package with what it needs, or of one that needs it."""
    if name in site:
        return site[name]
    return next((wheels for wheels in site.values() if name in map(_name_of, wheels)), ())


def _name_of(wheel: str) -> str:
    return parse_wheel_filename(wheel.rpartition("/")[2])[0]


def _unmet(requirement: Requirement, above: frozenset[str]) -> Iterator[str]:
    """Say what is missing for a requirement: its package, its version, or what one of its extras needs."""
    if str(requirement) in above:
        return
    name = canonicalize_name(requirement.name)
    try:
        found = distribution(name)
    except PackageNotFoundError:
        yield f'this site has no package "{name}"'
        return
    if not requirement.specifier.contains(found.version, prereleases=True):
        yield f'this site has "{name}" {found.version}, which does not fulfil "{requirement.specifier}"'
    needs = [Requirement(need) for need in found.requires or ()] if requirement.extras else []
    for need in needs:
        if any(_is_of_extra(need, extra) for extra in requirement.extras):
            yield from _unmet(need, above | {str(requirement)})


def _is_of_extra(need: Requirement, extra: str) -> bool:
    marker = need.marker
    return marker is not None and marker.evaluate({"extra": extra}) and not marker.evaluate({"extra": ""})
