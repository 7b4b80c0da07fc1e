"""`python -m durably_wasm`, the same as the command `durably-wasm`."""

from __future__ import annotations


def main() -> None:
    """Run the command line, or say how to install it: the engine itself does without its libraries."""
    try:
        from durably_wasm.cli import commands
    except ModuleNotFoundError as error:
        if error.name not in ("click", "platformdirs", "starlette", "uvicorn"):
            raise
        raise SystemExit(f"The command line needs {error.name}: pip install 'durably-wasm[cli]'") from error
    commands(prog_name="durably-wasm")


if __name__ == "__main__":
    main()
