/**
 * A snapshot as one run of bytes: the memory's pages that are not empty, then the files, then an index of both.
 *
 * Knows bytes, not where they are kept.
 */

/**
 * @typedef {[path: string, content: Uint8Array<ArrayBuffer>][]} Files
 *
 * @typedef {object} Index
 * @property {[place: number, length: number][]} spans  of the memory; the rest of it is zero
 * @property {[path: string, length: number][]} files
 */

const PAGE = 4096;

/**
 * Return the bytes and the place of the index in them.
 * @param {Uint8Array<ArrayBuffer>} memory
 * @param {Files} files
 */
export async function encode(memory, files) {
  const spans = fullSpans(memory);
  const pieces = spans.map(([place, length]) => memory.subarray(place, place + length));
  const contents = files.map(([, content]) => content);
  const index = JSON.stringify({ spans, files: files.map(([path, { length }]) => [path, length]) });
  const bytes = await new Blob([...pieces, ...contents, index]).arrayBuffer();
  return { bytes, index: bytes.byteLength - new TextEncoder().encode(index).length };
}

/**
 * Put the memory's pages into `memory`, which is empty, and return the files.
 * @param {ArrayBuffer} bytes
 * @param {number} place of the index
 * @param {Uint8Array} memory
 * @returns {Files}
 */
export function decode(bytes, place, memory) {
  const index = /** @type {Index} */ (JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, place))));
  let end = 0;
  const next = (/** @type {number} */ length) => new Uint8Array(bytes, (end += length) - length, length);
  for (const [start, length] of index.spans) memory.set(next(length), start);
  return index.files.map(([path, length]) => [path, next(length)]);
}

/**
 * @param {Uint8Array<ArrayBuffer>} memory
 * @returns {Index['spans']}
 */
function fullSpans(memory) {
  /** @type {Index['spans']} */
  const spans = [];
  for (let place = 0; place < memory.length; place += PAGE) {
    const page = memory.subarray(place, place + PAGE);
    if (page.every((byte) => byte === 0)) continue;
    const last = spans.at(-1);
    if (last && last[0] + last[1] === place) last[1] += page.length;
    else spans.push([place, page.length]);
  }
  return spans;
}
