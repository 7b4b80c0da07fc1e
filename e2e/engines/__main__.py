"""Print, in one line, which browser engines are here, and which are not."""

from e2e.engines import ENGINES

here = [version for engine in ENGINES if (version := engine.version())]
missing = [engine.__name__ for engine in ENGINES if engine.version() is None]
print(", ".join(here) + (f"; no {', no '.join(missing)}" if missing else ""))
