/** SQLite's constants, as far as they are used here. */
export const SQLITE_OK: number;
export const SQLITE_FULL: number;
export const SQLITE_CANTOPEN: number;
export const SQLITE_ROW: number;
export const SQLITE_DONE: number;
export const SQLITE_TEXT: number;
export const SQLITE_NULL: number;
export const SQLITE_OPEN_READWRITE: number;
export const SQLITE_OPEN_CREATE: number;
export const SQLITE_IOERR_READ: number;
export const SQLITE_IOERR_WRITE: number;
export const SQLITE_IOERR_FSYNC: number;
export const SQLITE_IOERR_TRUNCATE: number;
export const SQLITE_IOERR_FSTAT: number;
export const SQLITE_IOERR_CLOSE: number;
export const SQLITE_IOERR_DELETE: number;
export const SQLITE_NOTADB: number;
