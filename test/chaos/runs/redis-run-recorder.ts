import { open } from 'node:fs/promises';
import { join } from 'node:path';
import type { RedisServer } from '../../support/servers/redis-server.js';
import type { RunRecorder } from './ground.js';
import type { StoredRecord, StoredRun } from './history.js';
import { RunBook } from './run-book.js';
import { isRunName, runIdOf } from './run-names.js';

const BASE = '{sse:topics}';
/** What the keys of logs begin with. */
export const RUN_EVENTS = `${BASE}:events:`;
const META = `${BASE}:meta:`;
const LEASES = `${BASE}:lease:`;
const FOLDER = 'appendonlydir';
const FILE = 'appendonly.aof.1.incr.aof';
/** What another program has as a field in place of ours. */
const FOREIGN_FIELD = 'a';
/** What is set to `copied` where all keys are copied, and to `back` where the copies take their place. */
export const COPIES = 'chaos:copies';
const LINE_END = Buffer.from('\r\n');

/** What has Redis write down all that it does, for {@link RedisRunRecorder}. */
export const WRITES_DOWN = ['--appendonly', 'yes', '--auto-aof-rewrite-percentage', '0'];

/**
 * What the logs of runs have ever held, out of the file in which Redis writes down every write: also of those that were
 * replaced before anybody looked. It knows nothing of the package but how its keys are named.
 */
export class RedisRunRecorder implements RunRecorder {
  readonly #server: RedisServer;
  readonly #book = new RunBook();
  /** The epoch that the log of a run has at present, by what its keys end in. */
  #epochs = new Map<string, string>();
  #copiedEpochs: ReadonlyMap<string, string> = new Map();
  #path: string | undefined;
  /** How far the file has been read, and what of a command is still to come. */
  #offset = 0;
  #rest: Buffer = Buffer.alloc(0);

  constructor(server: RedisServer) {
    this.#server = server;
  }

  get runs(): readonly StoredRun[] {
    return this.#book.runs;
  }

  /** Reads what was written since the last time. Not twice at once. */
  async look(): Promise<void> {
    if (this.#path === undefined) {
      const [, folder] = (await this.#server.command('CONFIG', 'GET', 'dir')) as [string, string];
      this.#path = join(folder, FOLDER, FILE);
    }
    const file = await open(this.#path);
    try {
      const { size } = await file.stat();
      const bytes = Buffer.alloc(Math.max(0, size - this.#offset));
      const { bytesRead } = await file.read(bytes, 0, bytes.length, this.#offset);
      this.#offset += bytesRead;
      this.#read(Buffer.concat([this.#rest, bytes.subarray(0, bytesRead)]));
    } finally {
      await file.close();
    }
  }

  /** The leases of runs that somebody holds. */
  async leases(): Promise<string[]> {
    return (await this.allLeases()).filter((key) => isRun(key, LEASES));
  }

  async allLeases(): Promise<string[]> {
    return (await this.#server.command('KEYS', `${LEASES}*`)) as string[];
  }

  #read(bytes: Buffer): void {
    let from = 0;
    for (;;) {
      const command = commandAt(bytes, from);
      if (!command) {
        break;
      }
      from = command.end;
      this.#take(command.words);
    }
    this.#rest = bytes.subarray(from);
  }

  #take([verb = '', key = '', ...words]: readonly string[]): void {
    const name = verb.toUpperCase();
    if (name === 'HSET' && isRun(key, META)) {
      const [field, epoch] = words;
      if (field === 'epoch') {
        this.#begin(key.slice(META.length), epoch!);
      }
    } else if (name === 'XADD' && isRun(key, RUN_EVENTS)) {
      this.#add(key.slice(RUN_EVENTS.length), words);
    } else if (name === 'SET' && key === COPIES) {
      this.#goBack(words[0] === 'back');
    }
  }

  #goBack(isBack: boolean): void {
    if (isBack) {
      this.#book.goBack();
      this.#epochs = new Map(this.#copiedEpochs);
    } else {
      this.#book.copy();
      this.#copiedEpochs = new Map(this.#epochs);
    }
  }

  #begin(name: string, epoch: string): void {
    const id = runIdOf(decodeURIComponent(name));
    this.#epochs.set(name, epoch);
    this.#book.begin(id, epoch);
  }

  #add(name: string, words: readonly string[]): void {
    const at = words.findIndex((word) => /^\d+-\d+$/.test(word));
    const epoch = this.#epochs.get(name);
    const run = epoch === undefined ? undefined : this.#book.find(epoch);
    if (!run) {
      throw new Error(`Redis has added to the log ${name}, which has not begun.`);
    }
    const fields = words.slice(at + 1);
    // What another program writes is no record, and is gone with the next append.
    if (fields[0] !== FOREIGN_FIELD) {
      run.records.push(recordOf(run.key, words[at]!, fields));
      run.writes += 1;
    }
  }
}

function isRun(key: string, prefix: string): boolean {
  return key.startsWith(prefix) && isRunName(decodeURIComponent(key.slice(prefix.length)));
}

/** A command in the protocol of Redis, in which the file is written; undefined where it is not all there. */
function commandAt(bytes: Buffer, from: number): { words: string[]; end: number } | undefined {
  let at = from;
  const readCount = (): number | undefined => {
    const end = bytes.indexOf(LINE_END, at);
    if (end < 0) {
      return undefined;
    }
    const count = Number(bytes.toString('latin1', at + 1, end));
    at = end + LINE_END.length;
    return count;
  };
  const count = readCount();
  if (count === undefined) {
    return undefined;
  }
  const words: string[] = [];
  for (let n = 0; n < count; n += 1) {
    const length = readCount();
    if (length === undefined || at + length + LINE_END.length > bytes.length) {
      return undefined;
    }
    words.push(bytes.toString('utf8', at, at + length));
    at += length + LINE_END.length;
  }
  return { words, end: at };
}

function recordOf(epoch: string, id: string, fields: readonly string[]): StoredRecord {
  const [sequence, nonce] = id.split('-') as [string, string];
  const of = Object.fromEntries(
    Array.from({ length: fields.length / 2 }, (_, n) => [fields[2 * n]!, fields[2 * n + 1]!]),
  );
  return {
    id: `${epoch}-${sequence}-${Number(nonce).toString(16).padStart(8, '0')}`,
    kind: of['t']!,
    type: of['y'] === '' ? undefined : of['y'],
    data: of['d']!,
    at: Number(of['c']),
  };
}
