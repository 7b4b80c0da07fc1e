/**
 * Files and bytes in an input, as the base64 text that JSON can hold and a schema's `bytes` reads.
 */

/**
 * Replace every `File`, `Blob`, `ArrayBuffer` and typed array anywhere in a value.
 * @param {unknown} value
 * @returns {Promise<unknown>}
 */
export async function withBytesAsText(value) {
  if (value instanceof Blob) return toBase64(new Uint8Array(await value.arrayBuffer()));
  if (value instanceof ArrayBuffer) return toBase64(new Uint8Array(value));
  if (ArrayBuffer.isView(value)) return toBase64(new Uint8Array(value.buffer, value.byteOffset, value.byteLength));
  if (Array.isArray(value)) return Promise.all(value.map(withBytesAsText));
  if (value !== null && typeof value === 'object' && !('toJSON' in value)) {
    const entries = Object.entries(value).map(async ([key, item]) => [key, await withBytesAsText(item)]);
    return Object.fromEntries(await Promise.all(entries));
  }
  return value;
}

/** @param {Uint8Array} bytes */
function toBase64(bytes) {
  const chunk = 0x8000; // arguments that a call can take
  let binary = '';
  for (let start = 0; start < bytes.length; start += chunk) {
    binary += String.fromCharCode(...bytes.subarray(start, start + chunk));
  }
  return btoa(binary);
}
