/**
 * How long each stage of the boot takes, as the platform's own measures (`durably:<stage>`). Knows no stage.
 */

const PREFIX = 'durably:';

/**
 * Measure a piece of work; one that fails leaves no measure.
 * @template T
 * @param {string} stage
 * @param {() => T | Promise<T>} work
 * @returns {Promise<T>}
 */
export async function measured(stage, work) {
  const start = performance.now();
  const result = await work();
  performance.measure(PREFIX + stage, { start });
  return result;
}

/**
 * Say in one line of the console what was measured so far: milliseconds since the worker's start, of each stage.
 * @param {Record<string, unknown>} facts
 */
export function tellStages(facts) {
  const measures = performance.getEntriesByType('measure').filter(({ name }) => name.startsWith(PREFIX));
  const stages = measures.map(({ name, startTime, duration }) => [
    name.slice(PREFIX.length),
    { start: Math.round(startTime), ms: Math.round(duration) },
  ]);
  console.debug(`durably: boot ${JSON.stringify({ ...facts, stages: Object.fromEntries(stages) })}`);
}
