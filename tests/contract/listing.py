"""Lists of runs: filters, order and pages."""

from __future__ import annotations

from durably_wasm.models import Progress, RunFilter
from durably_wasm.stores import Store

from .given import (
    ALL,
    ENDS,
    after,
    again,
    cancelled,
    claimed,
    completed,
    enqueued,
    failed,
)


async def an_unknown_run_is_none(store: Store) -> None:
    await enqueued(store)
    for run_id in ("no such run", "", "01KDVDPG00TZ0Q5XJ2Z8Q1R9F7"):
        assert await store.get_run(run_id) is None


async def an_empty_store_lists_nothing(store: Store) -> None:
    assert await store.get_runs(ALL) == []


async def lists_the_newest_first(store: Store) -> None:
    runs = [await enqueued(store, now=after(ms)) for ms in (20, 40, 10, 30)]
    assert await _ids(store, ALL) == [runs[n].id for n in (1, 3, 0, 2)]


async def lists_the_highest_id_of_one_instant_first(store: Store) -> None:
    runs = [await enqueued(store, job_name=job) for job in ("b", "a", "c", "a")]
    assert await _ids(store, ALL) == sorted((run.id for run in runs), reverse=True)
    assert await _ids(store, RunFilter(job_name=["a", "b", "c"])) == sorted((run.id for run in runs), reverse=True)


async def lists_a_run_as_it_is_read_alone(store: Store) -> None:
    await enqueued(store, input=None, labels={"a": "b"})
    await failed(store, input=[1])
    await completed(store, input={"x": 1.0}, output=[2.0], idempotency_key="i", concurrency_key="c")
    leased = await claimed(store, input="text")
    await store.update_progress(leased.id, leased.lease_generation, Progress(1), after(1))
    runs = await store.get_runs(ALL)
    assert len(runs) == 4
    assert runs == [await again(store, run) for run in runs]


async def filters_by_status(store: Store) -> None:
    runs = {"pending": await enqueued(store)}
    runs |= {status: await end(store) for status, end in ENDS.items()}
    runs["leased"] = await claimed(store)
    for status, run in runs.items():
        assert await store.get_runs(RunFilter(status=status)) == [run], status
        assert await store.get_runs(RunFilter(status=[status])) == [run], status
    assert await _ids(store, RunFilter(status=("failed", "pending"))) == [runs["failed"].id, runs["pending"].id]


async def filters_by_job(store: Store) -> None:
    names = ["import", "export", "import-csv", "Import", "imp%", "ä"]
    runs = {name: await enqueued(store, job_name=name) for name in names}
    for name, run in runs.items():
        assert await store.get_runs(RunFilter(job_name=name)) == [run], name
        assert await store.get_runs(RunFilter(job_name=[name])) == [run], name
    assert await store.get_runs(RunFilter(job_name="no such job")) == []
    assert await _ids(store, RunFilter(job_name=["ä", "export", "?"])) == [runs["ä"].id, runs["export"].id]


async def an_empty_filter_is_no_filter(store: Store) -> None:
    run = await enqueued(store, labels={"a": "b"})
    assert await store.get_runs(RunFilter(status=[], job_name=[], labels={})) == [run]
    assert await store.get_runs(RunFilter(status=(), job_name=(), labels=None)) == [run]


async def a_value_given_twice_lists_a_run_once(store: Store) -> None:
    run = await enqueued(store)
    twice = RunFilter(status=["pending", "pending"], job_name=["import", "import"])
    assert await store.get_runs(twice) == [run]


async def mixes_statuses_and_jobs_by_age(store: Store) -> None:
    made = []
    for n in range(12):
        make = (enqueued, failed, cancelled, completed)[n % 4]
        made.append(await make(store, now=after(n), job_name=f"job-{n % 3}"))
    wanted = RunFilter(status=["failed", "pending"], job_name=["job-2", "job-0"])
    expected = [run.id for run in made[::-1] if run.status in ("failed", "pending") and run.job_name != "job-1"]
    assert await _ids(store, wanted) == expected
    assert await _ids(store, RunFilter(status=["cancelled", "pending"])) == [
        run.id for run in made[::-1] if run.status in ("cancelled", "pending")
    ]


async def filters_by_labels_that_must_all_be_there(store: Store) -> None:
    both = await enqueued(store, labels={"shop": "1", "kind": "daily"})
    one = await enqueued(store, labels={"shop": "1"})
    await enqueued(store, labels={"kind": "daily"})
    await enqueued(store)
    assert await _ids(store, RunFilter(labels={"shop": "1", "kind": "daily"})) == [both.id]
    assert await _ids(store, RunFilter(labels={"shop": "1"})) == [one.id, both.id]
    assert await _ids(store, RunFilter(labels={"shop": "1", "kind": "weekly"})) == []


async def filters_by_labels_exactly(store: Store) -> None:
    values = ["1", "01", "1 ", "1.0", "", " ", "a", "A", "ä", "a\u0308", "%", "_", '"', "'", "\\", "null", "true"]
    values += ["[]", '{"a":1}', "😀", "\n", "a,b", "*", "?"]
    values += ['a"', "a\\", 'a\\"', '"key":"1"', '1","key":"2', '1","a":"b', "\\u0000", "\\n"]
    runs = {value: await enqueued(store, labels={"key": value}) for value in values}
    for value, run in runs.items():
        assert await _ids(store, RunFilter(labels={"key": value})) == [run.id], repr(value)
        assert (await again(store, run)).labels == {"key": value}


async def tells_labels_with_a_null_character_apart(store: Store) -> None:
    values = ["a", "a\x00", "a\x00b", "a\x00c"]
    runs = {value: await enqueued(store, labels={"key": value}) for value in values}
    for value, run in runs.items():
        assert await _ids(store, RunFilter(labels={"key": value})) == [run.id], repr(value)


async def tells_similar_keys_of_labels_apart(store: Store) -> None:
    keys = ["a", "A", "a.b", "a/b", "a-b", "a_b", "$", "$.a", "1", "-1", "0", "__proto__", "constructor", "a.b/c-d_e.1"]
    runs = {key: await enqueued(store, labels={key: "x"}) for key in keys}
    for key, run in runs.items():
        assert await _ids(store, RunFilter(labels={key: "x"})) == [run.id], key
    assert await _ids(store, RunFilter(labels={"b": "x"})) == []


async def a_label_is_not_confused_with_another_ones_value(store: Store) -> None:
    await enqueued(store, labels={"a": "1", "b": "2"})
    assert await store.get_runs(RunFilter(labels={"a": "2"})) == []
    assert await store.get_runs(RunFilter(labels={"a": "1", "b": "1"})) == []
    assert await store.get_runs(RunFilter(labels={"1": "a"})) == []


async def lists_a_page(store: Store) -> None:
    ids = [(await enqueued(store, now=after(n))).id for n in range(7)][::-1]
    pages = [(3, 0), (3, 3), (3, 6), (3, 7), (3, 100), (100, 0), (1, 0), (1, 6), (7, 0), (None, 0), (None, 5)]
    for limit, offset in pages:
        end = None if limit is None else offset + limit
        assert await _ids(store, RunFilter(limit=limit, offset=offset)) == ids[offset:end], (limit, offset)


async def a_limit_of_zero_lists_nothing(store: Store) -> None:
    await enqueued(store)
    await enqueued(store)
    for offset in (0, 1, 5):
        assert await store.get_runs(RunFilter(limit=0, offset=offset)) == []


async def a_page_counts_only_what_matches(store: Store) -> None:
    made = []
    for n in range(24):
        make = (enqueued, failed)[n % 2]
        made.append(
            await make(store, now=after(n), job_name=f"job-{n // 2 % 2}", labels={"shop": str(n // 4 % 2), "n": str(n)})
        )
    expected = [
        run.id for run in made[::-1] if run.status == "failed" and run.job_name == "job-1" and run.labels["shop"] == "0"
    ]
    assert len(expected) == 3
    for limit, offset in ((2, 0), (2, 1), (2, 2), (1, 1), (5, 3), (None, 1), (0, 1)):
        wanted = RunFilter(status="failed", job_name="job-1", labels={"shop": "0"}, limit=limit, offset=offset)
        end = None if limit is None else offset + limit
        assert await _ids(store, wanted) == expected[offset:end], (limit, offset)


async def _ids(store: Store, wanted: RunFilter) -> list[str]:
    return [run.id for run in await store.get_runs(wanted)]
