import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { waitFor } from 'nestjs-event-stream/testing';
import { EVENTS, PUBLISH } from '../../support/servers/redis-keys.js';
import type { RedisServer } from '../../support/servers/redis-server.js';
import type { HeardAppend, HeardEntry } from './history.js';

/** A place among what a server does. */
export interface Mark {
  readonly text: string;
  /** Where it will be heard, if anywhere. */
  readonly on: unknown;
}

const AGAIN_MS = 10;
const DEADLINE_MS = 20_000;
const LINE_END = '\r\n';

/**
 * Receives each append that a server carries out, from `MONITOR`: also one that the server loses in the next moment, and
 * one of an instance that alone takes the server for the log.
 */
export class RedisTap {
  readonly #server: RedisServer;
  /** While it hears what the server does. */
  #socket: Socket | undefined;
  #isOver = false;
  readonly #ended: Promise<void>;
  #heard: (HeardAppend | string)[] = [];
  #marks = 0;

  constructor(server: RedisServer) {
    this.#server = server;
    this.#ended = this.#follow();
  }

  /** Resolves when it hears what the server does from now on. */
  async hears(): Promise<void> {
    await waitFor(() => this.#socket, {
      timeoutMs: DEADLINE_MS,
      describe: 'a server that says what it does',
    });
  }

  /** A mark for {@link take}, which the server is to `ECHO`. */
  mark(): Mark {
    return { text: `mark ${(this.#marks += 1)}`, on: this.#socket };
  }

  /**
   * Takes what was appended since.
   *
   * @param mark - what comes after it stays; without one, all that was heard is taken
   */
  async take(mark?: Mark): Promise<HeardAppend[]> {
    const end = () => (mark ? this.#heard.indexOf(mark.text) : this.#heard.length);
    if (mark?.on) {
      // A connection that has ended says no more.
      await waitFor(() => end() !== -1 || this.#socket !== mark.on, { timeoutMs: DEADLINE_MS });
    }
    const taken = this.#heard.splice(0, end() === -1 ? this.#heard.length : end() + 1);
    return taken.filter((one) => typeof one !== 'string');
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    this.#socket?.destroy();
    await this.#ended;
  }

  async #follow(): Promise<void> {
    while (!this.#isOver) {
      await this.#monitor();
      await pause(AGAIN_MS);
    }
  }

  /** Until the connection ends. */
  #monitor(): Promise<void> {
    return new Promise((resolve) => {
      const socket = connect(this.#server.port, '127.0.0.1').setEncoding('latin1');
      const monitor = new Monitor((heard) => this.#heard.push(heard));
      socket.once('connect', () => socket.write('MONITOR\r\n'));
      socket.on('data', (text: string) => {
        this.#socket = socket;
        monitor.push(text);
      });
      socket.on('error', () => undefined);
      socket.once('close', () => {
        this.#socket = undefined;
        resolve();
      });
    });
  }
}

/** Finds appends and marks in what `MONITOR` says. */
export class Monitor {
  readonly #onHeard: (heard: HeardAppend | string) => void;
  #text = '';
  /** By sequence: Redis may refuse some, and be given them again in the same script. */
  #entries = new Map<number, HeardEntry>();

  constructor(onHeard: (heard: HeardAppend | string) => void) {
    this.#onHeard = onHeard;
  }

  push(text: string): void {
    const lines = (this.#text + text).split(LINE_END);
    this.#text = lines.pop()!;
    lines.forEach((line) => this.#hear(line));
  }

  #hear(line: string): void {
    // +1700000000.123456 [0 lua] "XADD" "key" …
    const [, by, verb, rest = ''] = /^\+[\d.]+ \[\d+ (\S+)\] "(\w+)"(.*)$/.exec(line) ?? [];
    if (by === 'lua' && verb === 'XADD') {
      const [key, ...words] = wordsOf(rest);
      if (key === EVENTS) {
        const at = words.findIndex((word) => /^\d+-\d+$/.test(word));
        const entry = entryOf(words[at]!, words.slice(at + 1));
        this.#entries.set(entry.sequence, entry);
      }
    } else if (by === 'lua' && verb === 'SET') {
      const [key = '', value = ''] = wordsOf(rest);
      const [, epoch, first] = /^([0-9a-z]+):(\d+)$/.exec(value) ?? [];
      if (epoch !== undefined && key.startsWith(PUBLISH)) {
        const entries = [...this.#entries.values()].filter(({ sequence }) => sequence >= Number(first));
        this.#entries.clear();
        this.#onHeard({ epoch, entries });
      }
    } else if (by !== 'lua') {
      // A script that was refused has appended nothing.
      this.#entries.clear();
      if (verb?.toUpperCase() === 'ECHO') {
        this.#onHeard(wordsOf(rest)[0]!);
      }
    }
  }
}

/** Reads an entry of the stream of events: its id, and its fields as `APPEND` writes them. */
export function entryOf(id: string, fields: readonly string[]): HeardEntry {
  const [sequence, nonce] = id.split('-') as [string, string];
  const data = fields.find((field) => /"n":\d+/.test(field)) ?? '';
  return {
    sequence: Number(sequence),
    nonce: nonceOf(nonce),
    previous: nonceOf(fields[3] ?? ''),
    n: Number(/"n":(\d+)/.exec(data)?.[1] ?? Number.NaN),
  };
}

/** As positions have it. */
function nonceOf(text: string): string {
  return Number(text).toString(16).padStart(8, '0');
}

function wordsOf(text: string): string[] {
  return Array.from(text.matchAll(/"((?:[^"\\]|\\.)*)"/g), ([, word]) => word!.replace(/\\(["\\])/g, '$1'));
}
