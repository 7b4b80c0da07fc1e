/** A virtual file system of SQLite over a pool of OPFS files; each method returns one of SQLite's result codes. */
export class AccessHandlePoolVFS {
  constructor(path: string, module: object);
  name: string;
  isReady(): Promise<boolean>;
  /** The number of files in the pool. */
  getCapacity(): number;
  /** Add files to the pool. */
  addCapacity(count: number): Promise<number>;
  /** Close the files at once; the promise is a formality. */
  close(): Promise<void>;
  jOpen(name: string | null, file: number, flags: number, outFlags: DataView): number;
  jClose(file: number): number;
  jDelete(name: string, syncDirectory: number): number;
  jRead(file: number, data: Uint8Array, offset: number): number;
  jWrite(file: number, data: Uint8Array, offset: number): number;
  jTruncate(file: number, size: number): number;
  jSync(file: number, flags: number): number;
  jFileSize(file: number, size: DataView): number;
}
