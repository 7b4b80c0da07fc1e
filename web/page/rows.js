/**
 * The rows as the page gets them. Types only: times are ISO text, what is absent is null.
 *
 * @typedef {'pending' | 'leased' | 'completed' | 'failed' | 'cancelled'} RunStatus
 * @typedef {{ current: number, total: number | null, message: string | null }} Progress
 *
 * @typedef {object} Run
 * @property {string} id
 * @property {string} jobName
 * @property {any} input
 * @property {RunStatus} status
 * @property {string | null} idempotencyKey
 * @property {string | null} concurrencyKey
 * @property {number} currentStepIndex
 * @property {number} completedStepCount
 * @property {Progress | null} progress
 * @property {any} output
 * @property {string | null} error
 * @property {string | null} errorType
 * @property {string | null} errorTraceback
 * @property {Record<string, string>} labels
 * @property {string | null} leaseOwner
 * @property {string | null} leaseExpiresAt
 * @property {number} leaseGeneration
 * @property {string | null} startedAt
 * @property {string | null} completedAt
 * @property {string} createdAt
 * @property {string} updatedAt
 * @property {string} [decodeError]  why input and output are the text that is stored, and not its value
 *
 * @typedef {Run & { disposition: 'created' | 'idempotent' | 'coalesced' }} TriggerResult
 *
 * @typedef {object} Step
 * @property {string} id
 * @property {string} runId
 * @property {string} name
 * @property {number} index
 * @property {'completed' | 'failed'} status
 * @property {any} output
 * @property {string | null} error
 * @property {string} startedAt
 * @property {string | null} completedAt
 * @property {string} [decodeError]
 *
 * @typedef {object} Log
 * @property {string} id
 * @property {string} runId
 * @property {string | null} stepName
 * @property {'info' | 'warn' | 'error'} level
 * @property {string} message
 * @property {any} data
 * @property {string} createdAt
 * @property {string} [decodeError]
 */
export {};
