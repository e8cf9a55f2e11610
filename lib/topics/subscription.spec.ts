import { AsyncLocalStorage } from 'node:async_hooks';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { RepeatedReport } from '../errors/index.js';
import type { FollowOptions, SseConnection } from '../connection/index.js';
import { LogEvent } from '../log/index.js';
import type { Follower } from './follower.js';
import { Subscription } from './subscription.js';

type Authorize = (topic: string, connection: SseConnection) => boolean;

const event = new LogEvent(
  { sequence: 7, topic: 'orders.1', nonce: '0000abcd', time: 0, data: '{"n":5}', isJson: true, type: 'made' },
  'e',
);

describe('Subscription', () => {
  let errors: { message: string; error: unknown }[];
  let unhandled: unknown[];
  let withheld: string[];
  let reports: RepeatedReport;
  let connection: SseConnection;
  const onUnhandled = (error: unknown) => unhandled.push(error);

  beforeEach(() => {
    errors = [];
    unhandled = [];
    process.on('unhandledRejection', onUnhandled);
    withheld = [];
    reports = new RepeatedReport({
      error: (message: string, error: unknown) => errors.push({ message, error }),
      warn: () => undefined,
      debug: () => undefined,
    });
    connection = {} as SseConnection;
  });
  afterEach(() => {
    process.off('unhandledRejection', onUnhandled);
  });

  const followerOf = (of: SseConnection) =>
    ({
      connection: { forApp: of },
      reports,
      countWithheld: (topic: string) => withheld.push(topic),
    }) as unknown as Follower;
  const subscriptionOf = (options: FollowOptions, ...patterns: string[]) =>
    new Subscription(followerOf(connection), patterns, options);
  const admits = (filter?: unknown, authorize?: unknown) =>
    subscriptionOf({ filter } as FollowOptions, '>').admits(event, authorize as Authorize | undefined);

  it('admits everything where nothing is checked', () => {
    expect(admits()).toBe(true);
  });

  it('asks with the topic and the connection, and with the event', () => {
    const asked: unknown[] = [];
    const authorize = (...args: unknown[]) => {
      asked.push(args);
      return true;
    };
    const filter = (...args: unknown[]) => {
      asked.push(args);
      return true;
    };
    expect(admits(filter, authorize)).toBe(true);
    expect(asked).toEqual([
      ['orders.1', connection],
      [{ topic: 'orders.1', position: 'e-7-0000abcd', event: { data: { n: 5 }, type: 'made' } }],
    ]);
  });

  it.each([
    [true, true, true],
    [true, false, false],
    [false, true, false],
    [undefined, false, false],
    [false, undefined, false],
    [undefined, true, true],
    [true, undefined, true],
  ])('where authorize says %p and filter %p admits: %p', (allowed, wanted, expected) => {
    const saying = (verdict: boolean | undefined) => (verdict === undefined ? undefined : () => verdict);
    expect(admits(saying(wanted), saying(allowed))).toBe(expected);
    expect(errors).toEqual([]);
  });

  const verdicts: [string, unknown][] = [
    ['nothing, having forgotten to return', undefined],
    ['null', null],
    ['0', 0],
    ['1', 1],
    ['a text', 'yes'],
    ['an object', {}],
    ['a promise of true', Promise.resolve(true)],
    ['a promise of false', Promise.resolve(false)],
  ];
  it.each(verdicts)('lets nothing through on %s', (_what, verdict) => {
    expect(admits(undefined, () => verdict)).toBe(false);
    expect(admits(() => verdict)).toBe(false);
  });

  it('does not ask the filter about what the client may not have', () => {
    let asked = 0;
    expect(
      admits(
        () => (asked += 1) > 0,
        () => false,
      ),
    ).toBe(false);
    expect(asked).toBe(0);
  });

  it('withholds what a check throws on, and reports it', () => {
    const error = new Error('no database');
    const fail = () => {
      throw error;
    };
    expect(admits(undefined, fail)).toBe(false);
    expect(admits(fail)).toBe(false);
    expect(errors).toEqual([
      { message: 'authorize of orders.1 failed; the event was withheld.', error },
      { message: 'filter of orders.1 failed; the event was withheld.', error },
    ]);
  });

  it('reports a check that fails for each event and client once in a while', () => {
    const fail = () => {
      throw new Error('no database');
    };
    for (let n = 0; n < 1_000; n += 1) {
      admits(undefined, fail);
      subscriptionOf({ latest: fail }, '>').keyOf(event);
    }
    expect(errors.map(({ message }) => message)).toEqual([
      'authorize of orders.1 failed; the event was withheld.',
      'latest() of orders.1 failed; the event was sent.',
    ]);
  });

  it('counts what authorize withholds, and not what a filter does', () => {
    const no = () => false;
    admits(no, () => true);
    expect(withheld).toEqual([]);
    admits(undefined, no);
    admits(no, no);
    expect(withheld).toEqual(['orders.1', 'orders.1']);
  });

  it.each(['resolves', 'rejects'])(
    'says that a check must not be asynchronous, also where it %s',
    async (how) => {
      const check = async () => {
        if (how === 'rejects') {
          throw new Error('no database');
        }
        return true;
      };
      expect(admits(undefined, check)).toBe(false);
      expect(admits(check)).toBe(false);
      await new Promise((resolve) => setImmediate(resolve));
      expect(unhandled).toEqual([]);
      expect(errors.map(({ error }) => String(error))).toEqual([
        expect.stringContaining('authorize returned a promise'),
        expect.stringContaining('filter returned a promise'),
      ]);
    },
  );

  it('calls what the app gave in the context in which the client followed, not in that of the publish', () => {
    const users = new AsyncLocalStorage<string>();
    const seen: string[] = [];
    const see = <T>(what: string, value: T): T => {
      seen.push(`${what} for ${users.getStore()}`);
      return value;
    };
    const authorize = () => see('authorize', true);
    const followed = (options: FollowOptions) =>
      users.run('ada', () => new Subscription(followerOf(connection), 'orders.*', options, authorize));
    const subscription = followed({
      filter: () => see('filter', true),
      latest: () => see('latest', 'key'),
      snapshot: () => see('snapshot', { data: 'state' }),
    });
    users.run('eve', () => {
      expect(subscription.admits(event, authorize)).toBe(true);
      expect(subscription.keyOf(event)).toBe('key');
      expect(subscription.snapshot!('e-7-0000abcd')).toEqual({ data: 'state' });
      expect(followed({}).admits(event, authorize)).toBe(true);
    });
    expect(seen).toEqual([
      'authorize for ada',
      'filter for ada',
      'latest for ada',
      'snapshot for ada',
      'authorize for ada',
    ]);
  });

  it('takes the envelope where it is wanted', () => {
    expect(subscriptionOf({}, 'a').chunkOf(event)).toBe(event.plain);
    expect(subscriptionOf({ envelope: true }, 'a').chunkOf(event)).toBe(event.envelope);
    expect(event.envelope.frame.toString()).toBe(
      'event: made\ndata: {"topic":"orders.1","data":{"n":5}}\nid: e-7-0000abcd\n\n',
    );
    expect(event.plain.frame.toString()).toBe('event: made\ndata: {"n":5}\nid: e-7-0000abcd\n\n');
  });
});
