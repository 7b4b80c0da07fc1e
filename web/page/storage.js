/**
 * The browser's storage as a whole: how much there is, and whether it is kept. Knows `navigator.storage` only.
 */

/**
 * How many bytes this origin uses, and may use, by the browser's estimate; null where it gives none.
 * @returns {Promise<{ usage: number | null, quota: number | null }>}
 */
export async function estimate() {
  const { usage = null, quota = null } = (await navigator.storage?.estimate?.()) ?? {};
  return { usage, quota };
}

/**
 * Ask the browser to keep this origin's storage until the user deletes it; false where it will not, or cannot.
 * @returns {Promise<boolean>}
 */
export async function persist() {
  return (await navigator.storage?.persist?.()) ?? false;
}
