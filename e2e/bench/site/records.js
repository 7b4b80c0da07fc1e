/** A run and a step as the engine stores them, for transactions without an engine. */

export const RUN_ID = '01M0000000000000000000000';
const TIME = '2026-01-01T00:00:00.000Z';

/** @param {number} steps that the run has completed */
export function leasedRun(steps) {
  return {
    id: RUN_ID,
    jobName: 'steps',
    status: 'leased',
    idempotencyKey: null,
    concurrencyKey: null,
    currentStepIndex: steps,
    completedStepCount: steps,
    progress: null,
    error: null,
    errorType: null,
    errorTraceback: null,
    labels: {},
    leaseOwner: 'lock-1-0123456789abcdef',
    leaseExpiresAt: TIME,
    leaseGeneration: 1,
    startedAt: TIME,
    completedAt: null,
    createdAt: TIME,
    updatedAt: TIME,
  };
}

/** @param {number} index */
export function completedStep(index) {
  return {
    id: `01M${String(index).padStart(23, '0')}`,
    runId: RUN_ID,
    name: `step-${index}`,
    index,
    status: 'completed',
    output: String(index),
    error: null,
    startedAt: TIME,
    completedAt: TIME,
  };
}
