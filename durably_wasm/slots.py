"""The slots in which an engine executes runs, and which of them are lent.

A run that waits for another one lends its slot, so that the other can be executed, however few slots there are.

Rule: of the runs that an engine executes, no more than it has slots begin; those that wait do not count. When its wait
is over a run goes on at once: a run that had to wait for a slot could wait for one that waits for it. If all slots are
occupied then, one run more is executed, and the next of them that ends is not followed by another.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context, ContextVar
from typing import TypeVar

from durably_wasm.errors import ConflictError, StopExecution
from durably_wasm.models import Run

T = TypeVar("T")

_current: ContextVar[Slot | None] = ContextVar("current_slot", default=None)


class Slots:
    """The slots of one engine that runs occupy.

    `on_change` is called when a slot was lent or taken back.

    Attributes:
        lent: How many are lent.
        is_closed: Whether no further runs are taken.
    """

    def __init__(self, on_change: Callable[[], None]) -> None:
        self.lent = 0
        self._on_change = on_change
        self._occupied: dict[str, Slot] = {}
        self.is_closed = False
        self._keeps_runs = True

    @property
    def executing(self) -> int:
        """How many runs are executed and do not wait for another."""
        return len(self._occupied) - self.lent

    def occupy(self, run: Run, leave: Callable[[], StopExecution]) -> Slot:
        """Give a run a slot; `leave` gives the run's lease back, and returns what is to be raised in the job."""
        slot = self._occupied[run.id] = Slot(run, self, leave)
        return slot

    def free(self, slot: Slot) -> None:
        """Take the slot of a run that has ended."""
        slot.end_loans()
        del self._occupied[slot.run.id]
        if self.is_closed:
            self._wake()  # the run may be pending again

    def open(self) -> None:
        """Begin to take runs."""
        self.is_closed, self._keeps_runs = False, True

    def close(self, *, keeps_runs: bool) -> None:
        """Take no more runs: runs that wait for a pending one leave, or, unless runs are kept, all that wait."""
        self.is_closed, self._keeps_runs = True, keeps_runs
        self._wake()

    def is_awaited_in_vain(self, run: Run) -> bool:
        """Say whether an unfinished run will not be executed while this engine runs."""
        return not self._keeps_runs or (run.status == "pending" and self.is_closed)

    def waiting_for(self, slot: Slot) -> list[Slot]:
        """Return a slot and those whose runs wait for its run, or for one that waits for it, and so on."""
        found = [slot]
        for known in found:  # which grows meanwhile
            found += [
                other for other in self._occupied.values() if known.run.id in other.awaited and other not in found
            ]
        return found

    def note(self, change: int) -> None:
        """Count slots that were lent, or taken back."""
        self.lent += change
        self._on_change()

    def _wake(self) -> None:
        for slot in list(self._occupied.values()):
            slot.wake()


class Slot:
    """What one run occupies while it is executed.

    It is lent as long as the run waits for another, or several, wherever in the job that is.
    """

    def __init__(self, run: Run, slots: Slots, leave: Callable[[], StopExecution]) -> None:
        self.run = run
        self.slots = slots
        self.leave = leave
        self.is_occupied = True
        self._loans: list[Loan] = []

    def enter(self) -> None:
        """Make the running task, and those that it starts, the run's."""
        _current.set(self)

    @property
    def awaited(self) -> set[str]:
        """The ids of the runs that this one waits for."""
        return {loan.awaited for loan in self._loans}

    def wake(self) -> None:
        """Let each wait of the run look again."""
        for loan in list(self._loans):
            loan.wake()

    def lend(self, loan: Loan) -> None:
        """Lend the slot, if it is not lent."""
        self._loans.append(loan)
        if len(self._loans) == 1:
            self.slots.note(+1)
        if self.slots.is_closed:
            loan.wake()

    def take_back(self, loan: Loan) -> None:
        """Take the slot back with the last loan."""
        if loan in self._loans:
            self._loans.remove(loan)
            if not self._loans:
                self.slots.note(-1)

    def end_loans(self) -> None:
        """Lend no more."""
        self.is_occupied = False
        for loan in list(self._loans):
            loan.end()


class Loan:
    """A slot that is lent because its run waits for another."""

    def __init__(self, slot: Slot, awaited: str, wake: Callable[[], None]) -> None:
        self.awaited = awaited
        self.wake = wake
        self._slot = slot

    def end(self) -> None:
        """Take the slot back; harmless when it was."""
        self._slot.take_back(self)

    def check_that_it_can_end(self, run: Run) -> None:
        """Refuse a wait for a run that cannot begin, or end, before the waiting one has ended.

        Raises:
            ConflictError: It waits for the waiting run, or needs a concurrency key that this one holds.
        """
        waiter = self._slot.run
        for slot in self._slot.slots.waiting_for(self._slot):
            if slot.run.id == run.id:
                raise ConflictError(f"Run {waiter.id} cannot wait for run {run.id}, which waits for it")
            key = slot.run.concurrency_key
            if key is not None and key == run.concurrency_key and run.status == "pending":
                raise ConflictError(
                    f"Run {waiter.id} cannot wait for run {run.id}: "
                    f"its concurrency key {key!r} is held by run {slot.run.id} until that has ended"
                )

    def leave_if_in_vain(self, run: Run) -> None:
        """Give the waiting run's lease back where its wait would keep a stopping engine from its end.

        Raises:
            StopExecution: It was given back.
        """
        if self._slot.slots.is_awaited_in_vain(run):
            raise self._slot.leave()


def lend_slot(slots: Slots, awaited: str, wake: Callable[[], None]) -> Loan | None:
    """Lend the slot of the run whose code waits for another run of the same engine; None where there is no such run.

    `wake` is called when the wait is to look again.
    """
    slot = occupied_slot(slots)
    if slot is None:
        return None
    loan = Loan(slot, awaited, wake)
    slot.lend(loan)
    return loan


def occupied_slot(slots: Slots) -> Slot | None:
    """Return the slot of the run whose code is running, if this engine executes it and it has not ended."""
    slot = _current.get()
    return slot if slot is not None and slot.slots is slots and slot.is_occupied else None


def is_inside_a_run(context: Context | None = None) -> bool:
    """Say whether the running code is a run's, of whatever engine; or what will run in a context."""
    return (_current.get() if context is None else context.get(_current)) is not None


def call_outside_of_runs(call: Callable[[T], None], argument: T) -> None:
    """Call what is not the code of a run, nor are the tasks that it starts, though a run's code leads to it."""
    if _current.get() is None:
        return call(argument)
    token = _current.set(None)
    try:
        call(argument)
    finally:
        _current.reset(token)
