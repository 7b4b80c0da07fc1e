/**
 * The part of Pyodide's interface that is used here. Types only: the runtime itself lies in the built site.
 *
 * @typedef {object} Pyodide
 * @property {(archive: ArrayBuffer, format: 'wheel', options: { extractDir: string }) => void} unpackArchive
 * @property {(code: string) => string} runPython
 * @property {(name: string) => Record<string, (...args: unknown[]) => any>} pyimport
 * @property {(name: string, module: object) => void} registerJsModule
 * @property {(value: unknown) => unknown} toPy
 * @property {() => Uint8Array<ArrayBuffer>} makeMemorySnapshot  only after `_makeSnapshot`
 * @property {FileSystem} FS
 * @property {{ on_fatal?: (error: unknown) => void }} _api  called when the interpreter has died, whatever was the cause
 *
 * @typedef {object} FileSystem  Emscripten's, in memory
 * @property {(path: string) => Uint8Array<ArrayBuffer>} readFile
 * @property {(path: string, content: Uint8Array, options: { canOwn: boolean }) => void} writeFile
 * @property {(path: string) => void} mkdirTree
 *
 * @typedef {object} Options
 * @property {boolean} [_makeSnapshot]
 * @property {Uint8Array} [_loadSnapshot]  its length counts when the module is created, its content after
 *
 * @typedef {(settings: object) => Promise<object>} CreateModule
 * @typedef {Options & { indexURL: string, createPyodideModule: CreateModule }} AllOptions
 * @typedef {(options: AllOptions) => Promise<Pyodide>} LoadPyodide
 */
export {};
