/**
 * The job modules' source text. Knows URLs, not Python.
 */
import { aboutFile, faultOf, isWebPage } from '../shared/faults.js';

/**
 * Fetch Python modules and return them as JSON of `{name, source}[]`, named by their file.
 * @param {string[]} urls
 * @returns {Promise<string>}
 */
export async function readModules(urls) {
  return JSON.stringify(await Promise.all(urls.map(readModule)));
}

/** @param {string} url */
async function readModule(url) {
  const name = new URL(url).pathname.split('/').pop() ?? '';
  const response = await fetch(url, { cache: 'no-cache' }).catch(() => null);
  const source = response?.ok ? await response.text().catch(() => null) : null;
  if (source !== null && !isWebPage(source)) return { name, source };
  const fault = (await faultOf(new URL(url), { kind: 'data' })) ?? aboutFile(new URL(url), 'could not be fetched at first; reload the page');
  throw new Error(`Cannot load the jobs: ${fault}`);
}
