"""What a page's packages ask for, against a site that has some."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import durably_wasm

MODULE = Path(durably_wasm.__file__).parent / "browser/packages.py"
SITE = {
    "python-dateutil": ["wheels/python_dateutil-2.9.0-py2.py3-none-any.whl", "wheels/six-1.17-py3-none-any.whl"],
    "httpx": ["wheels/httpx-1.0rc1-py3-none-any.whl", "wheels/anyio-4.0-py3-none-any.whl"],
    "pydantic": [],
}
INSTALLED = {
    "python_dateutil": ("2.9.0.post0", ["six>=1.5"]),
    "six": ("1.17", []),
    "httpx": ("1.0rc1", ['h2>=3; extra == "http2"', 'anyio[trio]; extra == "all"', 'httpx[http2]; extra == "all"']),
    "anyio": ("4.0", ['trio>=1; extra == "trio"', 'colorama; extra == "trio" and sys_platform == "win32"']),
    "trio": ("0.9", []),
    "zope.interface": ("7", []),
    "cyclic": ("1", ['cyclic[b]; extra == "a"', 'cyclic[a]; extra == "b"']),
}


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module, which imports the browser with its package, beside these installed packages alone."""
    for name, (version, needs) in INSTALLED.items():
        info = tmp_path / f"{name}-{version}.dist-info"
        info.mkdir()
        lines = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {need}" for need in needs)]
        (info / "METADATA").write_text("\n".join(["Metadata-Version: 2.1", *lines, ""]))
    spec = importlib.util.spec_from_file_location("durably_packages", MODULE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    yield module


def wheels(packages: ModuleType, *asked: str) -> list[str]:
    chosen: list[str] = json.loads(packages.choose_wheels(json.dumps(asked), json.dumps(SITE)))
    return [wheel.removeprefix("wheels/").split("-")[0] for wheel in chosen]


def refusal(packages: ModuleType, *asked: str) -> str:
    text: str = packages.refusal(json.dumps(asked))
    return text


@pytest.mark.parametrize(
    "asked",
    [
        *("python-dateutil", "Python_DateUtil", "PYTHON.dateutil", "python--dateutil", " python-dateutil "),
        *("python-dateutil>=2", "python-dateutil >= 2, < 3", "python-dateutil (>=2)", "python-dateutil==2.9.0.post0"),
        *("python-dateutil~=2.9", "python-dateutil[extra]", "python-dateutil[a,b]>=2", "python-dateutil!=3"),
        *("python-dateutil==2.*", "python-dateutil; python_version >= '3'", "python_dateutil>=2 ; os_name != 'x'"),
    ],
)
def test_names_and_requirements_find_each_other(packages: ModuleType, asked: str) -> None:
    assert wheels(packages, asked) == ["python_dateutil", "six"]
    assert refusal(packages, asked) == ""


def test_each_wheel_is_chosen_once(packages: ModuleType) -> None:
    assert wheels(packages, "python-dateutil", "httpx", "Python_DateUtil>=2") == [
        *("python_dateutil", "six", "httpx", "anyio"),
    ]


def test_a_package_comes_with_another_that_needs_it(packages: ModuleType) -> None:
    assert wheels(packages, "AnyIO>=3") == ["httpx", "anyio"]
    assert wheels(packages, "pydantic") == []
    assert wheels(packages, "numpy") == []


def test_a_condition_that_does_not_hold_asks_for_nothing(packages: ModuleType) -> None:
    assert refusal(packages, "numpy; sys_platform == 'win32'", "six<1; python_version < '3'") == ""


def test_a_release_candidate_that_the_site_has_will_do(packages: ModuleType) -> None:
    assert refusal(packages, "httpx>=0.9") == ""


def test_extras_are_followed(packages: ModuleType) -> None:
    assert 'no package "h2"' in refusal(packages, "httpx[HTTP2]")
    assert refusal(packages, "anyio", "httpx", "httpx[unknown]", "cyclic[a]", "zope-interface") == ""
    reasons = refusal(packages, "httpx[all]").split("; build it with: ")
    assert reasons[0] == 'this site has "trio" 0.9, which does not fulfil ">=1"'
    assert 'no package "h2"' in reasons[1]


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ("NumPy", 'this site has no package "numpy"; build it with: durably-wasm build SOURCE --out DIST --with NumPy'),
        (
            "six[x]>=2",
            'this site has "six" 1.17, which does not fulfil ">=2"; build it with: .* --with \'six\\[x\\]>=2\'',
        ),
        ("python-dateutil==2.9.0.post1", 'which does not fulfil "==2.9.0.post1"'),
        ("six @ https://example.com/six-1-py3-none-any.whl", "'six @ https:.*' names an address, but only packages of"),
        ("six @ file:///six.whl", "names an address"),
        *((text, "is not the name of a package: ") for text in ("https://x/y.whl", "./y.whl", "y.whl/", "emfs:/y.whl")),
        *(
            (text, "is not the name of a package: ")
            for text in ("-r x", "six>>1", "six==", "six 1", "a b", "*", "ümläut")
        ),
    ],
)
def test_what_the_site_does_not_have_is_refused_in_words(packages: ModuleType, asked: str, reason: str) -> None:
    assert re.search(reason, refusal(packages, "six", asked))


def test_all_that_is_missing_is_named(packages: ModuleType) -> None:
    reasons = refusal(packages, "numpy", "six", "pandas>=2", "./x")
    assert all(name in reasons for name in ('"numpy"', '"pandas"', "'./x'")) and '"six"' not in reasons
