/**
 * What the demo reads of the client's rows and events; the client knows more.
 *
 * @typedef {'pending' | 'leased' | 'completed' | 'failed' | 'cancelled'} Status
 *
 * @typedef {{ current: number, total?: number | null, message?: string | null }} Progress
 *
 * @typedef {object} ImportOutput  jobs.py's ImportOutput; user data keeps its own keys
 * @property {number} imported
 * @property {number} rejected
 * @property {Record<string, number>} by_state
 *
 * @typedef {object} Run
 * @property {string} id
 * @property {string} jobName
 * @property {Status} status
 * @property {{ filename: string }} input
 * @property {Progress | null} progress
 * @property {ImportOutput | null} output
 * @property {string | null} error
 * @property {string | null} errorType
 * @property {string | null} errorTraceback
 * @property {string} createdAt
 * @property {string | null} startedAt
 * @property {string | null} completedAt
 * @property {number} completedStepCount
 * @property {number} leaseGeneration
 *
 * @typedef {'starting' | 'leader' | 'follower' | 'stopped' | 'failed'} EngineState
 *
 * @typedef {object} Engine
 * @property {EngineState} state
 * @property {string | null} [stage]
 * @property {number | null} [epoch]
 * @property {{ kind: string } | null} [store]
 * @property {{ name: string, message: string } | null} [notice]
 * @property {{ name: string, message: string } | null} [error]
 *
 * @typedef {object} LogLine
 * @property {'info' | 'warn' | 'error'} level
 * @property {string | null} stepName
 * @property {string} message
 * @property {string} at  when, as ISO text
 */

export {};
