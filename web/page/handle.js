/**
 * The handle of a job: how its runs are triggered and looked up. Knows calls, not where the engine runs.
 */
import { checkIdentifier, checkLabels, describe, invalid } from './identifiers.js';
import { readJson } from './json.js';
import { checkWaiting, waitForRun } from './waiting.js';

/**
 * @import { JobReference, RunFilter, TriggerOptions } from '../shared/protocol.js'
 * @import { Run, TriggerResult } from './rows.js'
 * @import { Durably } from './client.js'
 * @import { WaitOptions } from './waiting.js'
 */

/**
 * @typedef {object} Engine  what a handle needs of its client
 * @property {Durably} durably
 * @property {(method: string, params: object) => Promise<any>} call
 * @property {() => Promise<Record<string, string>>} names  the jobs' names by key, once the engine is ready
 * @property {(key: string) => string} knownName  a key's name, or the key as long as the engine is not ready
 */

/** An item of a batch that has more than an input; made by `triggerItem`. */
class TriggerItem {
  /**
   * @param {unknown} input
   * @param {TriggerOptions | null} [options]
   */
  constructor(input, options) {
    this.input = input;
    this.options = options;
  }
}

/**
 * Make an item of a batch that has options of its own; nothing is guessed from the shape of an object.
 * @param {unknown} input
 * @param {TriggerOptions | null} [options]
 */
export function triggerItem(input, options) {
  return new TriggerItem(input, options);
}

/** One job, by its key or by its name. `client.jobs.<key>` and `client.getJob(name)` return it. */
export class JobHandle {
  #engine;
  #job;

  /**
   * @param {Engine} engine
   * @param {JobReference} job
   */
  constructor(engine, job) {
    this.#engine = engine;
    this.#job = job;
  }

  /** The job's name; before the engine is ready, the key under which it was asked for. */
  get name() {
    return this.#job.name ?? this.#engine.knownName(this.#job.key);
  }

  /**
   * Store a run of this job.
   *
   * Rejects with `ValidationError` when the input, a key or a label is wrong, with `ConflictError` when a pending run
   * has the concurrency key, with `NotFoundError` when there is no such job.
   * @param {unknown} [input] what JSON can say; files and bytes anywhere in it become base64 text
   * @param {TriggerOptions | null} [options]
   * @returns {Promise<TriggerResult>}
   */
  trigger = async (input, options) => {
    const { files, params } = readItem(new TriggerItem(input, options));
    await Promise.all(files); // a call without files is kept by a promise job of this task, which runs after any dialog in it
    return this.#engine.call('trigger', { job: this.#job, ...params() });
  };

  /**
   * Trigger a run and resolve with its output once it is completed.
   * @param {unknown} [input]
   * @param {(TriggerOptions & WaitOptions) | null} [given]
   * @returns {Promise<{ id: string, output: any, disposition: TriggerResult['disposition'] }>}
   */
  triggerAndWait = async (input, given) => {
    const { timeout, pollingIntervalMs, onProgress, onLog, ...options } = given ?? {};
    const waiting = { timeout, pollingIntervalMs, onProgress, onLog };
    checkWaiting(waiting); // before a run is stored
    const { id, disposition } = await this.trigger(input, options);
    const { output } = await waitForRun(this.#engine.durably, id, waiting);
    return { id, output, disposition };
  };

  /**
   * Store a run for each item, all of them or, if anything is wrong, none.
   * @param {unknown[]} items inputs, or what `triggerItem` makes
   * @returns {Promise<TriggerResult[]>}
   */
  batchTrigger = async (items) => {
    if (!Array.isArray(items)) throw invalid(`A batch must be a list of items, not ${describe(items)}`);
    const read = Array.from(items, (item, index) => at(index, () => readItem(item)));
    const files = read.flatMap((item, index) => item.files.map((file) => file.catch((error) => Promise.reject(named(index, error)))));
    await Promise.all(files);
    return this.#engine.call('batchTrigger', { job: this.#job, items: read.map(({ params }, index) => at(index, params)) });
  };

  /**
   * @param {string} id
   * @returns {Promise<Run | null>} null when it is another job's, too
   */
  getRun = async (id) => {
    const run = await this.#engine.durably.getRun(id);
    return run?.jobName === (await this.#resolvedName()) ? run : null;
  };

  /**
   * List this job's runs, newest first.
   * @param {Omit<RunFilter, 'jobName'> | null} [filter]
   * @returns {Promise<Run[]>}
   */
  getRuns = async (filter) => this.#engine.durably.getRuns({ ...filter, jobName: await this.#resolvedName() });

  async #resolvedName() {
    if (this.#job.name !== undefined) return this.#job.name;
    return (await this.#engine.names())[this.#job.key] ?? this.#job.key;
  }
}

/**
 * Name the item in what is wrong with it.
 * @template T
 * @param {number} index
 * @param {() => T} read
 * @returns {T}
 */
function at(index, read) {
  try {
    return read();
  } catch (error) {
    throw named(index, error);
  }
}

/**
 * @param {number} index
 * @param {unknown} error
 */
function named(index, error) {
  return invalid(`${/** @type {Error} */ (error).message} (at index ${index})`);
}

/**
 * Read an item as it is in the task of the call.
 * @param {unknown} item
 * @returns {{ files: Promise<void>[], params: () => { input: unknown, options: TriggerOptions } }} `params` when `files` have settled
 */
function readItem(item) {
  const { input, options } = item instanceof TriggerItem ? item : new TriggerItem(item, {});
  const [given, chosen] = [readJson('input', input), readJson('options', options)];
  const params = () => ({ input: given.json ?? null, options: checkOptions(chosen.json ?? {}) });
  return { files: [...given.files, ...chosen.files], params };
}

/**
 * @param {TriggerOptions} options the engine checks what else there is
 * @returns {TriggerOptions}
 */
function checkOptions(options) {
  if (typeof options !== 'object' || Array.isArray(options)) throw invalid(`options must be an object, not ${describe(options)}`);
  for (const key of /** @type {const} */ (['idempotencyKey', 'concurrencyKey'])) {
    if (options[key] != null) checkIdentifier(key, options[key]);
  }
  if (options.labels != null) checkLabels(options.labels);
  return options;
}
