"""What a page may give to the engine: JSON that says it as it is, or an error with the path, and nothing is kept."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import Page

ERROR = "({ name, message }) => ({ name, message })"
CYCLE = "(() => { const a = { list: [] }; a.list.push({ a }); return a; })()"
FRAME = "document.body.appendChild(document.createElement('iframe')).contentWindow"

# What JSON cannot say, and what the message must have.
REFUSED = {
    "new Map([[1, 2]])": "input is of type Map",
    "new Set()": "input is of type Set",
    "new WeakMap()": "WeakMap",
    "new WeakSet()": "WeakSet",
    "new WeakRef({})": "WeakRef",
    "/x/g": "RegExp",
    "new Error('x')": "Error",
    "new DOMException('x')": "DOMException",
    "Promise.resolve(1)": "Promise",
    "new FormData()": "FormData",
    "new URLSearchParams('a=1')": "URLSearchParams",
    "new Headers()": "Headers",
    "new Request('/')": "Request",
    "new AbortController().signal": "AbortSignal",
    "document": "HTMLDocument",
    "document.body": "HTMLBodyElement",
    "document.querySelectorAll('p')": "NodeList",
    "document.all": "HTMLAllCollection",
    "window": "Window",
    "localStorage": "Storage",
    "Math": "input is of type Object",
    "JSON": "input is of type Object",
    "Intl": "input",
    "(function () { return arguments; })(1)": "input",
    "await import('./durably/page/json.js')": "input",
    "(() => { const revocable = Proxy.revocable({}, {}); revocable.revoke(); return revocable.proxy; })()": "input",
    "() => 1": "input is a function",
    "class {}": "input is a function",
    "(async () => {})()": "Promise",
    "(function* () {})()": "input",
    "[1, 2][Symbol.iterator]()": "input",
    "Symbol('s')": "Symbol(s)",
    "1n": "input is the BigInt 1",
    "Object(1n)": "BigInt",
    "Object(Symbol())": "Symbol",
    "NaN": "input is NaN",
    "Infinity": "input is Infinity",
    "-Infinity": "input is -Infinity",
    "new Number(1)": "Number",
    "new String('x')": "String",
    "new Boolean(false)": "Boolean",
    "new Date(NaN)": "input is an invalid Date",
    "new Date('never')": "input is an invalid Date",
    f"new ({FRAME}.Date)(NaN)": "input is an invalid Date",
    f"new ({FRAME}.Map)": "Map",
    "new (class Money { #amount = 1 })": "input is of type Money",
    "new (class extends Map {})": "input",
    "Object.create({ a: 1 })": "input",
    "new SharedArrayBuffer(1)": None,
    "(() => { const b = new ArrayBuffer(2); structuredClone(b, { transfer: [b] }); return b; })()": "cannot be read",
    "(() => { const b = new Uint8Array(2); structuredClone(b, { transfer: [b.buffer] }); return b; })()": "cannot",
    "[1, undefined]": "input[1] is undefined",
    "[1, , 3]": "input[1] is empty",
    "new Array(4e9)": "input[0] is empty",
    "'abc'.match(/b/)": "input.index",
    "Object.assign([1], { more: 2 })": "input.more",
    "{ items: [{}, {}, { when: new Date(NaN) }] }": "input.items[2].when is an invalid Date",
    "{ 'a b': { 'é': NaN } }": 'input["a b"].é is NaN',
    "{ a: () => 1 }": "input.a is a function",
    "{ a: Symbol.iterator }": "input.a",
    "{ [Symbol('s')]: 1 }": "Symbol(s)",
    "{ a: { [Symbol.iterator]: 1 } }": "input.a has the key Symbol(Symbol.iterator)",
    "{ a: '\\ud800' }": "input.a",
    "'\\udfff'": "half a surrogate pair",
    "{ '\\ud800': 1 }": "half a surrogate pair",
    "{ a: { get b() { throw new Error('oops'); } } }": "input.a.b cannot be read: oops",
    "{ get b() { throw 5; } }": "input.b cannot be read",
    "{ get b() { throw { get message() { throw 1; } }; } }": "input.b cannot be read",
    "new Proxy({}, { ownKeys() { throw new Error('no keys'); } })": "input cannot be read: no keys",
    "new Proxy([1], { get(_, key) { if (key === '0') throw new Error('no item'); return 1; } })": "no item",
    "{ a: { toJSON() { throw new Error('oops'); } } }": "input.a cannot be read: oops",
    "{ a: { toJSON: () => undefined } }": "whose toJSON returns no JSON",
    "{ a: { toJSON() { return this; } } }": "whose toJSON returns no JSON",
    "{ a: { toJSON: () => NaN } }": "input.a is NaN",
    "{ a: { toJSON: () => 1n } }": "input.a is the BigInt 1",
    "{ a: { toJSON: () => ({ b: [new Map()] }) } }": "input.a.b[0] is of type Map",
    "{ a: { toJSON: async () => 1 } }": "input.a is of type Promise",
    "{ a: { toJSON: () => () => 1 } }": "input.a is a function",
    "{ a: { toJSON() { return { again: this }; } } }": "input.a.again contains itself",
    "(() => { class Grow { toJSON() { return { next: new Grow() }; } } return new Grow(); })()": "levels deep",
    CYCLE: "input.list[0].a contains itself",
    "(() => { const a = []; a.push(a); return a; })()": "input[0] contains itself",
    "(() => { let a = 1; for (let n = 0; n < 1001; n++) a = [a]; return a; })()": "levels deep",
    "(() => { let a = 1; for (let n = 0; n < 50000; n++) a = { a }; return a; })()": "levels deep",
    "({ file: Object.assign(new Blob([]), { arrayBuffer: async () => { throw new Error('gone'); } }) })": "file cannot",
}
# What JSON says, and how.
ACCEPTED = {
    "null": None,
    "'é\\u0000😀'": "é\u0000😀",
    "-0": 0,
    "1e308": 1e308,
    "[]": [],
    "{}": {},
    "{ a: undefined, b: [null, { c: true }] }": {"b": [None, {"c": True}]},
    "Object.assign(Object.create(null), { a: 1 })": {"a": 1},
    f"(() => {{ const other = {FRAME}; return other.eval('({{ a: new Array(3).fill(1) }})'); }})()": {"a": [1, 1, 1]},
    "new Date(0)": "1970-01-01T00:00:00.000Z",
    "{ at: new Date(-1) }": {"at": "1969-12-31T23:59:59.999Z"},
    "new URL('http://a.b/')": "http://a.b/",
    "{ toJSON(key) { return `<${key}>`; } }": "<>",
    "{ a: [{ toJSON(key) { return key; } }], b: { toJSON: (key) => key } }": {"a": ["0"], "b": "b"},
    "new (class Money { toJSON() { return { amount: 1 }; } })": {"amount": 1},
    "new (class Money { amount = 1; get cents() { return 100; } })": {"amount": 1},
    "{ a: { toJSON: () => new Date(0) } }": {"a": "1970-01-01T00:00:00.000Z"},
    "{ toJSON: 5 }": {"toJSON": 5},
    "(() => { const shared = { a: 1 }; return [shared, shared, { shared }]; })()": [
        {"a": 1},
        {"a": 1},
        {"shared": {"a": 1}},
    ],
    "new Proxy({ a: [1] }, {})": {"a": [1]},
    "{ get a() { return 1; } }": {"a": 1},
    "new Uint8Array([0, 255, 128])": "AP+A",
    "new Uint8Array([9, 0, 255, 128, 9]).subarray(1, 4)": "AP+A",
    "new DataView(new Uint8Array([0, 255, 128]).buffer)": "AP+A",
    "new Uint16Array([255])": "/wA=",
    "new Uint8Array([0, 255, 128]).buffer": "AP+A",
    "new Blob([])": "",
    "{ b: new Blob(['b']), a: [new File(['a'], 'x')], c: 1 }": {"b": "Yg==", "a": ["YQ=="], "c": 1},
    'JSON.parse(\'{"__proto__": 1, "constructor": 2}\')': {"__proto__": 1, "constructor": 2},
    "(() => { let a = 1; for (let n = 0; n < 1000; n++) a = [a]; return JSON.stringify(a).length })()": 2001,
    "Object.defineProperty({ a: 1 }, 'hidden', { value: () => 1, enumerable: false })": {"a": 1},
}


@pytest.mark.parametrize("value", REFUSED)
def test_what_json_cannot_say_is_refused_with_its_path(value: str, shared_page: Page) -> None:
    if value.startswith("new SharedArrayBuffer") and not shared_page.evaluate("'SharedArrayBuffer' in window"):
        return  # only isolated pages have it
    told = shared_page.evaluate(
        f"async () => (await import('./durably/page/json.js')).toJson('input', {value}).then(String, {ERROR})"
    )
    assert told["name"] == "ValidationError"
    assert (REFUSED[value] or "input") in told["message"]


@pytest.mark.parametrize("value", ACCEPTED)
def test_what_json_can_say_is_what_the_engine_gets(value: str, shared_page: Page) -> None:
    read = "async () => JSON.stringify(await (await import('./durably/page/json.js')).toJson('input', VALUE))"

    assert json.loads(shared_page.evaluate(read.replace("VALUE", f"({value})"))) == ACCEPTED[value]


def test_the_order_of_keys_is_kept(shared_page: Page) -> None:
    read = """async () => {
      const { toJson } = await import('./durably/page/json.js');
      return Object.keys(await toJson('input', { z: new Blob(['z']), y: 1, a: new Date(0), b: new Blob(['b']) }));
    }"""
    assert shared_page.evaluate(read) == ["z", "y", "a", "b"]


def test_what_is_changed_after_the_call_is_not_sent(page: Page) -> None:
    output = page.evaluate(
        """async () => {
          const input = { a: { b: 1 }, file: new Blob(['x']) };
          const triggered = durably.jobs.anything.triggerAndWait(input);
          input.a.b = 2;
          input.c = 3;
          return (await triggered).output;
        }"""
    )
    assert output == {"a": {"b": 1}, "file": "eA=="}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("anything.trigger({ items: [1, 2, { when: new Date(NaN) }] })", "input.items[2].when"),
        ("anything.triggerAndWait(new Map())", "input is of type Map"),
        ("durably.getJob('anything').trigger(1n)", "input is the BigInt 1"),
        ("anything.batchTrigger([1, { a: [new Set()] }])", "input.a[0] is of type Set, which JSON cannot say (at"),
        ("anything.batchTrigger([1, durably.triggerItem(NaN)])", "input is NaN, which JSON cannot say (at index 1)"),
        ("anything.batchTrigger([durably.triggerItem(1, { labels: { a: 1n } })])", "options.labels.a is the BigInt"),
        ("anything.batchTrigger('ab')", "A batch must be a list"),
        ("anything.batchTrigger(null)", "A batch must be a list"),
        ("anything.batchTrigger(new Set([1]))", "A batch must be a list"),
        ("anything.trigger(1, { onProgress() {} })", "options.onProgress is a function"),
        ("anything.trigger(1, { labels: new Map([['a', 'b']]) })", "options.labels is of type Map"),
        ("anything.trigger(1, { labels: { a: Symbol('s') } })", "options.labels.a is Symbol(s)"),
        ("anything.trigger(1, { labels: ['a'] })", "labels must be a mapping"),
        ("anything.trigger(1, { labels: { a: 1 } })", "labels must be a mapping"),
        ("anything.trigger(1, { labels: { '': 'a' } })", "A label's key must be text and not empty"),
        ("anything.trigger(1, { labels: { a: 'x'.repeat(1001) } })", 'label "a" must have at most 1000 characters'),
        ("anything.trigger(1, { idempotencyKey: '' })", "idempotencyKey must be text and not empty"),
        ("anything.trigger(1, { idempotencyKey: 5 })", "idempotencyKey must be text"),
        ("anything.trigger(1, { idempotencyKey: 'a\\0' })", "idempotencyKey must not contain NUL"),
        ("anything.trigger(1, { concurrencyKey: '\\udcff' })", "concurrencyKey"),
        ("anything.trigger(1, { concurrencyKey: '😀'.repeat(1001) })", "at most 1000 characters, not 1001"),
        ("anything.trigger(1, 'fast')", "options must be an object"),
        ("anything.trigger(1, [])", "options must be an object"),
        ("durably.getRuns({ labels: new Map() })", "filter.labels is of type Map"),
        ("durably.getRuns({ limit: NaN })", "filter.limit is NaN"),
        ("durably.getRuns({ limit: 1n })", "filter.limit is the BigInt"),
        ("durably.getRuns(new Map())", "filter is of type Map"),
        ("durably.getRuns('completed')", "A filter must be an object"),
        ("durably.getRuns({ jobName: '' })", "jobName must be text and not empty"),
        ("durably.getRuns({ jobName: ['spin', '\\ud800'] })", "half a surrogate pair"),
        ("durably.getRuns({ labels: { a: 'b\\0' } })", 'The value of label "a" must not contain NUL'),
        ("durably.jobs.spin.getRuns({ status: 'done' })", "status must be one of"),
        ("durably.getRun('')", "A run's id"),
        ("durably.getRun(undefined)", "A run's id must be text and not empty, not undefined"),
        ("durably.getRun({ id: 1 })", "A run's id"),
        ("durably.jobs.spin.getRun(5)", "A run's id"),
        ("durably.storage.getSteps(null)", "A run's id"),
        ("durably.storage.getLogs('a\\0b')", "A run's id"),
        ("durably.waitForRun(7)", "A run's id"),
        ("durably.cancel('')", "A run's id"),
        ("durably.cancel(NaN)", "A run's id"),
        ("durably.retrigger(undefined)", "A run's id"),
        ("durably.deleteRun('\\ud800')", "A run's id"),
        ("durably.subscribe(null).getReader().read()", "A run's id"),
        ("durably.purgeRuns({ olderThan: new Date(NaN) })", "olderThan must be a Date"),
        ("durably.purgeRuns({ olderThan: '2026-01-01' })", "olderThan must be a Date"),
        ("durably.purgeRuns({ olderThan: new Date(), limit: Infinity })", "limit must be an integer"),
        ("durably.purgeRuns({ olderThan: new Date(), limit: -1 })", "limit must be an integer"),
        ("(async () => durably.getJob(''))()", "A job's name must be text and not empty"),
        ("(async () => durably.getJob(undefined))()", "A job's name"),
        ("(async () => durably.getJob('a\\0'))()", "A job's name must not contain NUL"),
        ("(async () => durably.register({ a: { name: 'spin' }, b: {} }))()", "A job's name"),
        ("(async () => durably.register({ a: null }))()", "A job's name"),
        ("create({ database: '' })", "database must be text and not empty"),
        ("create({ database: 'a\\0' })", "database must not contain NUL"),
        ("create({ database: '\\ud800' })", "database must be text that UTF-8 can write"),
        ("create({ database: 'x'.repeat(1001) })", "database must have at most 1000"),
        ("create({ pollingIntervalMs: Infinity })", "pollingIntervalMs must be"),
        ("create({ leaseMs: NaN })", "leaseMs must be"),
        ("create({ leaseMs: 10n })", "leaseMs must be"),
        ("create({ retainRuns() {} })", "retainRuns must be"),
        ("(async () => durably.on('run:trigger', null))()", "A listener must be a function"),
        ("(async () => durably.on('nothing', () => {}))()", "Unknown event type"),
        ("(async () => durably.onError(5))()", "onError takes a function"),
    ],
)  # fmt: skip
def test_a_wrong_call_is_refused_before_it_is_kept(call: str, message: str, shared_page: Page) -> None:
    told = shared_page.evaluate(
        f"""async () => {{
          const {{ triggerItem }} = await import('./durably/page/index.js');
          durably.triggerItem = triggerItem;
          const {{ anything }} = durably.jobs;
          const create = async (options) => createDurably({{ database: 'x', jobs: 'x', ...options }});
          let puts = 0;
          const {{ put }} = IDBObjectStore.prototype;
          IDBObjectStore.prototype.put = function (entry) {{ puts += 1; return put.call(this, entry); }};
          const error = await {call}.then(() => null, {ERROR});
          IDBObjectStore.prototype.put = put;
          return {{ ...error, puts }};
        }}"""
    )
    assert (told["name"], told["puts"]) == ("ValidationError", 0)
    assert message in told["message"]


def test_identifiers_of_every_kind_are_taken(shared_page: Page) -> None:
    key = "'😀'.repeat(1000)"
    run = shared_page.evaluate(
        f"durably.jobs.spin.trigger(1, {{ idempotencyKey: {key}, concurrencyKey: null,"
        f" labels: {{ a: {key}, b: undefined }} }})"
    )
    assert run["labels"] == {"a": "😀" * 1000} and run["idempotencyKey"] == "😀" * 1000
    for options in ("null", "undefined", "{ labels: null, idempotencyKey: null }"):
        assert (
            shared_page.evaluate(f"durably.jobs.spin.triggerAndWait(1, {options}).then(({{ output }}) => output)") == 1
        )
    assert shared_page.evaluate("durably.getRuns(null).then((runs) => runs.length)") == 4
