"""What is driven to its end, a cancellation does not cut in half: it comes afterwards, and is not lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import pytest

from durably_wasm.cancellation import to_its_end
from durably_wasm.end import End


class Work:
    """Waits twice, and knows how far it came."""

    def __init__(self, first: Awaitable[object], second: Awaitable[object]) -> None:
        self._waits = [first, second]
        self.done: list[object] = []

    async def do(self) -> str:
        for wait in self._waits:
            try:
                self.done.append(await wait)
            except (ValueError, asyncio.CancelledError) as error:
                self.done.append(type(error))
        return "result"


class Caller:
    """A task that drives work to its end, and then waits for ever."""

    def __init__(self, work: Work) -> None:
        self.log: list[object] = []
        self.task = asyncio.create_task(self._run(work))

    async def _run(self, work: Work) -> None:
        self.log.append(await to_its_end(work.do(), on_cancel=lambda: self.log.append("told")))
        await asyncio.Event().wait()

    async def end(self) -> None:
        """Cancel what may be cancelled by now."""
        self.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await self.task


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def futures() -> tuple[asyncio.Future[object], asyncio.Future[object]]:
    return asyncio.Future(), asyncio.Future()


async def test_work_returns_and_raises_as_if_it_were_awaited() -> None:
    first, second = futures()
    caller = Caller(work := Work(first, second))
    await turns()
    first.set_result(1)
    await turns()
    second.set_exception(ValueError())
    await turns()

    assert (work.done, caller.log) == ([1, ValueError], ["result"])
    await caller.end()

    async def fail() -> None:
        await asyncio.sleep(0)
        raise KeyError("of the work")

    with pytest.raises(KeyError, match="of the work"):
        await to_its_end(fail())


async def test_a_cancellation_is_told_at_once_and_delivered_when_the_work_has_ended() -> None:
    first, second = futures()
    caller = Caller(work := Work(first, second))
    await turns()

    caller.task.cancel()
    caller.task.cancel()
    assert caller.log == ["told", "told"]
    await turns()
    assert (work.done, caller.task.done()) == ([], False)
    first.set_result(1)
    await turns()
    second.set_result(2)
    await turns()

    assert (work.done, caller.log, caller.task.cancelled()) == ([1, 2], ["told", "told"], True)


async def test_a_cancellation_between_two_turns_of_the_loop_waits_too() -> None:
    caller = Caller(work := Work(asyncio.sleep(0, "a"), asyncio.sleep(0, "b")))
    await asyncio.sleep(0)  # the work is in its first one

    caller.task.cancel()
    await turns()

    assert (work.done, caller.log, caller.task.cancelled()) == (["a", "b"], ["told"], True)


async def test_a_cancellation_is_raised_even_if_the_work_fails() -> None:
    gate = asyncio.Event()

    async def fail() -> None:
        await gate.wait()
        raise KeyError("of the work")

    task = asyncio.create_task(to_its_end(fail()))
    await turns()
    task.cancel()
    gate.set()
    with pytest.raises(asyncio.CancelledError) as raised:
        await task
    assert isinstance(raised.value.__cause__, KeyError)


async def test_what_the_work_waits_for_may_be_cancelled_by_others() -> None:
    first, second = futures()
    caller = Caller(work := Work(first, second))
    await turns()

    first.cancel()
    await turns()
    second.cancel()
    await turns()

    assert (work.done, caller.log) == ([asyncio.CancelledError] * 2, ["result"])
    await caller.end()


async def test_both_cancellations_may_come_at_once() -> None:
    first, second = futures()
    caller = Caller(work := Work(first, second))
    await turns()

    caller.task.cancel()
    first.cancel()
    await turns()
    second.set_result(2)
    await turns()

    assert (work.done, caller.log, caller.task.cancelled()) == ([asyncio.CancelledError, 2], ["told"], True)


async def test_work_inside_work_is_driven_too() -> None:
    first, second = futures()
    inner = Work(first, second)
    told: list[str] = []

    async def outer() -> str:
        return await to_its_end(inner.do(), on_cancel=lambda: told.append("inner"))

    task = asyncio.create_task(to_its_end(outer(), on_cancel=lambda: told.append("outer")))
    await turns()
    task.cancel()
    first.set_result(1)
    await turns()
    second.set_result(2)
    with pytest.raises(asyncio.CancelledError):
        await task

    assert (inner.done, told) == ([1, 2], ["outer"])


async def test_work_that_nobody_awaits_any_more_is_closed() -> None:
    cleaned = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.append(True)

    driven = to_its_end(work())
    driven.send(None)
    driven.close()

    assert cleaned == [True]


class TestEnd:
    """The end of what the browser does."""

    async def test_may_come_before_it_is_awaited(self) -> None:
        end = End()
        end.come()
        await end

    async def test_lets_the_task_go_on_before_it_returns(self) -> None:
        end, log = End(), []

        async def wait() -> None:
            await end
            log.append("went on")

        task = asyncio.create_task(wait())
        await turns()
        asyncio.get_running_loop().call_soon(lambda: (end.come(), log.append("returned")))
        await task
        assert log == ["went on", "returned"]

    async def test_interrupts_no_other_task(self) -> None:
        end, log = End(), []

        async def wait() -> None:
            await end
            log.append("went on")

        task = asyncio.create_task(wait())
        await turns()
        end.come()
        log.append("came")
        await task
        assert log == ["came", "went on"]

    @pytest.mark.parametrize("driven", [False, True])
    async def test_raises_what_it_ends_with(self, driven: bool) -> None:
        end = End()

        async def wait() -> None:
            await end

        task = asyncio.create_task(to_its_end(wait()) if driven else wait())
        await turns()
        asyncio.get_running_loop().call_soon(lambda: end.come(KeyError("gone")))
        with pytest.raises(KeyError, match="gone"):
            await task

    async def test_is_given_up_by_a_cancellation(self) -> None:
        end = End()

        async def wait() -> None:
            await end

        troubles: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, trouble: troubles.append(trouble))
        task = asyncio.create_task(wait())
        await turns()
        task.cancel()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        end.come()  # late, and to nobody
        await turns()
        assert troubles == []

    async def test_is_not_given_up_by_what_is_driven_to_its_end(self) -> None:
        end = End()
        log: list[str] = []

        async def wait() -> None:
            await end
            log.append("went on")

        task = asyncio.create_task(to_its_end(wait()))
        await turns()
        task.cancel()
        await turns()
        assert log == []
        asyncio.get_running_loop().call_soon(end.come)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert log == ["went on"]
