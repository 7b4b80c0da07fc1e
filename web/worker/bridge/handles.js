/**
 * Chromium forgets what it was asked of a file or a directory whose handle is garbage-collected meanwhile: the promise
 * never settles. wa-sqlite holds no handle while it waits, so here each is held until its answer is there.
 */

/** @type {Set<object>} */
const asked = new Set();

/** Hold every handle of this worker while it is asked for another. */
export function holdHandles() {
  hold(FileSystemDirectoryHandle.prototype, 'getDirectoryHandle');
  hold(FileSystemDirectoryHandle.prototype, 'getFileHandle');
  hold(FileSystemFileHandle.prototype, 'createSyncAccessHandle');
}

/**
 * @template {object} T
 * @param {T} prototype
 * @param {keyof T} name
 */
function hold(prototype, name) {
  const ask = /** @type {(...args: unknown[]) => Promise<unknown>} */ (prototype[name]);
  /** @this {object} */
  const askHeld = function (/** @type {unknown[]} */ ...args) {
    const handle = { of: this };
    asked.add(handle);
    return ask.apply(this, args).finally(() => asked.delete(handle));
  };
  prototype[name] = /** @type {T[keyof T]} */ (askHeld);
}
