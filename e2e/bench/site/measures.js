/**
 * What is measured of an engine from its page. Knows the client's API, which ours and upstream's have in common, and
 * the jobs `steps` and `held`, which both pages register; not which engine it is.
 */

/** The measures of one client. It listens from the first moment on, so it also knows what a resumed run did first. */
export class Measures {
  #durably;
  #resumed = Promise.withResolvers();

  constructor(durably) {
    this.#durably = durably;
    const at = {};
    durably.on('run:leased', () => (at.leased ??= performance.now()));
    durably.on('step:start', () => this.#resumed.resolve({ ...at, started: performance.now() }));
  }

  /** Work for a while, so that what is measured next runs code that the browser has had the time to compile. */
  async warmUp(steps) {
    const { steps: job } = this.#durably.jobs;
    await job.triggerAndWait({ steps });
    const runs = await job.batchTrigger(inputs(steps / 10, 1));
    for (let done = 0; done < steps / 10; done++) runs.push(await job.trigger({ steps: 1 }));
    await Promise.all(runs.map(({ id }) => this.#durably.waitForRun(id)));
  }

  /** Steps a second in one run, from its lease to its end; its input is padded to a size in bytes. */
  async stepsPerSecond(steps, padding = 0) {
    const leased = this.#next('steps', 'run:leased');
    const completed = this.#next('steps', 'run:complete');
    await this.#durably.jobs.steps.trigger({ steps, padding: '-'.repeat(padding) });
    return rate(steps, (await completed) - (await leased));
  }

  /** Triggers a second, each awaited before the next, while another run keeps the engine from executing them. */
  triggersPerSecond(count) {
    return this.#whileHeld(async () => {
      const start = performance.now();
      for (let done = 0; done < count; done++) await this.#durably.jobs.steps.trigger({ steps: 1 });
      return rate(count, performance.now() - start);
    });
  }

  /** Runs a second of one batch, while another run keeps the engine from executing them. */
  batchRunsPerSecond(count) {
    return this.#whileHeld(async () => {
      const start = performance.now();
      await this.#durably.jobs.steps.batchTrigger(inputs(count, 1));
      return rate(count, performance.now() - start);
    });
  }

  /** Runs of some steps a second out of a backlog, from the first lease to the end of as many as are counted. */
  async shortRunsPerSecond(backlog, { counted = backlog, steps = 1 } = {}) {
    const { leased, completed } = await this.#whileHeld(async () => {
      await this.#durably.jobs.steps.batchTrigger(inputs(backlog, steps));
      return { leased: this.#next('steps', 'run:leased'), completed: this.#next('steps', 'run:complete', counted) };
    });
    return rate(counted, (await completed) - (await leased));
  }

  /** Milliseconds from the trigger of a one-step run on an idle engine to its output: one figure for each run. */
  async triggerToComplete(count) {
    const figures = [];
    for (let done = 0; done < count; done++) {
      const start = performance.now();
      await this.#durably.jobs.steps.triggerAndWait({ steps: 1 });
      figures.push(performance.now() - start);
    }
    return figures;
  }

  /** Start a run that is held after some steps, and resolve with its id once it is. */
  async hold(steps) {
    const held = this.#next('held', 'step:start', steps + 1);
    const { id } = await this.#durably.jobs.held.trigger({ steps });
    await held;
    return id;
  }

  /** Milliseconds until a run is cancelled that computes for ever. */
  async hardCancel() {
    const computing = this.#next('busy', 'step:start');
    const { id } = await this.#durably.jobs.busy.trigger();
    await computing;
    const start = performance.now();
    await this.#durably.cancel(id);
    return performance.now() - start;
  }

  /**
   * Resolve with the times of the first lease and the first step's start in this page, in milliseconds since the
   * navigation, and cancel that run.
   */
  async resumed(id) {
    const times = await this.#resumed.promise;
    await this.#durably.cancel(id);
    return times;
  }

  async #whileHeld(measure) {
    const id = await this.hold(0);
    try {
      return await measure();
    } finally {
      await this.#durably.cancel(id);
    }
  }

  /** Resolve with the time at which so many further events of a job's runs have come. */
  #next(job, type, count = 1) {
    return new Promise((resolve) => {
      const end = this.#durably.on(type, ({ jobName }) => {
        if (jobName !== job || --count > 0) return;
        end();
        resolve(performance.now());
      });
    });
  }
}

function inputs(count, steps) {
  return Array.from({ length: count }, () => ({ steps }));
}

function rate(count, ms) {
  return (1000 * count) / ms;
}
