"""What is public is listed, documented, and the same in Python and JavaScript."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from types import ModuleType

import pytest

import durably_wasm
from durably_wasm import errors, events, models, stores, testing
from durably_wasm.models import camel_case
from durably_wasm.options import Options

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "durably_wasm"
WEB = ROOT / "web"

PUBLIC_MODULES = [durably_wasm, stores, testing]
# What users meet of these modules: the rest of `models` and `events` is between stores and engine.
ROWS = {"Log", "Progress", "Run", "RunFilter", "Step", "TriggerResult", "WaitResult"}
EVENTS = {cls.__name__ for cls in events.EVENT_CLASSES} | {"Event", "RunEvent", "StepEvent", "is_domain_event"}
ENGINE = {
    *("create_durably", "define_job", "with_log_persistence"),
    *("Clock", "Durably", "JobDefinition", "JobHandle", "Plugin", "StepContext"),
}


def names(module: ModuleType) -> list[str]:
    """Return a module's public names: what it lists, or what it defines itself."""
    if hasattr(module, "__all__"):
        return list(module.__all__)
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    ]


def public_objects() -> Iterator[tuple[str, object]]:
    for module in PUBLIC_MODULES:
        for name in names(module):
            yield f"{module.__name__}.{name}", getattr(module, name)


def public_members() -> Iterator[tuple[str, object]]:
    for path, value in public_objects():
        if inspect.isclass(value):
            for name, member in vars(value).items():
                if not name.startswith("_") and (inspect.isfunction(member) or isinstance(member, property)):
                    yield f"{path}.{name}", member


def own_doc(value: object) -> str:
    """Return an object's docstring, but not the signature that a dataclass makes up for want of one."""
    doc = value.__doc__ or ""
    return "" if inspect.isclass(value) and doc.startswith(f"{value.__name__}(") else doc


def strings(pattern: str, file: Path) -> list[str]:
    """Return the quoted words of the only place in a file that matches a pattern."""
    [text] = re.findall(pattern, file.read_text("utf-8"), re.DOTALL)
    return re.findall(r"'([^']+)'", text)


class TestNames:
    @pytest.mark.parametrize("module", [durably_wasm, stores, errors], ids=lambda module: module.__name__)
    def test_are_listed_sorted_and_there(self, module: ModuleType) -> None:
        assert list(module.__all__) == sorted(set(module.__all__))
        assert [name for name in module.__all__ if not hasattr(module, name)] == []

    @pytest.mark.parametrize("module", [durably_wasm, stores], ids=lambda module: module.__name__)
    def test_are_all_that_a_package_offers(self, module: ModuleType) -> None:
        offered = {
            name for name, value in vars(module).items() if not name.startswith("_") and not inspect.ismodule(value)
        }
        assert offered == set(module.__all__)

    def test_are_every_error_event_row_and_door_to_the_engine(self) -> None:
        raised = {
            name
            for name, value in vars(errors).items()
            if inspect.isclass(value) and issubclass(value, BaseException) and value.__module__ == errors.__name__
        }
        assert set(errors.__all__) == raised
        assert {name for name in ROWS if not hasattr(models, name)} == set()
        assert set(durably_wasm.__all__) >= raised | EVENTS | ROWS | ENGINE

    def test_of_an_events_class_belong_to_the_package(self) -> None:
        defined = {
            name
            for name, value in vars(events).items()
            if inspect.isclass(value) and issubclass(value, events.Event) and value.__module__ == events.__name__
        }
        assert defined <= set(durably_wasm.__all__)


class TestErrors:
    def test_are_one_tree(self) -> None:
        tree = {
            "ValidationError": (errors.DurablyError, ValueError),
            "NotFoundError": (errors.DurablyError, LookupError),
            "ConflictError": (errors.DurablyError,),
            "RunFailedError": (errors.DurablyError,),
            "RunCancelledError": (errors.DurablyError,),
            "WaitTimeoutError": (errors.DurablyError, TimeoutError),
            "StoreError": (errors.DurablyError,),
            "RunCancelled": (errors.StopExecution,),
            "LeaseLost": (errors.StopExecution,),
            "DurablyError": (Exception,),
            "StopExecution": (BaseException,),
        }
        assert {name: getattr(errors, name).__bases__ for name in errors.__all__} == tree


class TestDocstrings:
    @pytest.mark.parametrize(
        ("path", "value"), list(public_objects()), ids=lambda value: value if isinstance(value, str) else ""
    )
    def test_are_on_every_public_object(self, path: str, value: object) -> None:
        assert own_doc(value).strip(), f"{path} has no docstring"

    @pytest.mark.parametrize(
        ("path", "value"), list(public_members()), ids=lambda value: value if isinstance(value, str) else ""
    )
    def test_are_on_every_public_method(self, path: str, value: object) -> None:
        assert own_doc(value).strip(), f"{path} has no docstring"

    def test_are_on_every_module(self) -> None:
        for file in sorted(PACKAGE.rglob("*.py")):
            assert ast.get_docstring(ast.parse(file.read_text("utf-8"))), f"{file} has no docstring"


class TestBothLanguages:
    def test_have_the_same_events(self) -> None:
        in_javascript = strings(r"EVENT_TYPES = [^\[]*\[(.*?)\]", WEB / "shared" / "events.js")
        assert in_javascript == list(events.EVENT_TYPES)

    def test_have_the_same_calls(self) -> None:
        answered = host_methods()
        called = strings(r"METHODS = [^\[]*\[(.*?)\]", WEB / "shared" / "protocol.js")
        assert len(called) == len(set(called))
        by_javascript = strings(r"WITHOUT_PYTHON = [^\[]*\[(.*?)\]", WEB / "shared" / "protocol.js")
        assert sorted([*answered, *by_javascript]) == sorted(called)
        typed = re.search(
            r"@typedef \{object\} Methods\n(.*?)\*/", (WEB / "shared" / "protocol.js").read_text(), re.DOTALL
        )
        assert typed is not None
        assert re.findall(r"@property \{.*\} (\w+)$", typed[1], re.MULTILINE) == called

    @pytest.mark.parametrize("method", strings(r"METHODS = [^\[]*\[(.*?)\]", WEB / "shared" / "protocol.js"))
    def test_use_each_call(self, method: str) -> None:
        page = "".join(file.read_text("utf-8") for file in sorted((WEB / "page").glob("*.js")))
        assert re.search(rf"\bcall\('{method}', ", page)

    def test_have_the_same_options(self) -> None:
        expected = {camel_case(field.name) for field in fields(Options)} - {"exclusive"}
        file = WEB / "page" / "options.js"
        listed = strings(r"ENGINE_OPTIONS = \[(.*?)\]", file)
        typed = set(re.findall(r"@property \{[^}]*\} \[?(\w+)\]?", file.read_text("utf-8")))
        assert sorted(listed) == sorted(expected)
        assert typed == expected | {"adopt", "app", "database", "durability", "jobs", "packages", "store"}

    def test_have_the_same_rows(self) -> None:
        rows = (WEB / "page" / "rows.js").read_text("utf-8")
        for cls in (models.Run, models.Step, models.Log):
            block = re.search(rf"@typedef \{{object\}} {cls.__name__}\n(.*?)(?: \*\n|\*/)", rows, re.DOTALL)
            assert block is not None
            listed = re.findall(r"@property \{.*\} (\w+)$", block[1], re.MULTILINE)
            assert listed == [camel_case(field.name) for field in fields(cls)]


def host_methods() -> list[str]:
    """Return the keys of `Host.METHODS`, read from the source: the module itself imports the browser."""
    module = ast.parse((PACKAGE / "browser" / "host.py").read_text("utf-8"))
    [host] = [node for node in module.body if isinstance(node, ast.ClassDef) and node.name == "Host"]
    [methods] = [
        node.value
        for node in host.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == "METHODS"
    ]
    assert isinstance(methods, ast.Dict)
    return [ast.literal_eval(key) for key in methods.keys if key is not None]
