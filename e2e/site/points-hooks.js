/** Puts the points into the platform, where the engine meets it: in storage, in a step's fetch, in what is posted. */
import { journal, pass, round } from './points.js';

const TOLD = { 'run:leased': 'claimed', 'step:complete': 'checkpointed', 'run:complete': 'completed' };

before(IDBObjectStore.prototype, 'delete', () => pass('write'));
after(IDBObjectStore.prototype, 'put', () => pass('write'));
if (globalThis.FileSystemSyncAccessHandle) after(FileSystemSyncAccessHandle.prototype, 'write', () => pass('write'));

before(globalThis, 'fetch', (url) => String(url.url ?? url).includes('/gate/') && pass('working'));

before(globalThis, 'postMessage', (message) => {
  if (message.type === 'event') pass(TOLD[message.event.type]);
  else passReply(message);
});
before(BroadcastChannel.prototype, 'postMessage', ({ message }) => passReply(message));

function passReply({ type, result }) {
  if (type !== 'reply' || !result?.disposition) return;
  journal(`reply/${round.get('round')}/${JSON.stringify(result)}`);
  pass('replying');
}

function before(object, method, hook) {
  const real = object[method];
  object[method] = function (...args) {
    hook(...args);
    return real.apply(this, args);
  };
}

function after(object, method, hook) {
  const real = object[method];
  object[method] = function (...args) {
    const result = real.apply(this, args);
    hook();
    return result;
  };
}
