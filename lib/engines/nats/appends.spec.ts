import { afterEach, describe, expect, it } from '@jest/globals';
import type { Msg, MsgHdrs } from '@nats-io/transport-node';
import { Publisher, Refusal } from './appends.js';
import { isWrongLastSequence } from './failure.js';
import type { NatsLink } from './link.js';
import type { NatsSettings } from './options.js';

const MESSAGE = { subject: 'sse.topics.leases.a', data: new Uint8Array(), headers: [] };

/** A publisher whose messages go nowhere, and are answered by the test. */
class Answered {
  readonly publisher: Publisher;
  readonly ids: string[] = [];
  readonly #waiting: ((reply: string) => void)[] = [];
  readonly #replies: string[] = [];
  #hear: (error: null, message: Msg) => void = () => undefined;

  constructor() {
    const subscribe = (_subject: string, { callback }: { callback: (error: null, message: Msg) => void }) => {
      this.#hear = callback;
      return { unsubscribe: () => undefined };
    };
    const send = (_subject: string, _data: Uint8Array, options: { reply: string; headers: MsgHdrs }) => {
      this.ids.push(options.headers.get('Nats-Msg-Id'));
      const next = this.#waiting.shift();
      if (next) {
        next(options.reply);
      } else {
        this.#replies.push(options.reply);
      }
      return true;
    };
    const link = {
      maxPayload: 1_000_000,
      losses: 0,
      connection: { subscribe, isClosed: () => true },
      inbox: () => 'inbox',
      headers: () => new Map<string, string>(),
      onConnection: () => () => undefined,
      send,
    };
    const settings = { publishTimeoutMs: 60_000, maxPendingBytes: 1_000_000 };
    const refuse = (why: string) => {
      this.refused.push(why);
    };
    this.publisher = new Publisher(link as unknown as NatsLink, settings as NatsSettings, {
      onNoStream: () => undefined,
      onTaken: () => undefined,
      onRefused: refuse,
      onLate: () => undefined,
    });
  }

  readonly refused: string[] = [];

  /** Answers the next message, once it is sent. */
  async answer(body: object): Promise<void> {
    const subject = this.#replies.shift() ?? (await new Promise<string>((sent) => this.#waiting.push(sent)));
    this.#hear(null, { subject, json: () => body } as unknown as Msg);
  }
}

describe('Publisher', () => {
  let answered: Answered;
  afterEach(() => answered.publisher.close());

  it.each([10_071, 10_164])('is told by %i that another message has the place', async (code) => {
    answered = new Answered();
    const publishing = answered.publisher.publish('stream', MESSAGE, performance.now());
    await answered.answer({ error: { code: 400, err_code: code, description: 'wrong last sequence' } });
    const refusal = await publishing.catch((error: unknown) => error);
    expect(refusal).toBeInstanceOf(Refusal);
    expect(isWrongLastSequence((refusal as Refusal).code)).toBe(true);
    // That is no trouble of the log's.
    expect(answered.refused).toEqual([]);
  });

  it.each([
    [10_008, 'JetStream cannot be used at the moment'],
    [10_158, 'the message is on its way already'],
    [10_163, 'the place cannot be compared at the moment'],
  ])('sends again after %i, as the same message: %s', async (code) => {
    answered = new Answered();
    const publishing = answered.publisher.publish('stream', MESSAGE, performance.now());
    await answered.answer({ error: { code: 503, err_code: code, description: 'not now' } });
    await answered.answer({ stream: 'stream', seq: 7, duplicate: true });
    expect(await publishing).toEqual({ sequence: 7, losses: 0 });
    expect(answered.ids).toHaveLength(2);
    expect(new Set(answered.ids).size).toBe(1);
    expect(answered.refused).toEqual([]);
  });
});
