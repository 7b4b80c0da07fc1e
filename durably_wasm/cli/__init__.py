"""The command line: build a site and serve it.

Reading order: `site` lays the files out, `source` copies the pages, `engine` packs this package into a wheel,
`wheels` and `runtime` bring what comes from the registries, `downloads` keeps it for the next build, `dist` replaces
the site before, `serving` shows the result.
"""

from __future__ import annotations

from pathlib import Path

import click

from durably_wasm.cli.downloads import downloads_folder
from durably_wasm.cli.serving import serve_site
from durably_wasm.cli.site import Parts, build_site
from durably_wasm.cli.wheels import parse_requirement

__all__ = ["commands"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="durably-wasm", prog_name="durably-wasm")
def commands() -> None:
    """Build and serve pages whose Python jobs survive a closed tab."""


@commands.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--out", "dist", type=click.Path(path_type=Path), required=True, help="Where the site goes.")
@click.option(
    "--with",
    "packages",
    metavar="PACKAGE",
    multiple=True,
    callback=lambda _context, _option, given: tuple(filter(None, map(parse_requirement, given))),
    help="Another package for the jobs, as pip writes it ('httpx==0.28.1'); may be repeated.",
)
def build(source: Path, dist: Path, packages: tuple[str, ...]) -> None:
    """Build the site DIST from the pages and job modules in SOURCE.

    SOURCE's files are copied as they lie, but for version control, caches and .env; the engine, Pyodide and the wheels
    go beside them into durably/, so that the site fetches nothing from elsewhere. A site in DIST is replaced; its
    version control and CNAME stay. Files there that no build wrote are refused. Downloads are kept: the next build
    needs no network. A package without a version is looked up once; name another version to replace it.
    """
    build_site(source, dist, lambda: Parts.find(downloads_folder(), packages, click.echo), click.echo)


@commands.command()
@click.argument("dist", type=click.Path(path_type=Path))
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="0: any free port.")
def serve(dist: Path, host: str, port: int) -> None:
    """Serve the built site DIST until Ctrl-C."""
    serve_site(dist, host, port, click.echo)
