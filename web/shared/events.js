/**
 * The names of the engine's events, the same list as `durably_wasm/events.py`; a test keeps the two equal.
 */
export const EVENT_TYPES = /** @type {const} */ ([
  'run:trigger',
  'run:coalesced',
  'run:leased',
  'run:lease-renewed',
  'run:complete',
  'run:fail',
  'run:cancel',
  'run:delete',
  'run:progress',
  'step:start',
  'step:complete',
  'step:fail',
  'step:cancel',
  'log:write',
  'worker:error',
]);

/** @typedef {typeof EVENT_TYPES[number]} EventType */
