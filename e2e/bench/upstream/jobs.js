/** The jobs of `site/jobs.py`, for the TypeScript library. */
import { defineJob } from '@coji/durably';
import { z } from 'zod';

const input = z.object({ steps: z.number().int(), padding: z.string().optional() });

export const jobs = {
  steps: defineJob({
    name: 'steps',
    input,
    output: z.number().int(),
    run: async (step, { steps }) => {
      for (let number = 0; number < steps; number++) await step.run(`step-${number}`, () => number);
      return steps;
    },
  }),
  held: defineJob({
    name: 'held',
    input,
    run: async (step, { steps }) => {
      for (let number = 0; number < steps; number++) await step.run(`step-${number}`, () => number);
      await step.run('hold', (signal) => new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))));
    },
  }),
};
