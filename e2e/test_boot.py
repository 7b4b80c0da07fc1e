"""What the page is told when the engine cannot start, and that it starts from the site's own files."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page
from starlette.responses import RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from durably_wasm.cli.dist import integrity
from e2e.browser import Browser
from e2e.conftest import KEPT, test_page, unless_here
from e2e.engines import Engine, Firefox
from e2e.server import Server

pytestmark = pytest.mark.cold

# Put another record where the snapshot lies: `alter` makes it of its bytes, its layout and a function that hashes.
ALTER = """async (alter) => {
    const cache = await caches.open('durably-snapshots');
    const [{ url }] = await cache.keys();
    const response = await cache.match(url);
    const layout = JSON.parse(response.headers.get('durably-layout'));
    const sha256 = async (bytes) => new Uint8Array(await crypto.subtle.digest('SHA-256', bytes)).toHex();
    const altered = await eval(alter)(new Uint8Array(await response.clone().arrayBuffer()), layout, sha256);
    const headers = altered.layout && { 'durably-layout': JSON.stringify(altered.layout) };
    await cache.put(url, new Response(altered.bytes, { headers }));
}"""
BOOT = "durably: boot "
WITHOUT = "durably: Python starts without its snapshot"
INIT = "durably.init().then(() => null, ({ name, message }) => ({ name, message }))"


def failure(page: Page) -> dict[str, str]:
    error: dict[str, str] = page.evaluate(INIT)
    assert error is not None, "the engine started"
    assert page.evaluate("durably.state") == "failed"
    return error


def test_tells_each_stage(page: Page) -> None:
    stages = page.evaluate("states.map(({ state, stage }) => [state, stage])")
    assert stages == [
        ["starting", None],
        ["starting", "runtime"],
        ["starting", "packages"],
        ["starting", "store"],
        ["starting", "jobs"],
        ["leader", "ready"],
    ]
    assert page.evaluate("states.at(-1).epoch") == 1
    assert page.evaluate("states.at(-1).store") == {"kind": "indexeddb", "persistence": "best-effort"}


def test_names_altered_code_of_sqlite(altered: Callable[..., Server], browser: Browser) -> None:
    server = altered("durably/wa-sqlite/dist/wa-sqlite.wasm", b"\0asm\1\0\0\0")
    page = browser.open(test_page(server, store="sqlite"), expected=lambda trouble: trouble.startswith("console"))
    reason = failure(page)
    assert "durably/wa-sqlite/dist/wa-sqlite.wasm does not have the SHA-256" in reason["message"]


@pytest.mark.parametrize("file", ["durably/wheels/pydantic-*.whl", "durably/pyodide/pyodide.asm.wasm"])
@pytest.mark.parametrize(("contents", "reason"), [(None, "is missing (HTTP 404)"), (b"PK\3\4", "SHA-256")])
def test_names_a_file_that_is_missing_or_altered(
    file: str, contents: bytes | None, reason: str, altered: Callable[..., Server], browser: Browser, site: Path
) -> None:
    name = next(site.glob(file)).name
    server = altered(file, contents)
    page = browser.open(test_page(server), expected=lambda trouble: trouble.startswith("console"))
    error = failure(page)
    assert name in error["message"] and reason in error["message"]


SCRIPTS = (
    *("durably/worker/main.js", "durably/worker/engine.js", "durably/worker/bridge/connection.js"),
    *("durably/pyodide/pyodide.mjs", "durably/pyodide/pyodide.asm.mjs"),
)
DATA = (
    *("durably/manifest.json", "durably/pyodide/pyodide.asm.wasm", "durably/pyodide/python_stdlib.zip"),
    *("durably/pyodide/pyodide-lock.json", "durably/wheels/pydantic-*.whl", "jobs.py"),
)
SQLITE_SCRIPTS = (
    *("durably/worker/bridge/sqlite.js", "durably/worker/bridge/pool.js"),
    *("durably/wa-sqlite/dist/wa-sqlite.mjs", "durably/wa-sqlite/src/VFS.js"),
)
SQLITE_DATA = ("durably/wa-sqlite/dist/wa-sqlite.wasm",)
SOME = ("durably/worker/engine.js", "jobs.py")
EVERY_FILE = (*SCRIPTS, *DATA, SQLITE_SCRIPTS[0], *SQLITE_DATA)  # one of SQLite's scripts: it is tried three times
HTML = "<!doctype html>\n<title>Some app</title>"
PAGE = 'text/html; charset=utf-8, 39 bytes, which begin with "<!doctype html> <title>Some app</title>"'
ALTERED = "does not have the SHA-256 that the build recorded: it was altered, or is of another build."
JAVASCRIPT = {"media_type": "text/javascript"}


@dataclass(frozen=True, kw_only=True)
class Wrong:
    """What a host answers for some files, one at a time, and what has to be said of that."""

    files: Sequence[str]
    answer: Callable[[bytes], Response]
    says: str


WRONG = {
    "every file is index.html": Wrong(
        files=EVERY_FILE,
        answer=lambda _: Response(HTML, media_type="text/html"),
        says=f"is not there: the server answers with a web page. From {{url}} came HTTP 200, {PAGE}",
    ),
    "index.html as JavaScript": Wrong(
        files=["durably/worker/main.js"],
        answer=lambda _: Response(HTML, **JAVASCRIPT),
        says="is not there: the server answers with a web page. From {url} came HTTP 200, text/javascript",
    ),
    "missing": Wrong(
        files=[*SOME, "durably/manifest.json", "durably/pyodide/pyodide.mjs"],
        answer=lambda _: Response(HTML, 404, media_type="text/html"),
        says=f"is missing (HTTP 404). From {{url}} came HTTP 404, {PAGE}",
    ),
    "failing": Wrong(
        files=SOME,
        answer=lambda _: Response("Sorry", 503, media_type="text/plain"),
        says="cannot be fetched (HTTP 503). From {url} came HTTP 503, text/plain; charset=utf-8, 5 bytes",
    ),
    "redirected to a login": Wrong(
        files=SOME,
        answer=lambda _: RedirectResponse("/login"),
        says="is not there: the server answers with a web page. From {url}, redirected to {root}/login, came HTTP 200",
    ),
    "redirected to another origin": Wrong(
        files=SOME,
        answer=lambda _: RedirectResponse("http://127.0.0.1:9/x"),
        says="is redirected to where this page may not read it. Its URL is {url}",
    ),
    "scripts as text": Wrong(
        files=SCRIPTS,
        answer=lambda content: Response(content, media_type="text/plain"),
        says="must be text/javascript. From {url} came HTTP 200, text/plain; charset=utf-8",
    ),
    "WebAssembly as bytes": Wrong(
        files=["durably/pyodide/pyodide.asm.wasm"],
        answer=lambda content: Response(content, media_type="application/octet-stream"),
        says="must be application/wasm. From {url} came HTTP 200, application/octet-stream",
    ),
    "cut short": Wrong(
        files=["durably/pyodide/pyodide.asm.mjs", "durably/pyodide/pyodide-lock.json"],
        answer=lambda content: Response(content[:-1], media_type="text/javascript"),
        says=f"{ALTERED} From {{url}} came",
    ),
    "empty": Wrong(
        files=["durably/pyodide/python_stdlib.zip", "durably/pyodide/pyodide.mjs"],
        answer=lambda _: Response(b"", media_type="text/javascript"),
        says=f"{ALTERED} From {{url}} came HTTP 200, text/javascript; charset=utf-8, 0 bytes",
    ),
    "no manifest": Wrong(
        files=["durably/manifest.json"],
        answer=lambda _: Response("[1, 2]", media_type="application/json"),
        says="is not the manifest that the build wrote. Its URL is {url}",
    ),
    "half a manifest": Wrong(
        files=["durably/manifest.json"],
        answer=lambda content: Response(content[:100], media_type="application/json"),
        says="is not the manifest that the build wrote. Its URL is {url}",
    ),
    "own script cut short": Wrong(
        files=["durably/worker/main.js", "durably/worker/engine.js"],
        answer=lambda content: Response(content[: len(content) // 2], **JAVASCRIPT),
        says=f"{ALTERED} From {{url}} came HTTP 200, text/javascript",
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_names_each_file_its_url_and_what_came_instead(
    kind: str, site: Path, serve: Callable[[Path], Server], browser: Browser
) -> None:
    wrong = WRONG[kind]
    for pattern in wrong.files:  # each on an origin of its own
        path = next(site.glob(pattern))
        name = path.relative_to(site).as_posix()
        server = serve(site)
        server.answer("login", Response(HTML, media_type="text/html"))
        server.answer(name, wrong.answer(path.read_bytes()))
        store = "sqlite" if pattern in SQLITE_SCRIPTS or pattern in SQLITE_DATA else "indexeddb"
        page = browser.open(test_page(server, store=store), expected=lambda trouble: "uncaught" not in trouble)
        message = failure(page)["message"]
        assert name in message and wrong.says.format(url=f"{server.url}/{name}", root=server.url) in message
        page.close()


def test_names_the_script_that_throws(site: Path, serve: Callable[[Path], Server], browser: Browser) -> None:
    server = serve(site)
    server.answer("durably/worker/main.js", Response("\nnull.x;\n", media_type="text/javascript"))
    page = browser.open(test_page(server), expected=lambda trouble: trouble.startswith("console"))
    message = failure(page)["message"]
    assert "Cannot read properties of null" in message
    assert f"({server.url}/durably/worker/main.js, line 2)" in message


@unless_here(Firefox)
def test_names_a_module_of_which_firefox_says_nothing(
    start: Callable[[type[Engine], Path], Engine], site: Path, serve: Callable[[Path], Server], tmp_path: Path
) -> None:
    server = serve(site)
    server.answer("durably/worker/engine.js", Response(HTML, 404, media_type="text/html"))
    browser = start(Firefox, tmp_path / "firefox")
    try:
        browser.open(test_page(server))
        message = str(browser.evaluate("durably.init().catch(({ message }) => message)"))
    finally:
        browser.kill()
    assert "durably/worker/engine.js is missing (HTTP 404). From http" in message


def test_names_a_file_that_breaks_off(site: Path, serve: Callable[[Path], Server], browser: Browser) -> None:
    async def break_off(_scope: Scope, _receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"application/wasm"), (b"content-length", b"1000")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"\0asm"})

    server = serve(site)
    server.answer("durably/pyodide/pyodide.asm.wasm", break_off)
    page = browser.open(test_page(server), expected=lambda trouble: trouble.startswith("console"))
    assert "durably/pyodide/pyodide.asm.wasm breaks off before its end. From http" in failure(page)["message"]


def test_shows_where_a_job_module_does_not_import(altered: Callable[..., Server], browser: Browser) -> None:
    broken = b"from durably_wasm import define_job\n\n\ndef make():\n    return undefined_name\n\n\nmake()\n"
    error = failure(browser.open(test_page(altered("jobs.py", broken))))
    assert error["message"].startswith("jobs.py, line 5, does not import: NameError: name 'undefined_name'")
    assert "Traceback (most recent call last)" in error["message"]
    assert 'jobs.py", line 8, in <module>' in error["message"]
    assert "importlib" not in error["message"] and "durably_wasm/browser" not in error["message"]


def test_shows_the_line_of_a_syntax_error(altered: Callable[..., Server], browser: Browser) -> None:
    error = failure(browser.open(test_page(altered("jobs.py", b"x = 1\nasync def job(:\n    pass\n"))))
    assert error["message"].startswith("jobs.py, line 2, does not import: SyntaxError")


def test_says_so_when_there_is_no_job(altered: Callable[..., Server], browser: Browser) -> None:
    error = failure(browser.open(test_page(altered("jobs.py", b"x = 1\n"))))
    assert error["message"] == "jobs.py defines no job: decorate an async function with @define_job"


def test_says_so_when_the_job_module_is_missing(browser: Browser, server: Server) -> None:
    missing = test_page(server, jobs="./nowhere.py")
    page = browser.open(missing, expected=lambda trouble: "404" in trouble)
    assert "nowhere.py is missing (HTTP 404)" in failure(page)["message"]


def test_fails_clearly_without_indexeddb(altered: Callable[..., Server], browser: Browser, site: Path) -> None:
    main = (site / "durably/worker/main.js").read_bytes()
    server = altered(
        "durably/worker/main.js", b"Object.defineProperty(globalThis, 'indexedDB', { value: undefined });" + main
    )
    error = failure(browser.open(test_page(server)))
    assert error["name"] == "StoreError"
    assert "this browser offers no IndexedDB here" in error["message"]


def test_refuses_a_database_of_a_newer_version_and_leaves_it_as_it_is(browser: Browser, server: Server) -> None:
    page = browser.open(f"{server.url}/index.html")
    page.evaluate(
        """() => new Promise((resolve, reject) => {
            const request = indexedDB.open('test', 99);
            request.onsuccess = () => resolve(request.result.close());
            request.onerror = () => reject(request.error);
        })"""
    )
    page.evaluate("window.open()")
    error = failure(page)
    assert error["name"] == "StoreError" and "newer version" in error["message"]
    assert page.evaluate("indexedDB.databases().then((all) => all.find(({ name }) => name === 'test').version)") == 99


def test_a_wrong_option_is_named(browser: Browser, server: Server) -> None:
    page = browser.open(f"{server.url}/index.html")
    refused = "(options) => { try { createDurably(options) } catch ({ name, message }) { return { name, message } } }"
    error = page.evaluate(refused, {"database": "test", "jobs": "./jobs.py", "leaseMS": 1})
    assert error["name"] == "ValidationError" and "leaseMS" in error["message"]
    assert page.evaluate(refused, {"database": "", "jobs": "./jobs.py"})["name"] == "ValidationError"
    assert page.evaluate(refused, {"database": "test", "jobs": []})["name"] == "ValidationError"
    error = page.evaluate(refused, {"database": "test", "jobs": "./jobs.py", "durability": "lax"})
    assert error["name"] == "ValidationError"
    assert error["message"] == 'createDurably: durability must be "relaxed" or "strict", not "lax"'
    page.evaluate("window.open({ leaseMs: -1 })")
    assert "lease_ms must be an integer of at least 1" in failure(page)["message"]


def test_calls_made_before_the_engine_failed_reject_with_the_reason(browser: Browser, server: Server) -> None:
    page = browser.open(f"{server.url}/index.html")
    page.evaluate("window.open({ maxConcurrentRuns: 0 })")
    early, late = (
        page.evaluate("durably.jobs.count.trigger({ label: 'x', steps: 1 }).catch(({ message }) => message)")
        for _ in range(2)
    )
    assert "max_concurrent_runs" in early and early == late


def test_an_engine_that_failed_stands_in_nobodys_way(browser: Browser, server: Server) -> None:
    page = browser.open(test_page(server, jobs="./nowhere.py"), expected=lambda trouble: "404" in trouble)
    failure(page)
    page.evaluate("window.open()")
    page.evaluate("durably.init()")
    assert page.evaluate("durably.state") == "leader"


@pytest.fixture(scope="module")
def site_with_package(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the site with the package `made-up-name` 2.5, as `--with` adds it, and a job that imports it."""
    copy = tmp_path_factory.mktemp("with") / "site"
    shutil.copytree(site, copy)
    wheel = copy / "durably/wheels/made_up_name-2.5-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("made_up_name.py", "ANSWER = 42\n")
        archive.writestr("made_up_name-2.5.dist-info/METADATA", METADATA)
    manifest = json.loads((copy / "durably/manifest.json").read_text())
    path = f"wheels/{wheel.name}"
    manifest["packages"]["made-up-name"] = [path]
    manifest["files"][path] = integrity(wheel.read_bytes())
    (copy / "durably/manifest.json").write_text(json.dumps(manifest))
    (copy / "jobs.py").write_text(
        "import made_up_name\nfrom durably_wasm import define_job\n\n"
        "@define_job('answer')\nasync def answer(step, input: None) -> int:\n    return made_up_name.ANSWER\n"
    )
    return copy


METADATA = """Metadata-Version: 2.1
Name: made-up-name
Version: 2.5
Provides-Extra: more
Requires-Dist: nowhere-else>=3; extra == "more"
"""


@pytest.mark.parametrize("asked", ["made-up-name", "Made_Up.Name", " made_up_name[other] >=2,<3", "made-up-name==2.5"])
def test_packages_of_the_site_are_installed(
    asked: str, site_with_package: Path, serve: Callable[[Path], Server], browser: Browser
) -> None:
    page = browser.open(test_page(serve(site_with_package), packages=[asked, "pydantic>=2", "durably_wasm"]))
    assert page.evaluate("durably.jobs.answer.triggerAndWait(null).then(({ output }) => output)") == 42


@pytest.mark.parametrize(
    ("asked", "reasons"),
    [
        ("numpy", ['this site has no package "numpy"', "--with numpy"]),
        ("Python_DateUtil>=2", ['no package "python-dateutil"', "--with 'Python_DateUtil>=2'"]),
        ("made-up-name<2", ['this site has "made-up-name" 2.5, which does not fulfil "<2"']),
        ("made-up-name[more]", ['this site has no package "nowhere-else"', "--with 'made-up-name[more]'"]),
        ("pydantic<2", ['this site has "pydantic"', '"<2"']),
        ("https://example.com/x-1.0-py3-none-any.whl", ["is not the name of a package"]),
        ("./x-1.0-py3-none-any.whl", ["is not the name of a package"]),
        ("x @ https://example.com/x-1.0-py3-none-any.whl", ["names an address"]),
    ],
)
def test_a_package_that_the_site_does_not_have_is_named(
    asked: str, reasons: list[str], site_with_package: Path, serve: Callable[[Path], Server], browser: Browser
) -> None:
    page = browser.open(test_page(serve(site_with_package), packages=[asked]))  # where no request may leave the origin
    message = failure(page)["message"]
    assert message.startswith("Cannot start the engine: ")
    assert [reason for reason in reasons if reason not in message] == []


@pytest.mark.parametrize("packages", ["numpy", ["numpy", ""], [" "], [1], [None], [["numpy"]], {"numpy": 1}, None, 1])
def test_packages_that_are_no_list_of_texts_are_refused(packages: object, shared_page: Page) -> None:
    refused = "(options) => { try { createDurably(options) } catch ({ name, message }) { return { name, message } } }"
    error = shared_page.evaluate(refused, {"database": "test", "jobs": "./jobs.py", "packages": packages})
    assert error["name"] == "ValidationError" and "packages must be a list" in error["message"]


class Boots:
    """How each boot of a page's engine went, as its worker's console tells."""

    def __init__(self, page: Page) -> None:
        self.lines: list[tuple[str, str]] = []
        self._page = page
        page.on("console", lambda message: self.lines.append((message.type, message.text)))

    def again(self) -> dict[str, Any]:
        """Reload the page, and return what is told of the boot."""
        self.lines.clear()
        with self._page.expect_console_message(lambda message: message.text.startswith(BOOT)) as told:
            self._page.reload()
            self._page.evaluate("durably.init()")
        report: dict[str, Any] = json.loads(told.value.text.removeprefix(BOOT))
        return report

    def warnings(self) -> list[str]:
        return [text for type, text in self.lines if type == "warning"]


def test_the_second_boot_starts_from_a_snapshot(page: Page) -> None:
    boots = Boots(page)
    page.evaluate(KEPT)
    report = boots.again()
    assert report["warm"] and boots.warnings() == []
    assert {"manifest", "scripts", "compile", "snapshot", "runtime", "files", "import"} <= report["stages"].keys()
    assert "unpack" not in report["stages"]
    assert page.evaluate("durably.jobs.count.triggerAndWait({ label: 'warm', steps: 2 }).then(({ output }) => output)")


def test_chance_is_another_after_each_boot_from_one_snapshot(altered: Callable[..., Server], browser: Browser) -> None:
    jobs = b"""import random
from durably_wasm import StepContext, define_job

@define_job("draw")
async def draw(step: StepContext, input: None) -> float:
    return random.random()
"""
    page = browser.open(test_page(altered("jobs.py", jobs)))
    page.evaluate("durably.init()")
    boots, drawn = Boots(page), set()
    page.evaluate(KEPT)
    for _ in range(2):
        assert boots.again()["warm"]
        drawn.add(page.evaluate("durably.jobs.draw.triggerAndWait(null).then(({ output }) => output)"))
    assert len(drawn) == 2


@pytest.mark.parametrize(
    "alter",
    [
        "(bytes, layout) => ({ bytes: bytes.subarray(0, -1), layout })",
        "(bytes, layout) => ({ bytes, layout: { ...layout, memory: 1 } })",
        "(bytes) => ({ bytes })",
        """async (bytes, layout, sha256) => {
            bytes[0] ^= 1; // what Pyodide knows its snapshots by
            return { bytes, layout: { ...layout, sha256: await sha256(bytes) } };
        }""",
    ],
    ids=["cut short", "of another size", "of another kind", "no memory of Python"],
)
def test_a_snapshot_that_is_not_right_is_not_used(alter: str, page: Page) -> None:
    boots = Boots(page)
    page.evaluate(KEPT)
    page.evaluate(ALTER, alter)
    assert not boots.again()["warm"]
    assert any(text.startswith(WITHOUT) for text in boots.warnings())


def test_a_snapshot_that_was_altered_is_made_anew(page: Page) -> None:
    boots = Boots(page)
    page.evaluate(KEPT)
    page.evaluate(ALTER, "(bytes, layout) => { bytes[bytes.length >> 1] ^= 1; return { bytes, layout } }")
    assert not boots.again()["warm"]
    (warning,) = boots.warnings()
    assert warning.startswith(WITHOUT)
    page.evaluate(KEPT)
    assert boots.again()["warm"]
    assert boots.warnings() == []


def test_a_new_build_does_not_use_the_snapshot_of_the_old(
    site: Path, serve: Callable[[Path], Server], browser: Browser, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(site, copy)
    page = browser.open(test_page(serve(copy)))
    page.evaluate("durably.init()")
    boots = Boots(page)
    old = page.evaluate(KEPT)
    manifest = json.loads((copy / "durably/manifest.json").read_text())
    (copy / "durably/manifest.json").write_text(json.dumps(manifest | {"version": "next"}))
    assert not boots.again()["warm"]
    assert boots.warnings() == []
    page.evaluate(KEPT, old)
    assert boots.again()["warm"]


def test_the_engines_worker_starts_no_other(altered: Callable[..., Server], browser: Browser, site: Path) -> None:
    """In Firefox it may block for ever then, once in some forty times on a busy machine."""
    main = (site / "durably/worker/main.js").read_bytes()
    page = browser.open(test_page(altered("durably/worker/main.js", b"delete globalThis.Worker;" + main)))
    page.evaluate("durably.init()")
    page.evaluate(KEPT)


def test_boots_where_nothing_can_be_kept(altered: Callable[..., Server], browser: Browser, site: Path) -> None:
    main = (site / "durably/worker/main.js").read_bytes()
    page = browser.open(test_page(altered("durably/worker/main.js", b"delete globalThis.caches;" + main)))
    page.evaluate("durably.init()")
    assert not Boots(page).again()["warm"]
