import { setTimeout as pause } from 'node:timers/promises';
import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import type { ConsumerMessages, JsMsg } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import type { NatsConnection } from '@nats-io/transport-node';
import { waitFor } from 'nestjs-event-stream/testing';
import { within } from '../../../lib/time/index.js';
import type { RunRecorder } from './ground.js';
import type { StoredRecord, StoredRun } from './history.js';
import { RunBook } from './run-book.js';
import { isRunName, runIdOf } from './run-names.js';

const BASE = 'sse.topics';
const STREAM = 'sse-topics';
const LOGS = `${STREAM}-logs`;
const NOTICES = `${STREAM}-notices`;
const AGAIN_MS = 20;
const LATE_MS = 3_000;
const TRIES = 40;
/** How long it waits until all streams are followed: one that no run has needed yet does not exist. */
const COME_BACK_MS = 10_000;

/** A message of a stream, as it is delivered or looked up. */
type Stored = Pick<JsMsg, 'subject' | 'headers' | 'data'>;

/**
 * What the logs of runs have ever held, message by message out of their stream, and what was said to them beside. It
 * knows nothing of the package but how its streams and headers are named.
 */
export class NatsRunRecorder implements RunRecorder {
  readonly #port: number;
  readonly #book = new RunBook();
  /** How far each stream has been read. */
  #read = new Map<string, number>();
  /** How far it was when the streams were copied. */
  #copiedRead: ReadonlyMap<string, number> = new Map();
  /** Stops that are of a run whose log has not been read yet. */
  #early: { epoch: string; record: StoredRecord }[] = [];
  readonly #skipped: Promise<void>[] = [];
  readonly #following: ConsumerMessages[] = [];
  #stopped = new AbortController();
  #connecting: Promise<NatsConnection> | undefined;

  constructor(port: number) {
    this.#port = port;
    void this.#followAll();
  }

  get runs(): readonly StoredRun[] {
    return this.#book.runs;
  }

  /** Says that the streams are copied as they were when they were looked at last. */
  copy(): void {
    this.#book.copy();
    this.#copiedRead = new Map(this.#read);
  }

  /** Says that they are again as they were then. The server is away. */
  goBack(): void {
    this.#book.goBack();
    this.#read = new Map(this.#copiedRead);
  }

  /** Stops reading, before the server goes away. */
  leave(): void {
    this.#unfollow();
  }

  /**
   * Resolves when it reads on, from where it was. Instances may come back then: a run that ends, and is replaced at
   * once, is swept before a consumer finds its way back by itself.
   */
  async comeBack(): Promise<void> {
    await within(this.#followAll(), COME_BACK_MS);
  }

  /** Reads what was written since the last time. A server that is away is waited for. */
  async look(): Promise<void> {
    for (let tries = 1; ; tries += 1) {
      try {
        await this.#untilRead(LOGS);
        await this.#untilRead(NOTICES);
        break;
      } catch (error) {
        if (tries === TRIES) {
          throw error;
        }
        await pause(AGAIN_MS);
      }
    }
    const early = this.#early;
    this.#early = [];
    for (const { epoch, record } of early) {
      this.#note(epoch, record);
    }
  }

  async leases(): Promise<string[]> {
    return (await this.allLeases()).filter(isRunName);
  }

  async allLeases(): Promise<string[]> {
    const manager = await jetstreamManager(await this.#connected());
    const { state } = await manager.streams.info(`${STREAM}-leases`, { subjects_filter: `${BASE}.leases.*` });
    const held: string[] = [];
    for (const subject of Object.keys(state.subjects ?? {})) {
      const message = await manager.streams.getMessage(`${STREAM}-leases`, { last_by_subj: subject });
      const [, , ttlMs, word] = message?.header.get('Sse-Lease').split(' ') ?? [];
      const isOver = !message || message.time.getTime() + Number(ttlMs) < Date.now();
      if (word === 'held' && !isOver) {
        held.push(nameIn(subject));
      }
    }
    return held;
  }

  async stop(): Promise<void> {
    this.#unfollow();
    await (await this.#connecting)?.close();
  }

  /** Resolves when all streams are followed. */
  async #followAll(): Promise<void> {
    this.#stopped = new AbortController();
    const { signal } = this.#stopped;
    await Promise.all([
      this.#follow(LOGS, (message) => this.#take(message), signal),
      this.#follow(NOTICES, (message) => this.#hear(message), signal),
    ]);
  }

  #unfollow(): void {
    this.#stopped.abort();
    this.#following.splice(0).forEach((messages) => messages.stop());
  }

  #connected(): Promise<NatsConnection> {
    this.#connecting ??= connect({
      servers: `127.0.0.1:${this.#port}`,
      maxReconnectAttempts: -1,
      reconnectTimeWait: 100,
    });
    return this.#connecting;
  }

  /** Takes what a stream gets, from where it was read on, as soon as there is one: what ends is swept soon. */
  async #follow(stream: string, take: (message: Stored) => void, signal: AbortSignal): Promise<void> {
    for (; !signal.aborted; await pause(AGAIN_MS)) {
      // It fails while the stream does not exist, or the server is away: try again until it is stopped.
      const messages = await this.#consume(stream, take, signal).catch(() => undefined);
      if (messages && signal.aborted) {
        messages.stop();
      } else if (messages) {
        this.#following.push(messages);
        return;
      }
    }
  }

  async #consume(
    stream: string,
    take: (message: Stored) => void,
    signal: AbortSignal,
  ): Promise<ConsumerMessages> {
    const connection = await this.#connected();
    const { streams } = await jetstreamManager(connection);
    await streams.info(stream);
    const opt_start_seq = (this.#read.get(stream) ?? 0) + 1;
    const consumer = await jetstream(connection).consumers.get(stream, { opt_start_seq });
    const callback = (message: JsMsg) => {
      if (signal.aborted) {
        return;
      }
      for (let seq = (this.#read.get(stream) ?? message.seq - 1) + 1; seq < message.seq; seq += 1) {
        this.#skipped.push(this.#fetch(stream, seq, take));
      }
      take(message);
      this.#read.set(stream, message.seq);
    };
    return consumer.consume({ callback });
  }

  /** Reads a message that the consumer has passed over, as it may when it is made anew. One that was swept is gone. */
  async #fetch(stream: string, seq: number, take: (message: Stored) => void): Promise<void> {
    const message = await this.#connected()
      .then(jetstreamManager)
      .then(({ streams }) => streams.getMessage(stream, { seq }))
      .catch(() => undefined);
    if (message) {
      take({ subject: message.subject, headers: message.header, data: message.data });
    }
  }

  /** What was swept before it was delivered is not waited for longer than that. */
  async #untilRead(stream: string): Promise<void> {
    const { streams } = await jetstreamManager(await this.#connected());
    const upTo = (await streams.info(stream).catch(() => undefined))?.state.last_seq ?? 0;
    const isRead = () => (this.#read.get(stream) ?? 0) >= upTo;
    await waitFor(isRead, { timeoutMs: LATE_MS }).catch(() => undefined);
    await Promise.all(this.#skipped.splice(0));
  }

  #take(message: Stored): void {
    const name = nameIn(message.subject);
    const header = message.headers?.get('Sse-Log') ?? '';
    if (!isRunName(name) || header === '') {
      return;
    }
    const [epoch = '', sequence, , , , , life] = header.split(' ');
    if (life === 'over') {
      return;
    }
    const run = this.#book.find(epoch) ?? this.#book.begin(runIdOf(name), epoch);
    run.writes += 1;
    for (const record of recordsOf(message, epoch, Number(sequence))) {
      const later = run.records.findIndex(({ id }) => sequenceOf(id) > sequenceOf(record.id));
      run.records.splice(later === -1 ? run.records.length : later, 0, record);
    }
  }

  /** A notice has no place in the log. */
  #hear(message: Stored): void {
    const epoch = message.headers?.get('Sse-Notice') ?? '';
    for (const record of recordsOf(message, epoch, 0)) {
      this.#note(epoch, record);
    }
  }

  #note(epoch: string, record: StoredRecord): void {
    const run = this.#book.find(epoch);
    if (run) {
      run.records.push(record);
      run.writes += 1;
    } else {
      this.#early.push({ epoch, record });
    }
  }
}

/** A notice has none, and stands as 0. */
function sequenceOf(id: string): number {
  return Number(id.split('-')[1]);
}

function nameIn(subject: string): string {
  return decodeURIComponent(subject.split('.').at(-1)!);
}

/** The records of a message, of which the last has that sequence: a line that tells of them, and their data. */
function recordsOf({ data }: Stored, epoch: string, last: number): StoredRecord[] {
  const bytes = Buffer.from(data);
  if (bytes.length === 0) {
    return [];
  }
  let at = bytes.indexOf('\n') + 1;
  const lines = bytes.toString('latin1', 0, at - 1).split(',');
  return lines.map((line, index) => {
    const [length, kind = '', nonce, time, , type] = line.split(' ');
    const sequence = last - lines.length + 1 + index;
    const text = bytes.toString('utf8', at, (at += Number(length)));
    const named = type === undefined ? undefined : decodeURIComponent(type);
    return {
      id: `${epoch}-${sequence}-${nonce}`,
      kind: decodeURIComponent(kind),
      type: named,
      data: text,
      at: Number(time),
    };
  });
}
