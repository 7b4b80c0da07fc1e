"""The statements of `sql/` by their names, and the transactions around them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from durably_wasm.errors import StoreError
from durably_wasm.stores.epochs import check_epoch
from durably_wasm.stores.migrations import statements
from durably_wasm.stores.rows import SqlRow
from durably_wasm.stores.sql_driver import SqlDriver, SqlValue, Statement


class Statements:
    """Executes statements over a driver, several at once where no rows are wanted in between.

    Attributes:
        epoch: The store's epoch in which transactions are accepted; None: in each.
    """

    def __init__(self, driver: SqlDriver) -> None:
        self.epoch: int | None = None
        self._db = driver
        self._sql = statements()
        self._waiting: list[Statement] = []  # in order, to be executed before the next one whose rows are wanted
        self._is_fence_waiting = False  # then the second of them reads the epoch

    def run(self, statement: str, /, **values: SqlValue) -> list[SqlRow]:
        """Execute one of the named statements, after those that wait, and return its rows."""
        return self.execute(self._sql[statement], values)

    def later(self, statement: str, /, **values: SqlValue) -> None:
        """Execute one of the named statements before the next whose rows are wanted, at the latest at the commit."""
        self._waiting.append((self._sql[statement], _utf8(values)))

    def execute(self, sql: str, values: dict[str, SqlValue] | None = None) -> list[SqlRow]:
        """Execute any statement, after those that wait, and return its rows."""
        self._waiting.append((sql, _utf8(values or {})))
        return self._flush()[-1]

    def execute_all(self, statements: Sequence[Statement]) -> list[list[SqlRow]]:
        """Execute statements in order, after those that wait, and return the rows of each."""
        waiting = len(self._waiting)
        self._waiting += [(sql, _utf8(dict(values))) for sql, values in statements]
        return self._flush()[waiting:]

    @contextmanager
    def transaction(self, *, fenced: bool = True) -> Iterator[None]:
        """Hold the write lock from the first statement on, so that what is read still holds when it is written."""
        self._waiting = [("BEGIN IMMEDIATE", {})]
        if fenced and self.epoch is not None:
            self.later("epoch")
            self._is_fence_waiting = True
        try:
            yield
            if self._is_fence_waiting:
                self._flush()
            self.execute("COMMIT")
        except BaseException:
            self._waiting, self._is_fence_waiting = [], False
            with suppress(StoreError):  # it may not have begun, or the database may have rolled back by itself
                self.execute("ROLLBACK")
            raise

    def _flush(self) -> list[list[SqlRow]]:
        """Execute what waits, and refuse when the epoch that was read in it is not this object's."""
        statements, self._waiting = self._waiting, []
        rows = self._db.run_all(statements)
        if self._is_fence_waiting:
            self._is_fence_waiting = False
            assert self.epoch is not None
            check_epoch(self.epoch, int(rows[1][0][0]) if rows[1] else None)
        return rows


def _utf8(values: dict[str, SqlValue]) -> dict[str, SqlValue]:
    """Replace half surrogate pairs, as in some errors' messages: UTF-8 cannot hold them."""
    for name, value in values.items():
        if isinstance(value, str) and not value.isascii():
            values[name] = value.encode("utf-8", "backslashreplace").decode("utf-8")
    return values
