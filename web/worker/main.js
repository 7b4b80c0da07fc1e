/**
 * The page's worker: waits for the database's lock, and then runs the engine.
 *
 * Knows what the page is told of it and who may lead; what an engine does, `engine.js` knows.
 */
import { Engine } from './engine.js';
import { GivingWay, isOver } from './giving_way.js';
import { whatToAdopt } from './other_store.js';
import { persistence } from './persistence.js';
import { chooseKind } from './storage.js';
import { succeed } from './succession.js';
import { toErrorMessage } from '../shared/rpc.js';
import { moved, moving } from '../shared/stores.js';

/** @import { Call, ErrorMessage, OpenParams, Reply, State, ToClient, ToEngine } from '../shared/protocol.js' */

/** @type {State['notice']} */
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
/** @type {Engine | null} null without the lock */
let engine = null;
/** @type {Call[]} calls that came before it was known whether this worker leads */
let early = [];
const givingWay = new GivingWay({ state: () => state, tell, handOver: async () => engine?.handOver() });

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
      if (engine) engine.take(message);
      else early.push(message);
      return;
    default:
      return /** @satisfies {never} */ (message);
  }
}

/** @param {OpenParams} params */
async function open(params) {
  try {
    const { database } = params;
    const { kind, notice } = await chooseKind(database, params.store);
    state = { ...state, store: { kind, persistence: null } };
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
    const adopts = await whatToAdopt(params, kind, (notice) => tell({ notice }));
    let lasting = notice;
    engine = new Engine({ ...params, adopts }, kind, {
      state: () => state,
      post,
      vet,
      fail,
      replace: () => void givingWay.endReplaced(),
      meet: (hello) => givingWay.meet(hello),
      tellNotice: (notice) => tell({ notice }),
      enter: (stage) => tell({ stage }),
      begin: ({ epoch, givenUp }) => {
        state = { ...state, epoch };
        lasting = moved(givenUp, kind) ?? notice;
      },
      lead: () => tell({ state: 'leader', stage: 'ready', notice: lasting }),
      askForSnapshot: (modules) => postMessage({ type: 'snapshot', modules }),
    });
    if (!hasFollowed) for (const call of early) engine.take(call); // else the page has sent them to the leader, or will again
    early = [];
    await engine.open();
    const store = { kind, persistence: await persistence() };
    tell({ state: 'starting', notice: adopts ? moving(database, kind) : notice, store });
    await engine.start({ isLazy: !hasFollowed && params.isLazy === true });
  } catch (error) {
    fail(toErrorMessage(error));
  }
}

/** @param {Call} call */
async function stop({ id }) {
  try {
    await engine?.stop();
    post({ type: 'reply', id, result: null });
  } catch (error) {
    post({ type: 'reply', id, error: toErrorMessage(error) });
  }
}

/** @param {ErrorMessage} error with which the page rejects all calls, before it ends this worker */
function fail(error) {
  if (state.state === 'failed') return; // each connection tells of its end
  if (isOver(error)) return void givingWay.endDeposed();
  tell({ state: 'failed', error });
}

/** @param {Partial<State>} change */
function tell(change) {
  state = { ...state, ...change };
  post(state);
}

/** @param {ToClient} message */
function post(message) {
  if (message.type === 'reply') return postReply({ ...message, epoch: state.epoch });
  engine?.tellAll(message);
  postMessage(message);
}

/** @param {Reply} reply */
function postReply(reply) {
  if (isOver(reply.error)) return void givingWay.endDeposed();
  if (!engine?.reply(reply)) postMessage(reply);
}

/**
 * Let a reply pass, unless another engine leads since, which will give its own.
 * @param {Reply} reply
 */
async function vet(reply) {
  return isOver(reply.error) ? givingWay.endDeposed() : { ...reply, epoch: state.epoch };
}
