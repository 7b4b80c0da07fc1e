"""The two origins: our engine's, as anybody's server would send it, and upstream's, isolated as SQLocal needs it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from click.testing import CliRunner

from durably_wasm.cli import commands
from e2e.server import Server

HERE = Path(__file__).parent
SQLITE = HERE.parent.parent / "web/node_modules/@journeyapps/wa-sqlite"
CACHING = "max-age=600"  # as GitHub Pages sends it
ISOLATION = [("Cross-Origin-Opener-Policy", "same-origin"), ("Cross-Origin-Embedder-Policy", "require-corp")]


def serve_ours(folder: Path) -> Server:
    """Build the site with our engine, and wa-sqlite's own files beside it, and serve it as any host of files would."""
    source, dist = folder / "ours", folder / "ours-built"
    shutil.copytree(HERE / "site", source)
    for part in ("dist/wa-sqlite.mjs", "dist/wa-sqlite.wasm", "src"):
        _copy(SQLITE / part, source / "wa-sqlite" / part)
    built = CliRunner().invoke(commands, ["build", str(source), "--out", str(dist)])
    if built.exit_code != 0:
        raise RuntimeError(f"The site of the benchmark cannot be built: {built.output}")
    return Server(dist, cache_control=CACHING)


def serve_upstream(folder: Path) -> Server:
    """Bundle upstream's page, and serve it with the headers that it needs."""
    dist = folder / "upstream"
    subprocess.run(["npm", "run", "--silent", "bundle", "--", "--outDir", str(dist)], cwd=HERE, check=True)
    return Server(dist, ISOLATION, cache_control=CACHING)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copyfile(source, target)
