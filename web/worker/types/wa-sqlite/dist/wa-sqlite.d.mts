/** The part of wa-sqlite's module that is used here: pointers are numbers, and all calls are synchronous. */
export interface SqliteModule {
  /** replaced when the memory grows */
  HEAPU8: Uint8Array;
  getValue: (pointer: number, type: '*') => number;
  UTF8ToString: (pointer: number) => string;
  vfs_register: (vfs: object, isDefault: boolean) => number;
  _malloc: (size: number) => number;
  _free: (pointer: number) => void;
  _sqlite3_malloc: (size: number) => number;
  _sqlite3_free: (pointer: number) => void;
  _sqlite3_open_v2: (name: number, outDatabase: number, flags: number, vfs: number) => number;
  _sqlite3_close_v2: (database: number) => number;
  _sqlite3_extended_errcode: (database: number) => number;
  _sqlite3_errmsg: (database: number) => number;
  _sqlite3_limit: (database: number, id: number, value: number) => number;
  _sqlite3_prepare_v2: (database: number, sql: number, bytes: number, outStatement: number, outTail: number) => number;
  _sqlite3_finalize: (statement: number) => number;
  _sqlite3_reset: (statement: number) => number;
  _sqlite3_step: (statement: number) => number;
  _sqlite3_bind_parameter_count: (statement: number) => number;
  _sqlite3_bind_parameter_name: (statement: number, position: number) => number;
  _sqlite3_bind_null: (statement: number, position: number) => number;
  _sqlite3_bind_int: (statement: number, position: number, value: number) => number;
  _sqlite3_bind_double: (statement: number, position: number, value: number) => number;
  _sqlite3_bind_text: (statement: number, position: number, text: number, bytes: number, destructor: number) => number;
  _sqlite3_column_count: (statement: number) => number;
  _sqlite3_column_name: (statement: number, column: number) => number;
  _sqlite3_column_type: (statement: number, column: number) => number;
  _sqlite3_column_double: (statement: number, column: number) => number;
  _sqlite3_column_text: (statement: number, column: number) => number;
  _sqlite3_column_bytes: (statement: number, column: number) => number;
  _sqlite3_serialize: (database: number, schema: number, outSize: number, flags: number) => number;
  _sqlite3_deserialize: (database: number, schema: number, data: number, sizeLow: number, sizeHigh: number, bufferLow: number, bufferHigh: number, flags: number) => number;
}

export default function createModule(options?: object): Promise<SqliteModule>;
