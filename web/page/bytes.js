/**
 * Bytes, as the base64 text that JSON can hold and a schema's `bytes` reads.
 */

/**
 * Return the bytes of a buffer or of a view of one; null of anything else.
 * @param {object} value
 * @returns {Uint8Array | null}
 * @throws {TypeError} when they were transferred to another thread
 */
export function bytesOf(value) {
  if (value instanceof ArrayBuffer) return new Uint8Array(value);
  if (!ArrayBuffer.isView(value)) return null;
  return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
}

/** @param {Uint8Array} bytes */
export function toBase64(bytes) {
  const chunk = 0x8000; // arguments that a call can take
  let binary = '';
  for (let start = 0; start < bytes.length; start += chunk) {
    binary += String.fromCharCode(...bytes.subarray(start, start + chunk));
  }
  return btoa(binary);
}
