"""A site is put together from what lies on this machine; these tests bring their own, and no network."""

from __future__ import annotations

import asyncio
import base64
import csv
import hashlib
import io
import json
import os
import re
import socket
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from starlette.types import Message

from durably_wasm.cli import commands
from durably_wasm.cli.downloads import filled_once, run
from durably_wasm.cli.engine import pack_engine
from durably_wasm.cli.runtime import RUNTIME_FILES, SQLITE_FILES
from durably_wasm.cli.serving import serve_site, site_app
from durably_wasm.cli.site import Manifest, Parts, build_site
from durably_wasm.cli.wheels import (
    ALWAYS,
    ENGINE_NEEDS,
    REQUIREMENTS,
    parse_requirement,
    required_name,
    wheels_in,
    with_needs,
)

METADATA = "Metadata-Version: 2.4\nName: durably-wasm\nVersion: 1.2.3\n"
PACKAGE_FILES = (
    "__init__.py",
    "__main__.py",
    "py.typed",
    "stores/sqlite.py",
    "stores/sql/writes.sql",
    "__pycache__/job.cpython-311.pyc",
    "cli/site.py",
    "web/worker/boot.py",
)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return written(tmp_path / "package", PACKAGE_FILES)


@pytest.fixture
def parts(tmp_path: Path, package: Path) -> Parts:
    runtime = written(tmp_path / "runtime", (*RUNTIME_FILES, "console.html"))
    written(tmp_path / "@journeyapps" / "wa-sqlite", (*SQLITE_FILES, "README.md"))
    (runtime / "package.json").write_text('{"version": "314.0.7"}')
    for name in (*ENGINE_NEEDS, *ALWAYS):
        add_wheel(tmp_path / "wheels", name)
    return Parts(
        package=package,
        version="1.2.3",
        metadata=METADATA,
        web=written(tmp_path / "web", ("page/index.js", "page/tsconfig.json", "worker/main.js", "demo/app.js")),
        runtime=runtime,
        wheels=wheels_in(tmp_path / "wheels"),
    )


@pytest.fixture
def source(tmp_path: Path) -> Path:
    names = (
        "index.html",
        "jobs.py",
        "data/rows.csv",
        ".git/config",
        ".env",
        "__pycache__/jobs.cpython-311.pyc",
    )
    return written(tmp_path / "source", names)


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    return tmp_path / "out" / "dist"


class TestEngineWheel:
    def test_holds_the_engine_and_not_what_only_a_developer_runs(self, package: Path, tmp_path: Path) -> None:
        assert zip_names(pack_engine(package, "1.2.3", METADATA, tmp_path)) == [
            "durably_wasm/__init__.py",
            "durably_wasm/py.typed",
            "durably_wasm/stores/sql/writes.sql",
            "durably_wasm/stores/sqlite.py",
            "durably_wasm-1.2.3.dist-info/METADATA",
            "durably_wasm-1.2.3.dist-info/WHEEL",
            "durably_wasm-1.2.3.dist-info/RECORD",
        ]

    def test_is_the_same_whenever_it_is_packed(self, package: Path, tmp_path: Path) -> None:
        first = pack_engine(package, "1.2.3", METADATA, tmp_path).read_bytes()
        os.utime(package / "__init__.py", (1e9, 1e9))
        (package / "py.typed").chmod(0o600)
        again = pack_engine(package, "1.2.3", METADATA, tmp_path)
        assert again.read_bytes() == first
        with zipfile.ZipFile(again) as wheel:
            assert {entry.date_time for entry in wheel.infolist()} == {(1980, 1, 1, 0, 0, 0)}

    def test_changes_with_the_engine(self, package: Path, tmp_path: Path) -> None:
        first = pack_engine(package, "1.2.3", METADATA, tmp_path).read_bytes()
        (package / "__init__.py").write_text("changed")
        assert pack_engine(package, "1.2.3", METADATA, tmp_path).read_bytes() != first

    def test_records_the_hash_and_size_of_each_file(self, package: Path, tmp_path: Path) -> None:
        with zipfile.ZipFile(pack_engine(package, "1.2.3", METADATA, tmp_path)) as wheel:
            record = wheel.read("durably_wasm-1.2.3.dist-info/RECORD").decode()
            rows = [tuple(row) for row in csv.reader(io.StringIO(record))]
            assert rows == [record_row(name, wheel.read(name)) for name in wheel.namelist()]


class TestSite:
    def test_has_the_source_as_it_lies_and_ours_beside_it(self, source: Path, dist: Path, parts: Parts) -> None:
        build(source, dist, parts)
        wheels = [f"durably/{path}" for path in manifest_of(dist)["files"] if path.startswith("wheels/")]
        assert sorted(files_in(dist)) == sorted(
            [
                *("index.html", "jobs.py", "data/rows.csv"),
                *("durably/manifest.json", "durably/files.json", "durably/page/index.js", "durably/worker/main.js"),
                *(f"durably/pyodide/{name}" for name in RUNTIME_FILES),
                *(f"durably/wa-sqlite/{name}" for name in SQLITE_FILES),
                *("durably/sql/writes.sql", *wheels),
            ]
        )

    def test_hashes_each_file_of_the_runtime_and_each_wheel(self, source: Path, dist: Path, parts: Parts) -> None:
        build(source, dist, parts)
        hashes = manifest_of(dist)["files"]
        assert set(hashes) == {f"{path}" for path in files_in(dist / "durably") if is_fetched(path)}
        for path, integrity in hashes.items():
            digest = hashlib.sha256((dist / "durably" / path).read_bytes()).digest()
            assert integrity == f"sha256-{base64.b64encode(digest).decode()}"

    def test_lists_the_engines_wheels_in_order(self, source: Path, dist: Path, parts: Parts) -> None:
        build(source, dist, parts)
        manifest = manifest_of(dist)
        assert (manifest["version"], manifest["pyodide"]) == ("1.2.3", "314.0.7")
        assert [Path(wheel).name.split("-")[0] for wheel in manifest["engine"]] == [
            *("annotated_types", "typing_extensions", "typing_inspection"),
            *("pydantic_core", "pydantic", "durably_wasm"),
        ]
        assert manifest["packages"] == {name: [f"wheels/{name}-1.0-py3-none-any.whl"] for name in ALWAYS}

    def test_lists_a_package_with_what_it_needs_beyond_the_engine(
        self, source: Path, dist: Path, parts: Parts, tmp_path: Path
    ) -> None:
        asked = tmp_path / "asked"
        add_wheel(asked, "httpx", "anyio<5", "pydantic>=2", "h2>=3; extra == 'http2'", "brotli; extra == 'br'")
        add_wheel(asked, "anyio", "idna", "httpx")
        add_wheel(asked, "idna")
        add_wheel(asked, "h2")
        build(source, dist, replace(parts, wheels={**parts.wheels, **wheels_in(asked)}, packages=("httpx",)))
        names = [Path(wheel).name.split("-")[0] for wheel in manifest_of(dist)["packages"]["httpx"]]
        assert names == ["httpx", "anyio", "h2", "idna"]
        assert all((dist / "durably" / path).is_file() for path in manifest_of(dist)["packages"]["httpx"])

    def test_adds_nothing_for_a_package_that_the_engine_has(self, source: Path, dist: Path, parts: Parts) -> None:
        build(source, dist, replace(parts, packages=("pydantic",)))
        assert manifest_of(dist)["packages"]["pydantic"] == []

    def test_forgets_a_file_that_the_source_no_longer_has(self, source: Path, dist: Path, parts: Parts) -> None:
        build(source, dist, parts)
        (source / "jobs.py").unlink()
        build(source, dist, parts)
        assert "jobs.py" not in files_in(dist)
        assert os.listdir(dist.parent) == ["dist"]

    def test_is_as_it_was_when_a_build_fails(self, source: Path, dist: Path, parts: Parts) -> None:
        build(source, dist, parts)
        before = {path: (dist / path).read_bytes() for path in files_in(dist)}
        (source / "index.html").write_text("changed")
        (parts.runtime / "pyodide.asm.wasm").unlink()
        with pytest.raises(click.ClickException, match=r"has no pyodide\.asm\.wasm"):
            build(source, dist, parts)
        assert {path: (dist / path).read_bytes() for path in files_in(dist)} == before
        assert os.listdir(dist.parent) == ["dist"]

    def test_needs_every_wheel(self, source: Path, dist: Path, parts: Parts) -> None:
        with pytest.raises(click.ClickException, match="no wheel of annotated-types"):
            build(source, dist, replace(parts, wheels={}))
        assert not dist.exists()


class TestFolders:
    def test_a_folder_of_someone_else_is_not_replaced(self, source: Path, dist: Path, parts: Parts) -> None:
        written(dist, ("thesis.txt",))
        with pytest.raises(click.ClickException, match="other files than a built site"):
            build(source, dist, parts)
        assert files_in(dist) == ["thesis.txt"]

    def test_an_empty_folder_is(self, source: Path, dist: Path, parts: Parts) -> None:
        dist.mkdir(parents=True)
        build(source, dist, parts)
        assert "index.html" in files_in(dist)

    @pytest.mark.parametrize(("inside", "around"), [("", ""), ("dist", ""), ("", "dist")])
    def test_source_and_site_do_not_lie_in_each_other(
        self, source: Path, parts: Parts, inside: str, around: str
    ) -> None:
        with pytest.raises(click.ClickException, match="must not lie in each other"):
            build(written(source / around, ("x.html",)), source / inside, parts)

    def test_a_file_is_no_site(self, source: Path, tmp_path: Path, parts: Parts) -> None:
        file = written(tmp_path, ("file",)) / "file"
        with pytest.raises(click.ClickException, match="is a file"):
            build(source, file, parts)
        with pytest.raises(click.ClickException, match="Cannot build"):
            build(source, file / "below", parts)

    def test_the_source_must_be_there(self, tmp_path: Path, dist: Path, parts: Parts) -> None:
        with pytest.raises(click.ClickException, match="nowhere is not a folder"):
            build(tmp_path / "nowhere", dist, parts)

    def test_the_source_leaves_our_name_to_us(self, source: Path, dist: Path, parts: Parts) -> None:
        written(source, ("durably/own.js",))
        with pytest.raises(click.ClickException, match="durably is in the way"):
            build(source, dist, parts)

    def test_a_link_is_followed_to_its_folder(self, source: Path, dist: Path, parts: Parts, tmp_path: Path) -> None:
        (tmp_path / "real").mkdir()
        link = linked(tmp_path / "link", tmp_path / "real")
        build(source, link, parts)
        build(source, link, parts)
        assert link.is_symlink() and "index.html" in files_in(tmp_path / "real")

    def test_a_link_to_itself_is_none(self, source: Path, tmp_path: Path, parts: Parts) -> None:
        loop = linked(tmp_path / "loop", tmp_path / "loop")
        with pytest.raises(click.ClickException, match="Cannot build"):
            build(source, loop, parts)
        with pytest.raises(click.ClickException, match="loop is not a folder"):
            build(loop, tmp_path / "dist", parts)

    def test_the_current_folder_may_be_the_sites(
        self, source: Path, dist: Path, parts: Parts, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        dist.mkdir(parents=True)
        monkeypatch.chdir(dist)
        for _ in range(2):
            build(source, Path(), parts)
            assert "index.html" in os.listdir()


class TestSource:
    """What of SOURCE a site holds."""

    @pytest.mark.parametrize(
        "name",
        [
            *(".nojekyll", ".htaccess", ".well-known/security.txt", ".well-known/a/.token", ".github/x.yml"),
            *("CNAME", "_headers", "docs/.hidden", ".a/.b/c", "cvs/x", "cache/x", "x.py~", "node_modules/x/index.js"),
            *("environment/x", "sub/durably/x", "git/config", "x.git/config", "ümläut ☃.html"),
        ],
    )
    def test_is_copied_as_it_lies(self, name: str, source: Path, dist: Path, parts: Parts) -> None:
        build(written(source, (name,)), dist, parts)
        assert (dist / name).read_text() == name

    @pytest.mark.parametrize(
        "name",
        [
            *(".git/config", ".git", "sub/.git", ".hg/x", ".svn/x", ".jj/x", ".bzr/x", "CVS/Root", "_darcs/x"),
            *(".gitignore", ".gitmodules", "sub/.gitattributes", ".hgignore"),
            *("__pycache__/x.pyc", "x.pyc", ".mypy_cache/x", ".pytest_cache/x", ".ruff_cache/x", ".cache/x"),
            *(".DS_Store", "sub/.DS_Store", "Thumbs.db", ".index.html.swp", ".eslintcache", ".hypothesis/x"),
            *("made/CACHEDIR.TAG", "venv/pyvenv.cfg"),
        ],
    )
    def test_is_not_copied_with_version_control_and_caches(
        self, name: str, source: Path, dist: Path, parts: Parts
    ) -> None:
        (source / ".git/config").unlink()
        (source / ".git").rmdir()
        build(written(source, (name,)), dist, parts)
        assert name not in files_in(dist)

    @pytest.mark.parametrize("name", [".env", ".env.local", "sub/.env", ".npmrc", ".pypirc"])
    def test_says_which_secrets_are_left_out(self, name: str, source: Path, dist: Path, parts: Parts) -> None:
        said: list[str] = []
        build_site(written(source, (name,)), dist, lambda: parts, said.append)
        assert name not in files_in(dist)
        assert f"Left out {source / name}, since such files hold secrets" in said

    def test_a_link_inside_is_followed(self, source: Path, dist: Path, parts: Parts) -> None:
        linked(source / "start.html", Path("index.html"))
        linked(source / "far/away/data", Path("../../data"))
        linked(source / "absolute.py", source / "jobs.py")
        linked(source / "chain", Path("absolute.py"))
        os.link(source / "index.html", source / "hard.html")
        build(source, dist, parts)
        assert not [path for path in dist.rglob("*") if path.is_symlink()]
        assert (dist / "start.html").read_text() == (dist / "hard.html").read_text() == "index.html"
        assert (dist / "far/away/data/rows.csv").read_text() == "data/rows.csv"
        assert (dist / "absolute.py").read_text() == (dist / "chain").read_text() == "jobs.py"

    @pytest.mark.parametrize(
        ("link", "target", "reason"),
        [
            ("x", "../secret.txt", "x is a link out of .*source, to .*secret.txt"),
            ("x", "{tmp}/secret.txt", "x is a link out of"),
            ("x", "{tmp}/secrets", "x is a link out of"),
            ("data/x", "../../secrets/in", "x is a link out of"),
            ("x", "/", "x is a link out of"),
            ("x", "{tmp}/source-2", "x is a link out of"),
            ("x", "data/../../secret.txt", "x is a link out of"),
            ("x", "nowhere", "x is a link to nowhere, which leads nowhere"),
            ("x", "{tmp}/nowhere", "which leads nowhere"),
            ("x", "x", "which leads nowhere"),
            ("x", ".", "is a link to a folder that holds it"),
            ("data/x", "..", "is a link to a folder that holds it"),
            ("data/x", ".", "is a link to a folder that holds it"),
            ("x", ".git", "which is left out of sites"),
            ("x", ".git/config", "which is left out of sites"),
            ("x", ".env", "which is left out of sites"),
        ],
    )
    def test_a_link_out_or_to_nothing_is_refused(
        self, link: str, target: str, reason: str, source: Path, dist: Path, parts: Parts, tmp_path: Path
    ) -> None:
        written(tmp_path, ("secret.txt", "secrets/in/x", "source-2/x"))
        linked(source / link, Path(target.format(tmp=tmp_path)))
        with pytest.raises(click.ClickException, match=reason):
            build(source, dist, parts)
        assert not dist.exists()

    def test_a_chain_of_links_out_is_refused(self, source: Path, dist: Path, parts: Parts, tmp_path: Path) -> None:
        written(tmp_path, ("secrets/x",))
        linked(source / "a", Path("b"))
        linked(source / "b", linked(tmp_path / "c", tmp_path / "secrets"))
        with pytest.raises(click.ClickException, match="a is a link out of"):
            build(source, dist, parts)

    def test_folders_that_link_to_each_other_are_refused(self, source: Path, dist: Path, parts: Parts) -> None:
        written(source, ("one/x", "two/x"))
        linked(source / "one/two", Path("../two"))
        linked(source / "two/one", Path("../one"))
        with pytest.raises(click.ClickException, match="is a link to a folder that holds it"):
            build(source, dist, parts)

    def test_what_is_no_file_is_refused(self, source: Path, dist: Path, parts: Parts) -> None:
        os.mkfifo(source / "pipe")
        with pytest.raises(click.ClickException, match="pipe is neither a file nor a folder"):
            build(source, dist, parts)

    def test_may_be_a_link_itself(self, source: Path, dist: Path, parts: Parts, tmp_path: Path) -> None:
        linked(source / "start.html", source / "index.html")
        build(linked(tmp_path / "link", source), dist, parts)
        assert "start.html" in files_in(dist)

    def test_our_name_may_not_even_be_a_link_to_nothing(self, source: Path, dist: Path, parts: Parts) -> None:
        linked(source / "durably", Path("nowhere"))
        with pytest.raises(click.ClickException, match="durably is in the way"):
            build(source, dist, parts)


class TestRebuild:
    """What a build keeps of the folder that it builds in."""

    KEPT = ("CNAME", ".git/HEAD", ".git/refs/x", ".gitignore", ".hg/x")

    def test_keeps_version_control_and_the_domain(self, source: Path, dist: Path, parts: Parts) -> None:
        written(dist, self.KEPT)
        for _ in range(2):
            build(source, dist, parts)
            assert {name: (dist / name).read_text() for name in self.KEPT} == {name: name for name in self.KEPT}
            assert "index.html" in files_in(dist)

    def test_keeps_the_file_by_which_a_worktree_is_known(self, source: Path, dist: Path, parts: Parts) -> None:
        written(dist, (".git",))
        build(source, dist, parts)
        build(source, dist, parts)
        assert (dist / ".git").read_text() == ".git"

    def test_the_sources_domain_replaces_the_one_before(self, source: Path, dist: Path, parts: Parts) -> None:
        written(dist, ("CNAME",))
        (source / "CNAME").write_text("new.example")
        build(source, dist, parts)
        assert (dist / "CNAME").read_text() == "new.example"
        (source / "CNAME").unlink()
        build(source, dist, parts)
        assert "CNAME" not in files_in(dist)

    @pytest.mark.parametrize(
        "name",
        [
            *("own.html", "data/own.csv", "durably/own.js", "durably/wheels/own.whl", ".nojekyll", ".env"),
            *("sub/.git/HEAD", "sub/CNAME", "venv/pyvenv.cfg"),
        ],
    )
    def test_refuses_to_delete_what_no_build_wrote(self, name: str, source: Path, dist: Path, parts: Parts) -> None:
        build(source, dist, parts)
        written(dist, (name,))
        before = {path: (dist / path).read_bytes() for path in files_in(dist)}
        with pytest.raises(click.ClickException, match=rf"other files than a built site: {re.escape(name)}\. Move"):
            build(source, dist, parts)
        assert {path: (dist / path).read_bytes() for path in files_in(dist)} == before

    def test_refuses_to_delete_a_link(self, source: Path, dist: Path, parts: Parts) -> None:
        build(source, dist, parts)
        linked(dist / "own", source / "data")
        with pytest.raises(click.ClickException, match=r"built site: own\."):
            build(source, dist, parts)

    def test_names_some_of_many(self, source: Path, dist: Path, parts: Parts) -> None:
        written(dist, tuple(f"{number}.txt" for number in range(9)))
        with pytest.raises(click.ClickException, match=r": 0.txt, 1.txt, 2.txt, 3.txt, 4.txt and more\. Move"):
            build(source, dist, parts)

    @pytest.mark.parametrize("record", [None, "", "{}", "[1]", "null"])
    def test_without_a_record_every_file_is_anothers(
        self, record: str | None, source: Path, dist: Path, parts: Parts
    ) -> None:
        build(source, dist, parts)
        path = dist / "durably/files.json"
        path.unlink() if record is None else path.write_text(record)
        with pytest.raises(click.ClickException, match="other files than a built site"):
            build(source, dist, parts)

    def test_caches_do_no_harm(self, source: Path, dist: Path, parts: Parts) -> None:
        build(source, dist, parts)
        written(dist, (".DS_Store", "data/.DS_Store", "__pycache__/jobs.cpython-314.pyc"))
        build(source, dist, parts)
        assert ".DS_Store" not in files_in(dist)

    @pytest.mark.parametrize("failing", range(1, 9))
    def test_is_taken_back_when_a_move_fails(
        self, failing: int, source: Path, dist: Path, parts: Parts, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        build(source, dist, parts)
        written(dist, self.KEPT)
        before = {path: (dist / path).read_bytes() for path in files_in(dist)}
        for name in ("index.html", "new.html", "data/new.csv"):
            (source / name).write_text("changed")
        rename, moves = Path.rename, iter(range(1, 100))

        def fail_once(path: Path, target: Path) -> Path:
            if next(moves) == failing:
                raise OSError("disk full")
            return rename(path, target)

        monkeypatch.setattr(Path, "rename", fail_once)
        with pytest.raises(click.ClickException, match="disk full"):
            build(source, dist, parts)
        assert {path: (dist / path).read_bytes() for path in files_in(dist)} == before
        assert os.listdir(dist.parent) == ["dist"]


class TestDownloads:
    def test_are_made_once(self, tmp_path: Path) -> None:
        calls: list[Path] = []

        def fill(folder: Path) -> None:
            calls.append(written(folder, ("x.whl",)))

        folders = [filled_once(tmp_path / "cache" / "wheels", fill) for _ in range(2)]
        assert len(calls) == 1
        assert [files_in(folder) for folder in folders] == [["x.whl"], ["x.whl"]]

    def test_that_fail_leave_nothing(self, tmp_path: Path) -> None:
        def fill(folder: Path) -> None:
            written(folder, ("half.whl",))
            raise click.ClickException("no network")

        with pytest.raises(click.ClickException, match="no network"):
            filled_once(tmp_path / "cache" / "wheels", fill)
        assert os.listdir(tmp_path / "cache") == []

    def test_made_by_another_build_meanwhile_are_taken(self, tmp_path: Path) -> None:
        def fill(folder: Path) -> None:
            written(folder, ("ours.whl",))
            written(tmp_path / "wheels", ("theirs.whl",))

        assert files_in(filled_once(tmp_path / "wheels", fill)) == ["theirs.whl"]

    def test_name_a_program_that_is_missing(self, tmp_path: Path) -> None:
        with pytest.raises(click.ClickException, match=r"Downloading Pyodide needs no-such-npm"):
            run(["no-such-npm", "ci"], tmp_path, "Downloading Pyodide")

    def test_say_what_a_program_said_last(self, tmp_path: Path) -> None:
        program = "import sys; sys.exit('fine so far\\nnpm error no network\\nmore\\n')"
        with pytest.raises(click.ClickException, match=r"^Downloading failed: npm error no network$"):
            run([sys.executable, "-c", program], tmp_path, "Downloading")


class TestWheels:
    def test_pins_are_what_every_site_has_each_with_its_hash(self) -> None:
        pins = [line for line in REQUIREMENTS.read_text().splitlines() if not line.startswith("#")]
        assert {required_name(pin) for pin in pins} == {*ENGINE_NEEDS, *ALWAYS}
        assert all(re.fullmatch(r"[a-z-]+==[0-9.]+ --hash=sha256:[0-9a-f]{64}", pin) for pin in pins)

    def test_needs_are_followed_to_their_end(self, tmp_path: Path) -> None:
        for name, need in (("a", "B.b>=1"), ("b_b", "c"), ("c", "a")):
            add_wheel(tmp_path, name, need)
        assert with_needs("a", wheels_in(tmp_path), ()) == ["a", "b-b", "c"]

    @pytest.mark.parametrize(
        "name", ["python-dateutil", "Python_DateUtil", "python.dateutil>=2", "PYTHON--DATEUTIL[x]"]
    )
    def test_a_package_is_listed_by_its_normalized_name(
        self, name: str, source: Path, dist: Path, parts: Parts, tmp_path: Path
    ) -> None:
        add_wheel(tmp_path / "asked", "python-dateutil")
        wheels = {**parts.wheels, **wheels_in(tmp_path / "asked")}
        build(source, dist, replace(parts, wheels=wheels, packages=(required_name(name),)))
        assert "python-dateutil" in manifest_of(dist)["packages"]

    @pytest.mark.parametrize(
        ("text", "requirement"),
        [
            ("httpx", "httpx"),
            (" httpx [http2] >= 0.28, <1", "httpx[http2]<1,>=0.28"),
            ("httpx (>=0.28)", "httpx>=0.28"),
            ("x; sys_platform == 'emscripten' and python_version >= '3.14'", "x"),
            ("x>=1 ; platform_machine == 'wasm32'", "x>=1"),
            ("x; sys_platform == 'linux'", None),
            ("x; os_name == 'nt'", None),
        ],
    )
    def test_a_condition_is_judged_for_pyodide(self, text: str, requirement: str | None) -> None:
        assert parse_requirement(text) == requirement

    @pytest.mark.parametrize("text", ["httpx>>1", "httpx==", "httpx[", "httpx>=x y", "httpx; nothing"])
    def test_what_is_no_requirement_is_refused(self, text: str, source: Path, dist: Path) -> None:
        done = CliRunner().invoke(commands, ["build", f"{source}", "--out", f"{dist}", f"--with={text}"])
        assert (done.exit_code, "is no requirement" in done.output) == (2, True)

    @pytest.mark.parametrize("text", ["-r", "--pre", "./x.whl", "https://x/y.whl", "x @ https://x/y.whl", ""])
    def test_a_package_is_asked_for_by_name(self, text: str, source: Path, dist: Path) -> None:
        done = CliRunner().invoke(commands, ["build", f"{source}", "--out", f"{dist}", f"--with={text}"])
        assert (done.exit_code, "does not start with the name" in done.output) == (2, True)


class TestServing:
    @pytest.mark.parametrize(
        ("name", "media_type"),
        [
            ("a.js", "text/javascript; charset=utf-8"),
            ("a.mjs", "text/javascript; charset=utf-8"),
            ("a.wasm", "application/wasm"),
            ("a.py", "text/plain; charset=utf-8"),
            ("a.whl", "application/zip"),
            ("a.json", "application/json"),
            ("index.html", "text/html; charset=utf-8"),
        ],
    )
    async def test_gives_each_file_its_type(self, tmp_path: Path, name: str, media_type: str) -> None:
        status, headers = await get(written(tmp_path, (name,)), f"/{name}")
        assert (status, headers["content-type"]) == (200, media_type)

    async def test_asks_for_revalidation_and_no_isolation(self, tmp_path: Path) -> None:
        status, headers = await get(written(tmp_path, ("index.html",)), "/")
        assert (status, headers["cache-control"]) == (200, "no-cache")
        assert not [name for name in headers if name.startswith("cross-origin")]

    async def test_a_copy_that_is_still_good_is_not_sent_again(self, tmp_path: Path) -> None:
        _, headers = await get(written(tmp_path, ("a.js",)), "/a.js")
        status, again = await get(tmp_path, "/a.js", {"if-none-match": headers["etag"]})
        assert (status, again["cache-control"]) == (304, "no-cache")

    async def test_a_file_that_is_missing_is_looked_for_again(self, tmp_path: Path) -> None:
        status, headers = await get(tmp_path, "/a.js")
        assert (status, headers["cache-control"]) == (404, "no-cache")

    def test_needs_a_built_site(self, tmp_path: Path) -> None:
        done = CliRunner().invoke(commands, ["serve", f"{tmp_path}"])
        assert (done.exit_code, "is no built site" in done.output) == (1, True)

    def test_says_that_the_port_is_taken(self, tmp_path: Path) -> None:
        written(tmp_path, ("durably/manifest.json",))
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            with pytest.raises(click.ClickException, match=rf"Cannot listen on 127\.0\.0\.1:{port}: Address"):
                serve_site(tmp_path, "127.0.0.1", port, print)


def build(source: Path, dist: Path, parts: Parts) -> None:
    build_site(source, dist, lambda: parts, lambda _line: None)


def manifest_of(dist: Path) -> Manifest:
    manifest: Manifest = json.loads((dist / "durably" / "manifest.json").read_text())
    return manifest


def is_fetched(path: str) -> bool:
    return path.startswith(("pyodide/", "wa-sqlite/", "wheels/"))


def written(folder: Path, names: tuple[str, ...]) -> Path:
    """Write files whose content is their name, and return the folder."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def linked(path: Path, target: Path) -> Path:
    """Make a symbolic link and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)
    return path


def files_in(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file()]


def add_wheel(folder: Path, name: str, *needs: str) -> None:
    folder.mkdir(exist_ok=True)
    stem = name.replace("-", "_")
    metadata = "".join([f"Name: {name}\n", *(f"Requires-Dist: {need}\n" for need in needs)])
    with zipfile.ZipFile(folder / f"{stem}-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{stem}-1.0.dist-info/METADATA", metadata)


def zip_names(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def record_row(name: str, content: bytes) -> tuple[str, str, str]:
    if name.endswith("/RECORD"):
        return name, "", ""
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
    return name, f"sha256={digest}", f"{len(content)}"


async def get(dist: Path, path: str, headers: dict[str, str] | None = None) -> tuple[int, dict[str, str]]:
    """Ask the site's application for a path, as a server would, and return status and headers."""
    sent: list[Message] = []

    async def receive() -> Message:
        return await asyncio.Future()  # the browser stays

    async def send(message: Message) -> None:
        sent.append(message)

    asked = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    scope = {"type": "http", "method": "GET", "path": path, "headers": asked, "query_string": b""}
    await site_app(dist)(scope, receive, send)
    return sent[0]["status"], {name.decode(): value.decode() for name, value in sent[0]["headers"]}
