/**
 * Words for what a browser denies to a page. Knows errors and frames, not what is stored.
 *
 * Chromium rejects with a `SecurityError`, and in IndexedDB's requests with an `UnknownError` that only mentions the
 * user's permission (156, third-party or all data blocked). A sandboxed frame has the origin "null".
 */

/**
 * Whether an API was denied, and did not fail.
 * @param {unknown} error
 */
export function isDenied(error) {
  return error instanceof Error && (error.name === 'SecurityError' || /denied permission/i.test(error.message));
}

/**
 * Say that an API is denied to this page, and what would help.
 * @param {string} api
 */
export function denial(api) {
  if (globalThis.origin === 'null') {
    return (
      `the browser denies ${api} to this page, because it is in a sandboxed frame: add allow-same-origin (and allow-scripts) ` +
      "to the frame's sandbox attribute, or open the page in a tab of its own"
    );
  }
  return (
    `the browser denies ${api} to this page, as it does to a page in a frame of another site when third-party data are ` +
    "blocked, and to any page whose site's data are blocked. Open the page in a tab of its own, or allow its site's data in the " +
    "browser's settings; in some browsers a frame gets them by document.requestStorageAccess() after a click"
  );
}

/**
 * Return the error with which to reject: in words when an API was denied, else the one that is given.
 * @param {string} api
 * @param {unknown} error
 */
export function explained(api, error) {
  if (!isDenied(error)) return error;
  const message = `Nothing can be kept here: ${denial(api)} (${error})`;
  return Object.assign(new Error(message, { cause: error }), { name: 'StoreError' });
}
