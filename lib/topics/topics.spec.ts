import type { ServerResponse } from 'node:http';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { waitFor } from 'nestjs-event-stream/testing';
import type { SseTestStream } from 'nestjs-event-stream/testing';
import {
  CONNECTION_SETTINGS,
  createRegistry,
  StreamServer,
  TOPIC_SETTINGS,
} from '../../test/support/apps/stream-server.js';
import { ScriptedLog } from '../../test/support/apps/scripted-log.js';
import { ConnectionRegistry } from '../connection/index.js';
import { toPlatform } from '../http/index.js';
import type { EventStreamResponse } from '../connection/index.js';
import { memory } from '../engines/memory/index.js';
import type { EventLogStore } from '../log/index.js';
import type { MemoryLogOptions } from '../engines/memory/index.js';
import type { TopicSettings } from './topic.settings.js';
import { Topics } from './topics.js';

describe('Topics', () => {
  let server: StreamServer;
  let topics: Topics;
  let registry: ConnectionRegistry;
  let handle: (connection: EventStreamResponse, res: ServerResponse) => void;
  const errors: unknown[] = [];
  const debugged: string[] = [];
  const warned: string[] = [];

  const start = async (
    settings: Partial<TopicSettings> = {},
    log: MemoryLogOptions = {},
    store: EventLogStore = memory(log)(),
  ) => {
    const reporter = {
      warn: (message: string) => warned.push(message),
      error: (_message: string, error: unknown) => errors.push(error),
      debug: (message: string) => debugged.push(message),
    };
    topics = new Topics(store, { ...TOPIC_SETTINGS, ...settings }, reporter);
    await topics.start();
    registry = createRegistry({ reporter, following: topics });
  };

  beforeEach(async () => {
    errors.length = 0;
    debugged.length = 0;
    warned.length = 0;
    await start();
    server = await StreamServer.listen((_req, res) => {
      const connection = registry.admit({
        platform: toPlatform(res),
        settings: CONNECTION_SETTINGS,
        finite: false,
      });
      connection.commit();
      handle(connection, res);
    });
  });

  afterEach(async () => {
    await server.close();
    await waitFor(() => registry.wheel.size === 0 && registry.size === 0 && topics.followers === 0);
    await topics.close();
  });

  const open = (lastEventId?: string): Promise<SseTestStream> => server.open({ lastEventId });
  const summary = (stream: SseTestStream) => stream.events.map(({ type, data }) => `${type} ${data}`);
  const publishAll = async (topic: string, from: number, to: number) => {
    for (let n = from; n <= to; n += 1) {
      await topics.publish(topic, n);
    }
  };

  it('writes the cursor first, then each event that matches, with its position as id', async () => {
    handle = (connection) => connection.forApp.follow('orders.*');
    const stream = await open();
    await stream.next();
    const position = await topics.publish('orders.1', { type: 'created', data: { total: 5 } });
    await topics.publish('users.1', 'other');
    await topics.publish('orders.2', 'text\nof two lines');
    await stream.until(({ events }) => events.length === 3);
    expect(summary(stream)).toEqual(['cursor {}', 'created {"total":5}', 'message text\nof two lines']);
    expect(stream.events[1]!.id).toBe(position);
    await stream.close();
  });

  it('gives an event once, however many patterns match', async () => {
    handle = (connection) => {
      connection.forApp.follow(['orders.>', 'orders.*', 'orders.1']);
      connection.forApp.follow('>');
    };
    const stream = await open();
    await stream.next();
    await publishAll('orders.1', 1, 3);
    await stream.until(({ events }) => events.length === 4);
    expect(summary(stream)).toEqual(['cursor {}', 'message 1', 'message 2', 'message 3']);
    await stream.close();
  });

  describe('to a client for which something throws', () => {
    /** An app's own object, which throws as it is read. */
    let readsLeft = Infinity;
    const throwing = {
      get envelope(): boolean {
        readsLeft -= 1;
        if (readsLeft < 0) {
          throw new Error('of one client');
        }
        return false;
      },
    };
    const followThrowing = (connection: EventStreamResponse, after: number) => {
      readsLeft = Infinity;
      connection.forApp.follow('a', throwing);
      readsLeft = after;
    };

    it.each(['alone', 'together'])('goes on to offer events to all others, %s', async (how) => {
      let opened = 0;
      handle = (connection) => {
        opened += 1;
        if (opened === 2) {
          followThrowing(connection, 0);
        } else {
          connection.forApp.follow('a');
        }
      };
      const streams = [await open(), await open(), await open()];
      await Promise.all(streams.map((stream) => stream.next()));
      if (how === 'alone') {
        await publishAll('a', 1, 2);
      } else {
        await Promise.all([topics.publish('a', 1), topics.publish('a', 2)]);
      }
      for (const stream of [streams[0]!, streams[2]!]) {
        await stream.until(({ events }) => events.length === 3);
        expect(summary(stream)).toEqual(['cursor {}', 'message 1', 'message 2']);
      }
      expect(await streams[1]!.ended).toBe('aborted');
      expect(errors).toEqual([new Error('of one client')]);
      await Promise.all(streams.map((stream) => stream.close()));
    });

    it('goes on to catch up with all others', async () => {
      handle = (connection) => connection.forApp.follow('a');
      const before = await open();
      await before.next();
      await before.close();
      await publishAll('a', 1, 300);
      // In its second step: the first is of its beginning.
      handle = (connection) => followThrowing(connection, 256);
      const broken = await open(before.lastEventId);
      expect(await broken.ended).toBe('aborted');
      handle = (connection) => connection.forApp.follow('a');
      const other = await open(before.lastEventId);
      await other.until(({ events }) => events.length === 300);
      await topics.publish('a', 301);
      await other.until(({ events }) => events.length === 301);
      await other.close();
      await broken.close();
    });
  });

  it('replays what was missed before anything live', async () => {
    handle = (connection) => connection.forApp.follow('a');
    const stream = await open();
    await stream.next();
    await topics.publish('a', 1);
    await stream.until(({ events }) => events.length === 2);
    await stream.close();
    await publishAll('a', 2, 50);
    const again = await open(stream.lastEventId);
    await topics.publish('a', 51);
    await again.until(({ events }) => events.length === 50);
    expect(summary(again)).toEqual(Array.from({ length: 50 }, (_, index) => `message ${index + 2}`));
    expect(topics.counts.ring).toBe(1);
    await again.close();
  });

  it('resumes a client that has seen the cursor alone', async () => {
    handle = (connection) => connection.forApp.follow('a');
    const stream = await open();
    await stream.next();
    await stream.close();
    await publishAll('a', 1, 3);
    const again = await open(stream.lastEventId);
    await again.until(({ events }) => events.length === 3);
    expect(summary(again)).toEqual(['message 1', 'message 2', 'message 3']);
    await again.close();
  });

  it('reads below the ring out of the log', async () => {
    await start({ ringEvents: 10 });
    handle = (connection) => connection.forApp.follow('a');
    const stream = await open();
    await stream.next();
    await stream.close();
    await publishAll('a', 1, 1_500);
    const again = await open(stream.lastEventId);
    await again.until(({ events }) => events.length === 1_500);
    expect(summary(again)).toEqual(Array.from({ length: 1_500 }, (_, index) => `message ${index + 1}`));
    expect(topics.counts.log).toBe(1);
    await again.close();
  });

  it.each([
    ['no position', () => 'abc', 'invalid'],
    ['another epoch', (id: string) => id.replace(/^[^-]+/, 'ffff'), 'epoch'],
    ['another nonce', (id: string) => id.replace(/-[^-]+$/, '-0000abcd'), 'diverged'],
  ])('says reset to an id of %s', async (_what, forge, reason) => {
    handle = (connection) => connection.forApp.follow('a');
    await publishAll('a', 1, 5);
    const id = await topics.publish('a', 6);
    await topics.publish('a', 7);
    const stream = await open(forge(id));
    await stream.next();
    expect(summary(stream)).toEqual([`reset {"reason":"${reason}"}`]);
    expect(stream.lastEventId).toBe(await topics.position());
    await topics.publish('a', 8);
    await stream.until(({ events }) => events.length === 2);
    expect(summary(stream)[1]).toBe('message 8');
    await stream.close();
  });

  it('says reset to a client whose place was trimmed', async () => {
    await start({ ringEvents: 2 }, { maxEvents: 5 });
    handle = (connection) => connection.forApp.follow('a');
    const id = await topics.publish('a', 0);
    await publishAll('a', 1, 20);
    const stream = await open(id);
    await stream.next();
    expect(summary(stream)).toEqual(['reset {"reason":"trimmed"}']);
    await stream.close();
  });

  it('says reset to a client that lags so far that the log has moved past it', async () => {
    await start({ ringEvents: 5 }, { maxEvents: 10 });
    handle = (connection) => connection.forApp.follow('a');
    const stream = await open();
    await stream.next();
    stream.pause();
    // More than the systems of both sides take.
    for (let n = 1; n <= 200; n += 1) {
      await topics.publish('a', `${n}: ${'x'.repeat(100_000)}`);
      await new Promise((resolve) => setImmediate(resolve));
    }
    stream.resume();
    await stream.until(({ events }) => events.some(({ type }) => type === 'reset'), { timeoutMs: 15_000 });
    await topics.publish('a', 'after');
    await stream.until(({ events }) => events.at(-1)?.data === 'after', { timeoutMs: 15_000 });

    const seen = stream.events.map(({ type, data, lastEventId }) =>
      type === 'message' ? data.split(':')[0] : `${type} ${data} ${lastEventId.split('-')[1]}`,
    );
    const before = seen.indexOf('reset {"reason":"trimmed"} 200');
    expect(before).toBeGreaterThan(1);
    expect(before).toBeLessThan(200);
    expect(seen).toEqual([
      'cursor {} 0',
      ...Array.from({ length: before - 1 }, (_, index) => `${index + 1}`),
      'reset {"reason":"trimmed"} 200',
      'after',
    ]);
    await stream.close();
  });

  it('says reset to an id that another event has below the ring', async () => {
    await start({ ringEvents: 2 });
    handle = (connection) => connection.forApp.follow('a');
    const id = await topics.publish('a', 0);
    await publishAll('a', 1, 20);
    const stream = await open(id.replace(/-[^-]+$/, '-0000abcd'));
    await stream.next();
    expect(summary(stream)).toEqual(['reset {"reason":"diverged"}']);
    await stream.close();
  });

  it('offers nothing more of a line that does not go on, and all of the one that does', async () => {
    await start();
    handle = (connection) => connection.forApp.follow('loud');
    const streams = await Promise.all(Array.from({ length: 30 }, () => open()));
    await Promise.all(streams.map((stream) => stream.next()));
    const record = (sequence: number) => ({
      topic: 'loud',
      data: 'x',
      isJson: false,
      sequence,
      nonce: '0000abcd',
      time: 0,
    });

    // More than is offered in one turn: the reset comes while most of it waits.
    void topics.tail.onRecords(Array.from({ length: 2_000 }, (_, index) => record(index + 1)));
    topics.tail.onReset({ epoch: topics.tail.epoch, sequence: 3, nonce: '0000beef' }, 'regressed');
    void topics.tail.onRecords([record(4)]);

    const sequenceOf = ({ lastEventId }: { lastEventId: string }) => Number(lastEventId.split('-')[1]);
    for (const stream of streams) {
      await stream.until(
        ({ events }) => events.some(({ type }) => type === 'reset') && sequenceOf(events.at(-1)!) === 4,
      );
      const from = stream.events.findIndex(({ type }) => type === 'reset');
      expect(
        stream.events.slice(from).map(({ type, lastEventId }) => `${type} ${sequenceOf({ lastEventId })}`),
      ).toEqual(['reset 3', 'message 4']);
      await stream.close();
    }
    expect(topics.offered).toBe(4);
  });

  it('warns of a log that has lost its place, with the reason, and not again for each loss of that kind', async () => {
    await start();
    const head = { epoch: topics.tail.epoch, sequence: 0, nonce: '00000000' };
    for (const reason of ['regressed', 'regressed', 'trimmed'] as const) {
      topics.tail.onReset(head, reason);
    }
    expect(warned).toEqual([
      'The log ends before what this process has read: it was set back, as by a failover or a restored backup. ' +
        'Clients that follow topics are reset (regressed), and load their state anew.',
      expect.stringContaining('raise its maxEvents or maxAgeMs'),
    ]);
    expect(topics.losses).toMatchObject({ regressed: 2, trimmed: 1 });
  });

  it('has its log wait with more while much of it is yet to be offered', async () => {
    await start();
    handle = (connection) => connection.forApp.follow('loud', { filter: () => false });
    const streams = await Promise.all(Array.from({ length: 30 }, () => open()));
    const first = topics.tail.last + 1;
    const record = (sequence: number) => ({
      sequence,
      topic: 'loud',
      nonce: sequence.toString(16).padStart(8, '0'),
      time: 0,
      data: '1',
      isJson: true,
    });
    const records = Array.from({ length: 2_000 }, (_, n) => record(first + n));

    expect(topics.tail.onRecords(records.slice(0, 1))).toBeUndefined();
    const held = topics.tail.onRecords(records.slice(1));
    expect(held).toBeInstanceOf(Promise);
    expect(topics.offered).toBeLessThan(first + 1_999);
    await held;
    expect(topics.offered).toBe(first + 1_999);
    expect(topics.tail.onRecords([record(first + 2_000)])).toBeUndefined();
    await Promise.all(streams.map((stream) => stream.close()));
  });

  it('gives nothing twice where the log is ahead of its tail', async () => {
    const held: (() => void)[] = [];
    let isHolding = false;
    const store = memory()();
    const follow = store.log.follow.bind(store.log);
    store.log.follow = (listener, options) =>
      follow(
        {
          onRecords: (records) =>
            isHolding ? void held.push(() => void listener.onRecords(records)) : listener.onRecords(records),
          onReset: (head, reason) => listener.onReset(head, reason),
        },
        options,
      );
    await start({ ringEvents: 5 }, {}, store);
    handle = (connection) => connection.forApp.follow('a');
    const id = await topics.publish('a', 0);
    await publishAll('a', 1, 100);
    await topics.publish('a', 101);
    await waitFor(() => topics.tail.last === 102);
    isHolding = true;
    await publishAll('a', 102, 110);

    const stream = await open(id);
    await stream.until(({ events }) => events.length >= 101);
    await waitFor(() => held.length > 0);
    isHolding = false;
    held.forEach((tell) => tell());
    await topics.publish('a', 'last');
    await stream.until(({ events }) => events.at(-1)?.data === 'last');

    const expected = Array.from({ length: 110 }, (_, index) => `message ${index + 1}`);
    expect(summary(stream)).toEqual([...expected, 'message last']);
    await stream.close();
  });

  it('names in a refreshed cursor only what has been offered', async () => {
    await start({ ringEvents: 20, maxPatterns: 2_000 });
    handle = (connection) => {
      connection.forApp.follow('quiet');
      // So many that the first events are offered in two turns, and others come in between.
      for (let times = 0; times < 1_000; times += 1) {
        connection.forApp.follow('loud', { filter: () => false });
      }
    };
    const stream = await open();
    await stream.next();
    const record = (sequence: number, topic: string) => ({
      topic,
      data: 'x',
      isJson: false,
      sequence,
      nonce: '0000abcd',
      time: 0,
    });
    void topics.tail.onRecords(Array.from({ length: 15 }, (_, index) => record(index + 1, 'loud')));
    void topics.tail.onRecords([record(16, 'quiet')]);

    await stream.until(({ events }) => events.some(({ type }) => type === 'message'));
    const sequences = stream.events.map(({ type, lastEventId }) => `${type} ${lastEventId.split('-')[1]}`);
    expect(sequences).toEqual(['cursor 0', 'cursor 15', 'message 16']);
    await stream.close();
  });

  it('sends a snapshot instead of the cursor, then what follows it, and none on an exact resume', async () => {
    let calls = 0;
    handle = (connection) =>
      connection.forApp.follow('a', {
        snapshot: async (at) => {
          calls += 1;
          await topics.publish('a', 'meanwhile');
          return { type: 'state', data: at };
        },
      });
    await topics.publish('a', 'before');
    const at = await topics.position();
    const stream = await open();
    await stream.until(({ events }) => events.length === 2);
    expect(summary(stream)).toEqual([`state ${at}`, 'message meanwhile']);
    expect(stream.events[0]!.id).toBe(at);
    await stream.close();
    await topics.publish('a', 'missed');
    const again = await open(stream.lastEventId);
    await again.until(({ events }) => events.length === 1);
    expect(summary(again)).toEqual(['message missed']);
    expect(calls).toBe(1);
    await again.close();
  });

  it('sends a state that knows its own place as of there, and nothing again that it holds', async () => {
    handle = (connection) =>
      connection.forApp.follow('a', {
        snapshot: async () => {
          await publishAll('a', 1, 2);
          return { type: 'state', data: '1 and 2', at: await topics.position() };
        },
      });
    const stream = await open();
    await stream.next();
    const own = topics.tail.position;
    await topics.publish('a', 3);
    await stream.until(({ events }) => events.at(-1)?.data === '3');
    expect(summary(stream)).toEqual(['state 1 and 2', 'message 3']);
    expect(stream.events[0]!.id).toBe(own);
    await stream.close();
  });

  it('sends several states as of the earliest of their places', async () => {
    const places: string[] = [];
    let hasPublished: Promise<void> | undefined;
    const publish = async () => {
      for (const n of [1, 2, 3]) {
        places[n] = await topics.publish('a', n);
      }
    };
    handle = (connection) => {
      for (const n of [3, 1, 2]) {
        connection.forApp.follow('a', {
          snapshot: async () => {
            hasPublished ??= publish();
            await hasPublished;
            return { type: 'state', data: n, at: places[n] };
          },
        });
      }
    };
    const stream = await open();
    await stream.until(({ events }) => events.length >= 5);
    expect(summary(stream)).toEqual(['state 3', 'state 1', 'state 2', 'message 2', 'message 3']);
    expect(stream.events.map(({ id }) => id)).toEqual([undefined, undefined, ...places.slice(1)]);
    await stream.close();
  });

  it('sends a state of a place that the log does not get to as of the one that it was asked for', async () => {
    handle = (connection) =>
      connection.forApp.follow('a', {
        snapshot: async (at) => ({ type: 'state', data: 'state', at: at.replace(/-0-.*/, '-9-0000abcd') }),
      });
    const stream = await open();
    const at = topics.tail.position;
    await topics.publish('a', 1);
    await stream.until(({ events }) => events.length === 2);
    expect(summary(stream)).toEqual(['state state', 'message 1']);
    expect(stream.events[0]!.id).toBe(at);
    await stream.close();
  });

  it('keeps nothing for a client that does not read, and gives it all when it reads again', async () => {
    await start({ ringEvents: 100 });
    let connection: EventStreamResponse | undefined;
    handle = (opened) => {
      connection = opened;
      opened.forApp.follow('a');
    };
    const stream = await open();
    await stream.next();
    stream.pause();
    const data = 'x'.repeat(10_000);
    for (let n = 0; n < 2_000; n += 1) {
      await topics.publish('a', { n, pad: data });
    }
    await waitFor(() => !connection!.output.keepsUp);
    stream.resume();
    await stream.until(({ events }) => events.length === 2_001, { timeoutMs: 20_000 });
    expect(stream.events.slice(1).map((event) => event.json<{ n: number }>().n)).toEqual(
      Array.from({ length: 2_000 }, (_, index) => index),
    );
    await stream.close();
  });

  it('replays from the log what the bytes of the ring do not hold', async () => {
    await start({ ringEvents: 1_000, ringBytes: 100_000 });
    handle = (connection) => connection.forApp.follow('a');
    const first = await topics.publish('a', 0);
    for (let n = 1; n <= 100; n += 1) {
      await topics.publish('a', { n, pad: 'x'.repeat(5_000) });
    }
    await waitFor(() => topics.tail.last === 101);
    expect(topics.tail.ring.last - topics.tail.ring.first).toBeLessThan(7);
    const stream = await open(first);
    await stream.until(({ events }) => events.length === 100);
    expect(stream.events.map((event) => event.json<{ n: number }>().n)).toEqual(
      Array.from({ length: 100 }, (_, index) => index + 1),
    );
    await stream.close();
  });

  it('is heard of while somebody publishes in a loop and awaits each', async () => {
    await start();
    let isOver = false;
    let turns = 0;
    const count = (): void => {
      turns += 1;
      if (!isOver) {
        setImmediate(count);
      }
    };
    setImmediate(count);
    for (let n = 0; n < 5_000; n += 1) {
      await topics.publish('a', n);
    }
    isOver = true;
    // Without a turn in between all of them would wait in memory for the end of the loop.
    expect(turns).toBeGreaterThanOrEqual(4);
    expect(topics.tail.last).toBeGreaterThanOrEqual(4_000);
  });

  it('makes no frames for a client before its socket takes them', async () => {
    await start({ ringEvents: 5 });
    let connection!: EventStreamResponse;
    handle = (opened) => {
      connection = opened;
      opened.forApp.follow('a', { from: 'earliest' });
    };
    const data = 'x'.repeat(100_000);
    for (let n = 0; n < 400; n += 1) {
      await topics.publish('a', data);
    }
    const before = process.memoryUsage().arrayBuffers;
    const stream = await open();
    stream.pause();
    await waitFor(() => !connection.output.keepsUp);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(10_000_000);
    await stream.close();
  });

  it('gives a client that lags the last of each key alone, where that is wanted', async () => {
    handle = (connection) =>
      connection.forApp.follow('a', { latest: ({ event }) => (event.data as { key: string }).key });
    const stream = await open();
    await stream.next();
    stream.pause();
    const data = 'x'.repeat(20_000);
    for (let n = 0; n < 1_000; n += 1) {
      await topics.publish('a', { key: `k${n % 3}`, n, pad: data });
    }
    stream.resume();
    await stream.until(({ events }) => events.at(-1)!.data.includes('"n":999,'), { timeoutMs: 20_000 });
    const numbers = stream.events.slice(1).map((event) => event.json<{ n: number }>().n);
    expect(numbers.length).toBeLessThan(900);
    expect(numbers.slice(-3)).toEqual([997, 998, 999]);
    expect(numbers).toEqual([...numbers].sort((a, b) => a - b));
    await stream.close();
  });

  it.each(['before it', 'after it'])(
    'gives a client that lags all of a pattern, where another, followed %s, wants the latest alone',
    async (order) => {
      let connection!: EventStreamResponse;
      handle = (opened) => {
        connection = opened;
        const follows = [
          () => opened.forApp.follow('a.*', { latest: () => 'key' }),
          () => opened.forApp.follow(['a.1', 'b']),
        ];
        for (const follow of order === 'before it' ? follows : follows.toReversed()) {
          follow();
        }
      };
      const stream = await open();
      await stream.next();
      stream.pause();
      await publishAll('a.2', 1, 3);
      for (let n = 0; n < 200; n += 1) {
        await topics.publish('b', 'x'.repeat(100_000));
      }
      await waitFor(() => !connection.output.keepsUp);
      await publishAll('a.1', 1, 3);
      await publishAll('a.2', 4, 6);
      stream.resume();
      await stream.until(({ events }) => events.at(-1)?.data === '6', { timeoutMs: 15_000 });
      const small = summary(stream).filter((text) => text.length < 100);
      expect(small).toEqual(['cursor {}', ...[1, 2, 3, 1, 2, 3, 6].map((n) => `message ${n}`)]);
      await stream.close();
    },
  );

  it('takes the same key of two patterns for two', async () => {
    handle = (connection) => {
      for (const pattern of ['orders.*', 'users.*']) {
        connection.forApp.follow(pattern, { latest: ({ event }) => (event.data as { id: string }).id });
      }
    };
    const id = await topics.publish('other', 0);
    for (const topic of ['orders.1', 'orders.2', 'users.1', 'users.2']) {
      await topics.publish(topic, { id: '42', topic });
    }
    const stream = await open(id);
    await stream.until(({ events }) => events.at(-1)?.data.includes('users.2') === true);
    expect(summary(stream)).toEqual([
      'message {"id":"42","topic":"orders.2"}',
      'message {"id":"42","topic":"users.2"}',
    ]);
    await stream.close();
  });

  it('gives a client that lags what is the last of its key for any of its patterns', async () => {
    handle = (connection) => {
      connection.forApp.follow('prices.*', { latest: ({ topic }) => topic });
      connection.forApp.follow('prices.*', {
        latest: ({ topic }) => topic,
        filter: ({ event }) => event.type === 'trade',
      });
    };
    const id = await topics.publish('other', 0);
    for (const [n, type] of ['trade', 'quote', 'trade', 'quote', 'quote'].entries()) {
      await topics.publish('prices.a', { type, data: n });
    }
    const stream = await open(id);
    await stream.until(({ events }) => events.at(-1)?.data === '4');
    expect(summary(stream)).toEqual(['trade 2', 'quote 4']);
    await stream.close();
  });

  it('gives a client that lags each event whose key cannot be told, and says so', async () => {
    const failure = new Error('latest');
    handle = (connection) =>
      connection.forApp.follow('a', {
        latest: ({ event }) => {
          if (event.data === 2) {
            throw failure;
          }
          return 'key';
        },
      });
    const id = await topics.publish('a', 0);
    await publishAll('a', 1, 4);
    const stream = await open(id);
    await stream.until(({ events }) => events.at(-1)?.data === '4');
    expect(summary(stream)).toEqual(['message 2', 'message 4']);
    expect(errors).toEqual([failure]);
    await stream.close();
  });

  it('puts what is sent after the frames that come before it', async () => {
    handle = (connection) => {
      connection.send('first');
      connection.forApp.follow('a');
      connection.send('second');
    };
    const stream = await open();
    await stream.until(({ events }) => events.length === 3);
    expect(summary(stream)).toEqual(['message first', 'cursor {}', 'message second']);
    await stream.close();
  });

  it('asks authorize and filter live and at replay, and withholds what they fail on', async () => {
    await start({ authorize: (topic) => topic !== 'a.secret' });
    handle = (connection) =>
      connection.forApp.follow('a.*', {
        filter: ({ event }) => {
          if (event.data === 3) {
            throw new Error('filter');
          }
          return event.data !== 2;
        },
      });
    const stream = await open();
    await stream.next();
    const publish = async () => {
      await publishAll('a.x', 1, 4);
      await topics.publish('a.secret', 5);
      await topics.publish('a.x', 6);
    };
    await publish();
    await stream.until(({ events }) => events.at(-1)?.data === '6');
    expect(summary(stream)).toEqual(['cursor {}', 'message 1', 'message 4', 'message 6']);
    await stream.close();
    await publish();
    const again = await open(stream.lastEventId);
    await again.until(({ events }) => events.at(-1)?.data === '6');
    expect(summary(again)).toEqual(['message 1', 'message 4', 'message 6']);
    expect(errors).toContainEqual(new Error('filter'));
    await again.close();
  });

  it.each([1, 2])(
    'writes nothing after the end of a stream that a check has ended, %i at once',
    async (count) => {
      const connections: EventStreamResponse[] = [];
      let asked = 0;
      await start({
        authorize: (_topic, connection) => {
          asked += connection === connections[1]?.forApp ? 1 : 0;
          if (asked === count) {
            connections[0]!.forApp.close();
          }
          return true;
        },
      });
      handle = (connection) => {
        connections.push(connection);
        connection.forApp.follow('a');
      };
      const { port } = server;
      const socket = connect(port, '127.0.0.1');
      let received = '';
      socket.setEncoding('utf8').on('data', (text: string) => (received += text));
      socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
      await waitFor(() => received.includes('cursor'));
      const other = await open();
      await other.next();

      await Promise.all(Array.from({ length: count }, (_, n) => topics.publish('a', n)));
      await other.take(count);
      await waitFor(() => received.includes('\r\n0\r\n\r\n'));
      await topics.publish('a', 'last');
      await other.next();
      expect(received.endsWith('\r\n0\r\n\r\n')).toBe(true);
      socket.destroy();
      await other.close();
    },
  );

  it('joins the frames of a turn, and says which topic in an envelope', async () => {
    handle = (connection) => connection.forApp.follow('a.>', { envelope: true });
    const stream = await open();
    await stream.next();
    const { direct } = registry.writeCounts;
    await Promise.all([
      topics.publish('a.1', { n: 1 }),
      topics.publish('a.2.x', 'text'),
      topics.publish('a.3', null),
    ]);
    await stream.until(({ events }) => events.length === 4);
    expect(registry.writeCounts.direct).toBe(direct + 1);
    expect(summary(stream).slice(1)).toEqual([
      'message {"topic":"a.1","data":{"n":1}}',
      'message {"topic":"a.2.x","data":"text"}',
      'message {"topic":"a.3","data":null}',
    ]);
    await stream.close();
  });

  it('tells a quiet client the place of the log before its own is trimmed', async () => {
    await start({ ringEvents: 20 }, { maxEvents: 40 });
    handle = (connection) => connection.forApp.follow('quiet');
    const stream = await open();
    await stream.next();
    await publishAll('loud', 1, 200);
    await stream.until(({ events }) => events.length >= 2);
    await stream.close();
    await publishAll('loud', 1, 5);
    await topics.publish('quiet', 'missed');
    const again = await open(stream.lastEventId);
    await again.until(({ events }) => events.length === 1);
    expect(summary(again)).toEqual(['message missed']);
    await again.close();
  });

  it('ends what is followed with unfollow(), and goes on with the rest', async () => {
    let unfollow = (): void => undefined;
    handle = (connection) => {
      const follow = connection.forApp.follow('a');
      unfollow = () => follow.unfollow();
      connection.forApp.follow('b');
    };
    const stream = await open();
    await stream.next();
    unfollow();
    await topics.publish('a', 1);
    await topics.publish('b', 2);
    await stream.until(({ events }) => events.length === 2);
    expect(summary(stream)).toEqual(['cursor {}', 'message 2']);
    await stream.close();
  });

  it('closes as slow who reads nothing for too long', async () => {
    await start({ maxLagMs: 100 });
    let connection: EventStreamResponse | undefined;
    handle = (opened) => {
      connection = opened;
      opened.forApp.follow('a');
    };
    const stream = await open();
    await stream.next();
    stream.pause();
    // More than the systems of both sides take.
    for (let n = 0; n < 200; n += 1) {
      await topics.publish('a', 'x'.repeat(100_000));
    }
    await waitFor(() => connection!.isClosed, { timeoutMs: 10_000 });
    expect(await connection!.closed).toBe('slow');
    await stream.close();
  });

  it('closes as slow who comes back and reads nothing of what it missed', async () => {
    await start({ maxLagMs: 100 });
    handle = (opened) => opened.forApp.follow('a');
    const before = await open();
    await before.next();
    await before.close();
    for (let n = 0; n < 200; n += 1) {
      await topics.publish('a', 'x'.repeat(100_000));
    }
    let connection: EventStreamResponse | undefined;
    let socket: Socket | undefined;
    handle = (opened, res) => {
      connection = opened;
      socket = res.socket!;
      opened.forApp.follow('a');
    };
    const { port } = server;
    // A client that has asked, and never reads at all.
    const client = connect(port, '127.0.0.1').pause();
    client.write(`GET / HTTP/1.1\r\nHost: x\r\nLast-Event-ID: ${before.lastEventId}\r\n\r\n`);
    await waitFor(() => connection?.isClosed, { timeoutMs: 10_000 });
    expect(await connection!.closed).toBe('slow');
    await waitFor(() => socket!.destroyed);
    client.destroy();
  });

  it('refuses what cannot be published, and publishes nothing of it', async () => {
    await expect(topics.publish('a.*', 1)).rejects.toThrow('wildcard');
    await expect(topics.publish('a', { data: 1, id: 'x' })).rejects.toThrow('"id" cannot be published');
    await expect(topics.publish('a', { data: 1, retry: 5 })).rejects.toThrow('"retry" cannot be published');
    expect(topics.tail.last).toBe(0);
  });

  it.each<[string, unknown, RegExp]>([
    [
      'a place that is none',
      { from: 'lastest' },
      /from of follow\(\) must be 'now', 'earliest', a position.*got "lastest"/,
    ],
    ['a time that is none', { from: { agoMs: '5' } }, /from of follow\(\)/],
    ['an option that there is not', { form: 'now' }, /follow\(\) has no option "form"/],
    ['a filter that is none', { filter: true }, /filter of follow\(\) must be a function/],
    [
      'a snapshot that is made already',
      { snapshot: { data: 1 } },
      /snapshot of follow\(\) must be a function/,
    ],
    ['a key in place of latest', { latest: 'id' }, /latest of follow\(\) must be a function/],
    ['an envelope that is none', { envelope: 'yes' }, /envelope of follow\(\) must be true or false/],
    ['options that are none', 'now', /options of follow\(\) are an object/],
  ])('refuses %s at the call', async (_what, options, message) => {
    const thrown: unknown[] = [];
    handle = (connection) => {
      try {
        connection.forApp.follow('a', options as never);
      } catch (error) {
        thrown.push(error);
      }
      connection.forApp.close();
    };
    await (await open()).close();
    expect(thrown).toEqual([expect.objectContaining({ code: 'options-invalid' })]);
    expect(String(thrown[0])).toMatch(message);
  });

  it('asks once about each event, also where a client that lags wants the latest of each key', async () => {
    const asked: string[] = [];
    handle = (connection) => {
      connection.forApp.follow('a', { latest: ({ topic }) => topic, filter: () => asked.push('first') > 0 });
      connection.forApp.follow('*', { latest: ({ topic }) => topic, filter: () => asked.push('second') > 0 });
    };
    const at = await topics.publish('a', 0);
    await publishAll('a', 1, 3);
    const stream = await open(at);
    await stream.next();
    expect(stream.events.map(({ data }) => data)).toEqual(['3']);
    expect(asked.filter((which) => which === 'first')).toHaveLength(3);
    expect(asked.filter((which) => which === 'second')).toHaveLength(3);
    await stream.close();
  });

  it('tells in a debug line, and by a count, of what authorize withholds', async () => {
    await topics.close();
    await start({ authorize: (topic) => topic === 'a' });
    handle = (connection) => connection.forApp.follow('>');
    const stream = await open();
    await stream.next();
    await publishAll('secret', 1, 5);
    await topics.publish('a', 'last');
    await stream.until(({ events }) => events.at(-1)!.data === 'last');
    expect(topics.counts.withheld).toBe(5);
    expect(debugged).toEqual(['authorize withheld an event of secret from a client.']);
    await stream.close();
  });

  it('refuses an id of the app while it follows', async () => {
    const thrown: unknown[] = [];
    handle = (connection) => {
      connection.forApp.follow('a');
      try {
        connection.send({ id: '5', data: 1 });
      } catch (error) {
        thrown.push(error);
      }
    };
    const stream = await open();
    await stream.next();
    expect(String(thrown[0])).toContain('"id" cannot be sent on a connection that follows');
    await stream.close();
  });

  it('says once of many clients that come back while the log is away that they could not be served', async () => {
    const log = new ScriptedLog();
    log.write(...Array.from({ length: 50 }, () => 'a'));
    const store = { ...memory()(), log, close: () => Promise.resolve() };
    await start({ ringEvents: 5 }, {}, store);
    handle = (connection) => connection.forApp.follow('a');
    log.failure = new Error('no log');
    const { nonce } = log.at(10);
    const streams = await Promise.all(Array.from({ length: 20 }, () => open(`${log.epoch}-10-${nonce}`)));
    await Promise.all(streams.map((stream) => stream.ended));
    expect(errors).toEqual([log.failure]);
    expect(streams.flatMap((stream) => stream.events)).toEqual([]);
    await Promise.all(streams.map((stream) => stream.close()));
  });

  it('closes also where the log cannot be reached, and says so', async () => {
    const log = new ScriptedLog();
    const store = { ...memory()(), log, close: () => Promise.resolve() };
    await start({}, {}, store);
    handle = (connection) => connection.forApp.follow('a');
    const stream = await open();
    await stream.next();
    log.failure = new Error('no log');
    await registry.drain(() => topics.drain());
    expect(await stream.ended).toBe('complete');
    expect(errors).toEqual([log.failure]);
    await stream.close();
  });
});
