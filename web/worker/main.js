/**
 * The engine's worker: takes the lock, boots Python when it is needed, and passes calls on to
 * `durably_wasm/browser/host.py`; reads it answers by itself.
 *
 * Knows the order of the boot and what the page is told of it; neither jobs, runs nor what is stored.
 */
import { finishBoot } from './boot.js';
import { Deliveries } from './deliveries.js';
import { GivingWay, isOver } from './giving_way.js';
import { startHost } from './host.js';
import { readModules } from './modules.js';
import { persistence } from './persistence.js';
import { chooseKind, openStore } from './storage.js';
import { succeed } from './succession.js';
import { attachFile, toFile } from './transfer.js';
import { isChanging } from '../shared/outbox.js';
import { toErrorMessage } from '../shared/rpc.js';

/** @import { Host, Opened } from './host.js' */
/** @import { Store } from './storage.js' */
/** @import { ReadName } from '../shared/reads.js' */
/** @import { Call, ErrorMessage, Notice, OpenParams, Reply, Stage, State, ToClient, ToEngine } from '../shared/protocol.js' */

/** @type {Notice} */
const SUSPENDED = {
  name: 'LeaderSuspended',
  message: 'The tab that does the work does not answer. Bring it to the front or close it, and the work goes on.',
};

/** @type {State} */
let state = {
  type: 'state',
  state: 'starting',
  stage: null,
  epoch: null,
  store: { kind: 'indexeddb', persistence: null },
  notice: null,
};
let database = '';
/** @type {Host | null} */
let host = null;
/** @type {Deliveries | null} what comes from other tabs and from the outbox, to the leader */
let deliveries = null;
/** @type {Promise<Store> | null} the database, as soon as it may be opened */
let opening = null;
/** @type {Call[]} calls that came before there was anyone to answer them */
let early = [];
const givingWay = new GivingWay({ state: () => state, tell, handOver });
/** Resolved once Python is needed: by a call that only it can answer, or by work that waits. */
const need = /** @type {PromiseWithResolvers<void>} */ (Promise.withResolvers());
/** Resolved once Python has brought the database up to date. */
const migrated = /** @type {PromiseWithResolvers<void>} */ (Promise.withResolvers());

const UNFINISHED = { status: ['pending', 'leased'], jobName: [], labels: {}, limit: 1, offset: 0 };

addEventListener('message', ({ data }) => receive(data));

/** @param {ToEngine} message */
function receive(message) {
  switch (message.type) {
    case 'hello':
      givingWay.hello = message;
      return;
    case 'call':
      if (message.method === 'open') return void open(/** @type {OpenParams} */ (message.params));
      if (message.method === 'ping') return post({ type: 'reply', id: message.id, result: null });
      if (message.method === 'stop') return void stop(message);
      return pass(deliveries?.take(message) ?? message);
    default:
      return /** @satisfies {never} */ (message);
  }
}

/**
 * @param {Call} call
 * @returns {Promise<Reply>}
 */
async function apply(call) {
  early = early.filter(({ id }) => id !== call.id);
  const reply = JSON.parse((await host?.apply(JSON.stringify(call))) ?? '');
  if (isOver(reply.error)) return givingWay.endDeposed();
  return { ...reply, epoch: state.epoch };
}

/** @param {string[]} ids */
async function forget(ids) {
  await host?.forget_calls(JSON.stringify(ids));
}

/**
 * @param {Call} call
 * @param {Reply} reply
 */
function report({ method }, { error }) {
  host?.report_rejection(method, error?.message ?? '');
}

/** @param {Call} call */
function pass(call) {
  if (call.method === 'read') return void (opening ? read(opening, call) : early.push(call));
  need.resolve();
  if (host && state.stage === 'ready') void answer(host, call);
  else early.push(call);
}

/**
 * @param {Promise<Store>} opening
 * @param {Call} call
 */
async function read(opening, { id, params }) {
  const { name, params: given } = /** @type {{ name: ReadName, params: object }} */ (params);
  try {
    post({ type: 'reply', id, result: await (await opening).read(name, given) });
  } catch (error) {
    post({ type: 'reply', id, error: toErrorMessage(error) });
  }
}

/**
 * @param {Host} host
 * @param {Call} call
 */
async function answer(host, call) {
  const { id, method } = call;
  try {
    const file = (await opening)?.file ?? null;
    if (method === 'exportDatabase') return post({ type: 'reply', id, result: toFile(file, database) });
    if (method === 'importDatabase') await attachFile(file, /** @type {{ file: Blob }} */ (call.params).file);
    host.handle(JSON.stringify(call));
  } catch (error) {
    post({ type: 'reply', id, error: toErrorMessage(error) });
  }
}

/** @param {OpenParams} params */
async function open(params) {
  try {
    database = params.database;
    const { kind, notice } = await chooseKind(database, params.store);
    await succeed({
      database,
      hello: givingWay.hello,
      leaseMs: params.options.leaseMs,
      canSteal: kind === 'indexeddb',
      onWaiting: () => tell({ state: 'follower', notice }),
      onSilence: (isSilent) => tell({ notice: isSilent ? SUSPENDED : notice }),
      onLost: () => givingWay.endDeposed(),
    });
    const hasFollowed = state.state === 'follower';
    if (hasFollowed) early = []; // the page has sent them to the leader; what still waits it sends again
    deliveries = new Deliveries(database, { pass, apply, forget, post, report, meet: (hello) => givingWay.meet(hello), state: () => state });
    for (const call of early) deliveries.take(call);
    opening = openStore(kind, database, { onNotice: tellNotice, onEnd: endWith, migrated: migrated.promise });
    if (kind === 'indexeddb') await opening; // it may wait for an older tab; SQLite is opened beside Python's boot
    tell({ state: 'starting', notice, store: { kind, persistence: await persistence() } });
    if (hasFollowed || !params.isLazy) need.resolve();
    else void lookForWork(deliveries, opening);
    early.splice(0).forEach(pass);
    await need.promise;
    const [python, modules] = await Promise.all([startHost(params.packages, { post, enter, fail, endWith, die }), readModules(params.jobs), opening]);
    const opened = /** @type {Opened} */ (JSON.parse(await python.open(JSON.stringify({ ...params, store: kind }), modules)));
    if (opened.error) return fail(opened.error);
    migrated.resolve();
    host = python;
    state = { ...state, epoch: opened.epoch }; // from here on, calls may be applied
    await applyEarly(deliveries, host);
    host.start();
    tell({ state: 'leader', stage: 'ready', notice });
    early.splice(0).forEach(pass);
    finishBoot();
  } catch (error) {
    fail(toErrorMessage(error));
  }
}

/**
 * Need Python at once if there is anything for it to do, or if that cannot be told.
 * @param {Deliveries} deliveries
 * @param {Promise<Store>} opening
 */
async function lookForWork(deliveries, opening) {
  try {
    if ((await deliveries.haveCalls()) || (await (await opening).read('runs', UNFINISHED)).length > 0) need.resolve();
  } catch {
    need.resolve();
  }
}

/**
 * Apply what was called before the engine was there; what only reads waits until it is `ready`.
 * @param {Deliveries} deliveries
 * @param {Host} host
 */
async function applyEarly(deliveries, host) {
  const changing = early.filter(({ method }) => isChanging(method));
  early = early.filter(({ method }) => !isChanging(method));
  await deliveries.applyAll(changing, JSON.parse(await host.known_calls()));
}

/** @param {Notice} notice */
function tellNotice(notice) {
  tell({ notice });
}

/** @param {Error} reason */
function endWith(reason) {
  fail(toErrorMessage(reason));
}

/**
 * End the engine. Until its runs have ended, calls are answered; those that come later are the page's to reject, which
 * ends this worker once they are out of the outbox: another tab's engine, which then gets the lock, must not find them.
 * @param {Call} call
 */
async function stop({ id }) {
  try {
    await host?.stop();
    await deliveries?.end();
    await endHost(); // what comes from here on is not applied
    post({ type: 'reply', id, result: null });
  } catch (error) {
    post({ type: 'reply', id, error: toErrorMessage(error) });
  }
}

/**
 * Python is dead, and whatever it was doing. The page, which hears of it as of any error here, puts another worker in
 * this one's place; until then, calls are not answered, and the lock is held.
 * @param {unknown} error
 */
function die(error) {
  host = null;
  reportError(error);
}

/** End the engine, but let the steps that are running end before: the next one goes on at the next steps. */
async function handOver() {
  await host?.hand_over();
  await endHost(); // what comes from here on is for the next engine
}

async function endHost() {
  const ended = host;
  host = null;
  await ended?.close();
  (await opening)?.file?.close();
}

/** @param {ErrorMessage} error with which the page rejects all calls, before it ends this worker */
function fail(error) {
  if (state.state === 'failed') return; // each connection tells of its end
  if (isOver(error)) return void givingWay.endDeposed();
  tell({ state: 'failed', error });
}

/** @param {Stage} stage */
function enter(stage) {
  tell({ stage });
}

/** @param {Partial<State>} change */
function tell(change) {
  state = { ...state, ...change };
  post(state);
}

/** @param {ToClient} message */
function post(message) {
  if (message.type === 'reply') return postReply({ ...message, epoch: state.epoch });
  deliveries?.tellAll(message);
  postMessage(message);
}

/** @param {Reply} reply */
function postReply(reply) {
  if (isOver(reply.error)) return void givingWay.endDeposed();
  if (!deliveries?.reply(reply)) postMessage(reply);
}
