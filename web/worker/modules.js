/**
 * The job modules' source text. Knows URLs, not Python.
 */

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
  const response = await fetch(url, { cache: 'no-cache' });
  if (!response.ok) throw new Error(`Cannot load the jobs: ${url} is missing (HTTP ${response.status})`);
  return { name, source: await response.text() };
}
