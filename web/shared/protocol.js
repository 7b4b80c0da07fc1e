/**
 * Every message between a client and an engine. JSON values only, told apart by `type`. Knows no transport.
 *
 * A client sends `hello`, then calls, the first of them `open`. The engine answers each call with one reply, and sends
 * events and states by itself.
 */

import { SCHEMA_VERSION } from './schema.js';

/** @import { EventType } from './events.js' */
/** @import { ReadName } from './reads.js' */

const PROTOCOL_VERSION = 1;

/**
 * Return what a client says first: the versions of its code, and the store that it asks for.
 * @param {Pick<OpenParams, 'app' | 'store'>} params
 * @returns {Hello}
 */
export function helloOf({ app, store }) {
  return { type: 'hello', protocol: PROTOCOL_VERSION, schema: SCHEMA_VERSION, app, store };
}

/**
 * The calls, with their parameters. `durably_wasm/browser/host.py` answers those that are not in `WITHOUT_PYTHON`; a test
 * keeps the two equal.
 * @typedef {object} Methods
 * @property {{}} init
 * @property {{}} stop
 * @property {{ job: JobReference, input: unknown, options: TriggerOptions }} trigger
 * @property {{ job: JobReference, items: { input: unknown, options: TriggerOptions }[] }} batchTrigger
 * @property {{ name: ReadName, params: object }} read
 * @property {{ id: string }} retrigger
 * @property {{ id: string, graceMs?: number | null }} cancel
 * @property {{ id: string }} deleteRun
 * @property {{ olderThan: string, limit?: number }} purgeRuns
 * @property {{ runs: string[], reason: string }} reportCrash
 * @property {{}} exportDatabase
 * @property {{ file: Blob }} importDatabase
 */
export const METHODS = /** @type {const} */ ([
  'init',
  'stop',
  'trigger',
  'batchTrigger',
  'read',
  'retrigger',
  'cancel',
  'deleteRun',
  'purgeRuns',
  'reportCrash',
  'exportDatabase',
  'importDatabase',
]);

/** The calls that the worker's JavaScript answers by itself. */
export const WITHOUT_PYTHON = /** @type {const} */ (['stop', 'read', 'exportDatabase']);

/**
 * The calls that pages and workers make among themselves, for no host.
 * @typedef {object} OwnMethods
 * @property {OpenParams} open  to the page's worker: what to lead, or to wait for
 * @property {{}} ping  to the page's worker: answered by its thread at once, unless Python computes
 * @property {{ id: string }} interrupt  to the leading tab's page: end the worker if a run keeps it from answering
 */

/**
 * @typedef {{ key: string, name?: undefined } | { name: string, key?: undefined }} JobReference
 *
 * @typedef {object} TriggerOptions
 * @property {string | null} [idempotencyKey]
 * @property {string | null} [concurrencyKey]
 * @property {'skip' | null} [coalesce]
 * @property {Record<string, string> | null} [labels]
 *
 * @typedef {object} RunFilter
 * @property {string | string[] | null} [status]
 * @property {string | string[] | null} [jobName]
 * @property {Record<string, string> | null} [labels]
 * @property {number | null} [limit]
 * @property {number} [offset]
 *
 * @typedef {object} OpenParams
 * @property {string} database
 * @property {string[]} jobs  absolute URLs of Python modules
 * @property {string[]} packages  requirements of packages beyond the engine's own, as pip reads them
 * @property {StoreInfo['kind']} store
 * @property {boolean} adopt  runs that lie in the other store are moved, and do not keep the engine from starting
 * @property {Durability} durability
 * @property {string | null} app  the app's version
 * @property {Record<string, unknown>} options  the engine's, in camelCase
 * @property {boolean} [isLazy]  Python is started when it is needed, and not at once
 */

/**
 * What a commit waits for; `durably_wasm/stores/durability.py` says what each survives.
 * @typedef {'relaxed' | 'strict'} Durability
 *
 * @typedef {'starting' | 'leader' | 'follower' | 'stopped' | 'failed'} EngineState
 * @typedef {'runtime' | 'packages' | 'store' | 'jobs' | 'ready'} Stage
 * @typedef {{ name: string, message: string, [detail: string]: unknown }} ErrorMessage
 * @typedef {'persistent' | 'best-effort' | 'memory' | null} Persistence  null: not known
 * @typedef {{ kind: 'indexeddb' | 'sqlite', persistence: Persistence }} StoreInfo
 *
 * @typedef {{ name: string, message: string }} Notice  something that the user should know, though all works
 *
 * @typedef {{ type: 'hello', protocol: number, schema: number, app: string | null, store: StoreInfo['kind'] }} Hello
 * @typedef {object} Call
 * @property {'call'} type
 * @property {string} id
 * @property {string} method
 * @property {object} params
 * @property {boolean} [again]  it was sent before, and may have been applied
 *
 * @typedef {{ type: 'reply', id: string, epoch?: number | null, result: unknown, error?: undefined }
 *   | { type: 'reply', id: string, epoch?: number | null, error: ErrorMessage, result?: undefined }} Reply
 * @typedef {{ type: EventType, timestamp: string, sequence: number, [field: string]: any }} DurablyEvent
 * @typedef {{ type: 'event', epoch: number | null, event: DurablyEvent }} EventMessage
 * @typedef {object} State
 * @property {'state'} type
 * @property {EngineState} state
 * @property {Stage | null} stage
 * @property {number | null} epoch  counted by the store: those of two kinds of store cannot be compared
 * @property {StoreInfo} store
 * @property {Notice | null} notice
 * @property {ErrorMessage} [error]
 *
 * @typedef {{ type: 'snapshot', modules: string }} SnapshotRequest  to the page alone: to have a snapshot of Python made, with
 *   these modules (JSON) imported
 *
 * @typedef {Hello | Call} ToEngine
 * @typedef {Reply | EventMessage | State} ToClient
 */
