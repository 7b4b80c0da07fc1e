/**
 * The options of `createDurably`: their defaults, and what is wrong with bad ones.
 */
import { checkIdentifier, describe } from './identifiers.js';
import { toError } from '../shared/rpc.js';

/** @import { Durability, OpenParams } from '../shared/protocol.js' */

/**
 * @typedef {object} DurablyOptions
 * @property {string} database  name of the store, of the lock and of the channel
 * @property {string | string[]} jobs  Python modules, as URLs relative to the page
 * @property {string[]} [packages]  packages beyond the engine's own
 * @property {'indexeddb' | 'sqlite'} [store]  where runs are kept; 'sqlite' is faster, and falls back to 'indexeddb'
 * @property {boolean} [adopt]  whether runs that lie in the other store are moved to this one; else the engine does not start
 * @property {Durability} [durability]  `relaxed` commits survive a crash of tab and browser, `strict` ones a power cut too
 * @property {string | null} [app]  this app's version, such as '1.4.2': a tab with an older one lets this one lead
 * @property {number} [pollingIntervalMs]
 * @property {number} [leaseMs]
 * @property {number} [leaseRenewIntervalMs]
 * @property {number} [maxConcurrentRuns]
 * @property {boolean} [preserveSteps]
 * @property {string} [retainRuns]
 * @property {number | null} [maxClaimsWithoutProgress]  claims of a run without a completed step in between, before it fails; null: any number
 */

const STORES = ['indexeddb', 'sqlite'];
const DURABILITIES = ['relaxed', 'strict'];

const ENGINE_OPTIONS = [
  'pollingIntervalMs',
  'leaseMs',
  'leaseRenewIntervalMs',
  'maxConcurrentRuns',
  'preserveSteps',
  'retainRuns',
  'maxClaimsWithoutProgress',
];

/**
 * Check that this page may use what every engine needs: a browser offers neither locks nor ids to a page over plain HTTP.
 * @throws {Error} named `SecurityError`
 */
export function checkContext() {
  if (isSecureContext) return;
  const message = `createDurably: ${location.origin} is no secure context; serve this page over HTTPS, or open it at localhost`;
  throw toError({ name: 'SecurityError', message });
}

/**
 * Return the options as the engine's worker takes them; the engine checks its own (`durably_wasm/options.py`).
 * @param {DurablyOptions} options
 * @returns {OpenParams}
 */
export function checkOptions({
  database,
  jobs,
  packages = [],
  store = 'indexeddb',
  adopt = false,
  durability = 'relaxed',
  app = null,
  ...options
}) {
  checkIdentifier('createDurably: database', database);
  const modules = [jobs].flat();
  if (modules.length === 0 || modules.some((url) => typeof url !== 'string' || url === '')) {
    throw invalid('jobs must be the URL of a Python module, or a list of them');
  }
  if (!Array.isArray(packages) || packages.some((name) => typeof name !== 'string' || name.trim() === '')) {
    throw invalid('packages must be a list of names of packages, such as ["httpx"]');
  }
  if (!STORES.includes(store)) throw invalid(`store must be one of ${STORES.join(', ')}, not ${JSON.stringify(store)}`);
  if (typeof adopt !== 'boolean') throw invalid(`adopt must be true or false, not ${JSON.stringify(adopt)}`);
  if (!DURABILITIES.includes(durability)) {
    throw invalid(`durability must be "relaxed" or "strict", not ${JSON.stringify(durability)}`);
  }
  if (app !== null && (typeof app !== 'string' || app === '')) throw invalid(`app must be text, not ${JSON.stringify(app)}`);
  for (const [name, value] of Object.entries(options)) checkEngineOption(name, value);
  const unknown = Object.keys(options).filter((name) => !ENGINE_OPTIONS.includes(name));
  if (unknown.length > 0) throw invalid(`there is no option ${unknown.join(', ')}; there are: ${ENGINE_OPTIONS.join(', ')}`);
  const urls = modules.map((url) => new URL(url, document.baseURI).href);
  return { database, jobs: urls, packages, store, adopt, durability, app, options };
}

/**
 * Check that an option can reach the engine, which checks the rest: JSON turns `Infinity` into null, say.
 * @param {string} name
 * @param {unknown} value
 */
function checkEngineOption(name, value) {
  if (value == null || typeof value === 'boolean' || typeof value === 'string' || Number.isFinite(value)) return;
  throw invalid(`${name} must be a finite number, text or true or false, not ${describe(value)}`);
}

/** @param {string} reason */
function invalid(reason) {
  return toError({ name: 'ValidationError', message: `createDurably: ${reason}` });
}
