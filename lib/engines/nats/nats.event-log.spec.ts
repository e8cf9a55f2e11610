import { afterEach, describe, expect, it } from '@jest/globals';
import type { Msg } from '@nats-io/transport-node';
import { RecordCheck, NonceSource } from '../index.js';
import { NO_APP } from '../../log/index.js';
import type { LossReason, NewRecord } from '../../log/index.js';
import { Publisher } from './appends.js';
import { NatsHealth } from './health.js';
import type { NatsLink } from './link.js';
import { EVENT_HEADER } from './message.js';
import { NatsEventLog } from './nats.event-log.js';
import type { NatsContext } from './nats.event-log.js';
import type { NatsSettings } from './options.js';
import type { NatsStream, StreamPlaces } from './stream.js';

const STREAM = 'sse-topics';
const ONE: NewRecord = { topic: 'a', data: '1', isJson: true };
const TWO: NewRecord = { topic: 'a', data: '2', isJson: true };

interface Sent {
  readonly reply: string;
  /** The header of ours. */
  readonly meta: string;
}

interface Publishing {
  readonly reply: string;
  readonly headers: Map<string, string>;
}

/** A server by hand: a test answers what the log sends, and says what the stream has. */
class ScriptedNats {
  readonly publisher: Publisher;
  readonly log: NatsEventLog;
  readonly sent: Sent[] = [];
  /** What the stream has, by sequence: the header of ours. */
  readonly held = new Map<number, string>();
  /** The answers to a question about the stream, each once; then the last one. */
  places: (() => Promise<string>)[] = [() => Promise.resolve('e1')];
  last = 99;
  /** The epochs that the log has given up. */
  readonly replaced: string[] = [];
  readonly #listeners: ((isConnected: boolean) => void)[] = [];
  #losses = 0;
  #hear: (error: null, message: Msg) => void = () => undefined;

  constructor() {
    const subscribe = (_subject: string, { callback }: { callback: (error: null, message: Msg) => void }) => {
      this.#hear = callback;
      return { unsubscribe: () => undefined };
    };
    const send = (_subject: string, _data?: Uint8Array, options?: Publishing) => {
      if (options) {
        this.sent.push({ reply: options.reply, meta: options.headers.get(EVENT_HEADER)! });
      }
      return true;
    };
    const losses = () => this.#losses;
    const link = {
      maxPayload: 1_000_000,
      requestTimeoutMs: 1_000,
      connection: { subscribe, isClosed: () => true },
      get losses() {
        return losses();
      },
      signal: new AbortController().signal,
      whenStarted: () => Promise.resolve(),
      // No consumer is ever made.
      request: () => new Promise(() => undefined),
      inbox: () => 'inbox',
      headers: () => new Map<string, string>(),
      onConnection: (listener: (isConnected: boolean) => void) => {
        this.#listeners.push(listener);
        return () => undefined;
      },
      send,
    } as unknown as NatsLink;
    const settings = { publishTimeoutMs: 60_000, maxPendingBytes: 1_000_000 } as NatsSettings;
    this.publisher = new Publisher(link, settings, {
      onNoStream: () => undefined,
      onTaken: () => undefined,
      onRefused: () => undefined,
      onLate: () => undefined,
    });
    const stream = {
      name: STREAM,
      places: async (): Promise<StreamPlaces> => {
        const [answer] = this.places.length > 1 ? this.places.splice(0, 1) : this.places;
        const epoch = await answer!();
        const { last } = this;
        return { epoch, first: 1, last, messages: last, bytes: 100 * last, leader: undefined };
      },
      message: ({ seq: sequence }: { seq: number }) => {
        const meta = this.held.get(sequence);
        const message = {
          sequence,
          subject: 'sse.topics.events.a',
          data: Buffer.from('1'),
          header: () => meta,
        };
        return Promise.resolve(meta === undefined ? undefined : message);
      },
      replaceEpoch: (epoch: string) => {
        this.replaced.push(epoch);
        this.places = [() => Promise.resolve('e2')];
        return Promise.resolve();
      },
    } as unknown as NatsStream;
    const check = new RecordCheck('NATS', NO_APP);
    const rules = { check, limits: NO_APP };
    const context: NatsContext = {
      settings,
      link,
      publisher: this.publisher,
      health: new NatsHealth(),
      nonces: new NonceSource(),
      engine: NO_APP,
      rules,
      namedRules: rules,
      closed: new AbortController().signal,
    };
    this.log = new NatsEventLog(context, stream, 'sse.topics.events');
  }

  /** Says that the stream has taken what was sent as the n-th, at a sequence, and holds it there if it says so. */
  answer(index: number, sequence: number, isHeld: boolean): void {
    const { reply, meta } = this.sent[index]!;
    if (isHeld) {
      this.held.set(sequence, meta);
    }
    this.#hear(null, { subject: reply, json: () => ({ stream: STREAM, seq: sequence }) } as unknown as Msg);
  }

  /** Loses the connection, and has another one. */
  reconnect(): void {
    this.#losses += 1;
    this.#listeners.forEach((listener) => listener(false));
    this.#listeners.forEach((listener) => listener(true));
  }

  async untilSent(count: number): Promise<void> {
    while (this.sent.length < count) {
      await new Promise(setImmediate);
    }
  }
}

describe('an append to the log on NATS whose answer came before the connection was lost', () => {
  let nats: ScriptedNats;
  afterEach(() => nats.publisher.close());

  it('is at its place in the log that is there now, if that has it', async () => {
    nats = new ScriptedNats();
    const appending = nats.log.append([ONE, TWO]);
    await nats.untilSent(2);
    nats.answer(0, 5, true);
    nats.reconnect();
    nats.places = [() => Promise.resolve('e2')];
    await nats.untilSent(3);
    nats.answer(2, 6, true);
    const { epoch, records } = await appending;
    expect([epoch, records.map(({ sequence }) => sequence)]).toEqual(['e2', [5, 6]]);
  });

  it.each<[string, string | undefined]>([
    ['has another event there', '0000000a 1 j'],
    ['has none there', undefined],
  ])('is unknown, if the log that is there now %s', async (_what, held) => {
    nats = new ScriptedNats();
    const appending = nats.log.append([ONE, TWO]);
    await nats.untilSent(2);
    nats.answer(0, 5, false);
    nats.reconnect();
    nats.places = [() => Promise.resolve('e2')];
    if (held !== undefined) {
      nats.held.set(5, held);
    }
    await nats.untilSent(3);
    nats.answer(2, 6, true);
    await expect(appending).rejects.toMatchObject({ code: 'publish-failed', isOutcomeKnown: false });
  });

  it('does not get the epoch of another log, which was asked for in between', async () => {
    nats = new ScriptedNats();
    let answerPlaces: (epoch: string) => void = () => undefined;
    // The log does not know the epoch yet, and the answer comes late.
    nats.places = [() => new Promise((resolve) => (answerPlaces = resolve)), () => Promise.resolve('e2')];
    const appending = nats.log.append([ONE]);
    await nats.untilSent(1);
    nats.answer(0, 5, false);
    while (nats.places.length > 1) {
      await new Promise(setImmediate);
    }
    nats.reconnect();
    answerPlaces('e1');
    await expect(appending).rejects.toMatchObject({ code: 'publish-failed', isOutcomeKnown: false });
    // Nor does what comes next.
    const next = nats.log.append([TWO]);
    await nats.untilSent(2);
    nats.answer(1, 5, true);
    expect((await next).epoch).toBe('e2');
  });
});

describe('the reader of the log on NATS', () => {
  /** Follows the log to its end at 99, and appends an event that is lost with the connection. */
  async function losesAcknowledged(): Promise<{ nats: ScriptedNats; reasons: LossReason[] }> {
    const nats = new ScriptedNats();
    nats.held.set(99, '0000000a 1 j');
    const reasons: LossReason[] = [];
    await nats.log.follow({
      onRecords: () => undefined,
      onReset: (_head, reason) => void reasons.push(reason),
    });
    expect(await nats.log.verify(true)).toMatchObject({ isUnchanged: true });
    const appending = nats.log.append([ONE]);
    await nats.untilSent(1);
    nats.answer(0, 100, false);
    expect((await appending).epoch).toBe('e1');
    nats.reconnect();
    return { nats, reasons };
  }

  it('misses what was acknowledged to this process, also where it had not got that far', async () => {
    const { nats, reasons } = await losesAcknowledged();
    // The stream ends where the reader is, as before the append.
    expect(await nats.log.verify(true)).toMatchObject({ isUnchanged: false, after: 99 });
    expect([reasons, nats.replaced]).toEqual([['regressed'], ['e1']]);
    nats.publisher.close();
  });

  it('misses it as well where the next event of this process stands in its place', async () => {
    const { nats, reasons } = await losesAcknowledged();
    nats.last = 100;
    const appending = nats.log.append([TWO]);
    await nats.untilSent(2);
    nats.answer(1, 100, true);
    await appending;
    expect(await nats.log.verify(true)).toMatchObject({ isUnchanged: false, after: 100 });
    expect([reasons, nats.replaced]).toEqual([['diverged'], ['e1']]);
    nats.publisher.close();
  });
});
