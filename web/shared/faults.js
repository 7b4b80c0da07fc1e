/**
 * Why a file of the site cannot be used: what came in its place. Knows HTTP and the browsers' rules, not what the files
 * are for.
 *
 * Neither a failed `import`, nor a failed `fetch`, nor a worker's error says that; so the file is fetched once more.
 */

/**
 * @typedef {object} Expected
 * @property {'module' | 'WebAssembly' | 'data'} kind  which types a browser accepts depends on it
 * @property {string | undefined} [integrity]  "sha256-…"
 *
 * @typedef {object} Came
 * @property {Response | null} response  null where nothing came
 * @property {Uint8Array<ArrayBuffer> | null} bytes  null where they broke off
 */

const plainFetch = globalThis.fetch; // while Python starts, another stands in its place

const SITE = new URL('..', import.meta.url);
const MODULE_TYPE = /^(text|application)\/(x-)?(java|ecma|j|live)script\d?(\.\d)?\s*(;|$)/i;
const IMPORT = /^(?:import|export)\b[^'"();=]*['"](\.{1,2}\/[^'"]+)['"]/gm;
const QUOTED = 60; // of what came, in a message

/**
 * Whether a text is a web page: what a host answers for a file that it does not have, instead of 404.
 * @param {string} text
 */
export const isWebPage = (text) => /^\s*<(!|\?xml|html|head|body|script)/i.test(text);

/**
 * Return what is wrong with a file, its name and URL, and what came instead; null when nothing is wrong with it.
 * @param {URL} url
 * @param {Expected} expected
 * @returns {Promise<string | null>}
 */
export async function faultOf(url, expected) {
  return (await lookAt(url, expected)).fault;
}

/**
 * Return what is wrong with a module, or with the first of the modules that it imports; null when nothing is.
 * @param {URL} url
 * @returns {Promise<string | null>}
 */
export async function moduleFault(url) {
  const hashes = await recordedHashes();
  const known = new Set([url.href]);
  for (let level = [url]; level.length > 0; ) {
    const looks = await Promise.all(level.map((module) => lookAt(module, { kind: 'module', integrity: hashes[nameOf(module)] })));
    const found = looks.find(({ fault }) => fault !== null);
    if (found) return found.fault;
    const imported = looks.flatMap(({ text }, at) => importsOf(text, level[at]));
    level = imported.filter(({ href }) => !known.has(href) && known.add(href));
  }
  return null;
}

/**
 * @param {string} text
 * @param {URL | undefined} base
 */
function importsOf(text, base) {
  return Array.from(text.matchAll(IMPORT), ([, specifier = '']) => new URL(specifier, base));
}

/**
 * Return a message about a file.
 * @param {URL} url
 * @param {string} reason
 */
export function aboutFile(url, reason) {
  return `${nameOf(url)} ${reason}`;
}

/** @param {URL} url */
function nameOf({ href, pathname }) {
  return href.startsWith(SITE.href) ? `durably/${href.slice(SITE.href.length)}` : pathname;
}

/**
 * Return what the build recorded of the site's files; nothing where there is no record, as in a bundle.
 * @returns {Promise<Record<string, string>>}
 */
async function recordedHashes() {
  const response = await plainFetch(new URL('files.json', SITE), { cache: 'no-cache' }).catch(() => null);
  return response?.ok ? response.json().catch(() => ({})) : {};
}

/**
 * @param {URL} url
 * @param {Expected} expected
 * @returns {Promise<{ fault: string | null, text: string }>}
 */
async function lookAt(url, expected) {
  const came = await fetchOnce(url);
  const text = new TextDecoder().decode(came.bytes ?? new Uint8Array());
  const reason = (await whyNothing(url, came)) ?? whyRefused(came, text, expected) ?? (await whyAltered(came, expected));
  return { fault: reason && aboutFile(url, `${reason}. ${evidence(url, came, text)}`), text };
}

/**
 * @param {URL} url
 * @returns {Promise<Came>}
 */
async function fetchOnce(url) {
  const response = await plainFetch(url).catch(() => null);
  const bytes = response && (await response.arrayBuffer().then((buffer) => new Uint8Array(buffer), () => null));
  return { response, bytes };
}

/**
 * @param {URL} url
 * @param {Came} came
 */
async function whyNothing(url, { response, bytes }) {
  if (response && bytes) return null;
  if (response) return 'breaks off before its end';
  const { type } = (await plainFetch(url, { redirect: 'manual' }).catch(() => null)) ?? {};
  if (type === 'opaqueredirect') return 'is redirected to where this page may not read it';
  return 'cannot be fetched: the server does not answer';
}

/**
 * @param {Came} came
 * @param {string} text
 * @param {Expected} expected
 */
function whyRefused({ response }, text, { kind }) {
  const { status = 0, ok = false } = response ?? {};
  const type = response?.headers.get('Content-Type') ?? '';
  if (status === 404 || status === 410) return `is missing (HTTP ${status})`;
  if (!ok) return `cannot be fetched (HTTP ${status})`;
  if (isWebPage(text)) return 'is not there: the server answers with a web page';
  if (kind === 'module' && !MODULE_TYPE.test(type)) return 'has a type of which browsers load no module: it must be text/javascript';
  if (kind === 'WebAssembly' && type.toLowerCase() !== 'application/wasm') {
    return 'has a type of which browsers compile no WebAssembly: it must be application/wasm';
  }
  return null;
}

/**
 * @param {Came} came
 * @param {Expected} expected
 */
async function whyAltered({ bytes }, { integrity }) {
  if (integrity === undefined || bytes === null) return null;
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  if (integrity === `sha256-${btoa(String.fromCharCode(...digest))}`) return null;
  return 'does not have the SHA-256 that the build recorded: it was altered, or is of another build';
}

/**
 * Say what came.
 * @param {URL} url
 * @param {Came} came
 * @param {string} text
 */
function evidence(url, { response, bytes }, text) {
  if (response === null) return `Its URL is ${url.href}`;
  const from = response.redirected ? `${url.href}, redirected to ${response.url},` : url.href;
  const type = response.headers.get('Content-Type') ?? 'no type';
  const start = text.slice(0, QUOTED).replace(/\s+/g, ' ');
  const quote = bytes?.length && !/[\0-\x1f\x7f\ufffd]/.test(start) ? `, which begin with ${JSON.stringify(start)}` : '';
  return `From ${from} came HTTP ${response.status}, ${type}, ${bytes?.length ?? 'an unknown number of'} bytes${quote}`;
}
