/**
 * The part of Pyodide's interface that is used here. Types only: the runtime itself lies in the built site.
 *
 * @typedef {object} Pyodide
 * @property {(archive: ArrayBuffer, format: 'wheel', options: { extractDir: string }) => void} unpackArchive
 * @property {(code: string) => string} runPython
 * @property {(name: string) => Record<string, (...args: unknown[]) => any>} pyimport
 * @property {(name: string, module: object) => void} registerJsModule
 * @property {(value: unknown) => unknown} toPy
 */
export {};
