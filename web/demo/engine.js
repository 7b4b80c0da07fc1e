/** The strip that shows which tab runs the engine, and how far its start has come. */

/** @import { Engine, EngineState } from './types.js' */
import { byId } from './dom.js';

/** @type {Record<EngineState, string>} */
const ROLE = {
  starting: 'Starting Python in this tab',
  leader: 'This tab runs the engine',
  follower: 'Another tab runs the engine',
  stopped: 'The engine has stopped',
  failed: 'The engine does not run',
};

/** @type {Record<string, string>} */
const STAGE = {
  runtime: 'Loading the Python runtime',
  packages: 'Unpacking packages',
  store: 'Opening the store',
  jobs: 'Importing jobs.py',
};

/** @type {Record<string, string>} */
const STORE = { indexeddb: 'IndexedDB', sqlite: 'SQLite' };

const strip = byId('engine', HTMLElement);
const role = byId('engine-role', HTMLElement);
const detail = byId('engine-detail', HTMLElement);
const notice = byId('notice', HTMLElement);
const stages = [...byId('stages', HTMLOListElement).querySelectorAll('li')];

/** @param {Engine} engine */
export function showEngine(engine) {
  strip.dataset.state = engine.state;
  strip.dataset.stage = engine.stage ?? '';
  role.textContent = ROLE[engine.state];
  detail.textContent = details(engine);
  notice.hidden = !engine.notice;
  notice.textContent = engine.notice?.message ?? '';
  showStages(engine);
}

/** @param {Engine} engine */
function details({ state, stage, epoch, store }) {
  if (state === 'starting') return STAGE[stage ?? ''] ?? '';
  if (state === 'follower') return 'This one takes over when that one closes';
  if (state !== 'leader') return '';
  const kept = store ? `Runs are kept in ${STORE[store.kind] ?? store.kind}` : '';
  return epoch ? [kept, `epoch ${epoch}`].filter(Boolean).join(' · ') : kept;
}

/** @param {Engine} engine */
function showStages({ state, stage }) {
  const reached = state === 'follower' ? -1 : stages.findIndex((item) => item.dataset.stage === stage);
  stages.forEach((item, at) => {
    const done = at < reached || (at === reached && stage === 'ready');
    const current = at === reached && !done;
    item.dataset.progress = done ? 'done' : current ? (state === 'failed' ? 'failed' : 'current') : 'ahead';
    if (current) item.setAttribute('aria-current', 'step');
    else item.removeAttribute('aria-current');
  });
}
