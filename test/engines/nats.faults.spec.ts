import { describe, expect, it, jest } from '@jest/globals';
import type { JetStreamManager } from '@nats-io/jetstream';
import { headers } from '@nats-io/transport-node';
import { nats } from 'nestjs-event-stream/nats';
import type { NatsLogOptions } from 'nestjs-event-stream/nats';
import { waitFor } from 'nestjs-event-stream/testing';
import type { EventLog, EventLogStore } from '../../lib/log/index.js';
import { Ear } from './contract/ear.js';
import { startNats } from '../support/servers/nats-server.js';
import {
  afterTest,
  append,
  begin,
  closesAfterTest,
  connectTo,
  connectWithoutPurge,
  DEADLINE,
  follow,
  managerOf,
  open,
  proxyTo,
  record,
  startWithFiles,
  STREAM,
  untilReset,
} from './nats-stores.js';

// For tests that wait until requests have failed. Those that succeed have the time of a busy machine.
const IMPATIENT = { requestTimeoutMs: 1_000, publishTimeoutMs: 1_000 };
const FOREVER = { maxEvents: 1_000, ttlMs: 3_600_000 };

const dataOf = (ear: Ear) => ear.heard.map(({ data }) => Number(data));
const keptIn = async (log: EventLog) => (await log.page(1, 1_000)).records.map(({ data }) => Number(data));
const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, n) => from + n);
const untilHeard = (ear: Ear, data: number) => waitFor(() => dataOf(ear).includes(data), DEADLINE);
const untilState = (store: EventLogStore, state: string) =>
  waitFor(() => store.health.state === state, {
    ...DEADLINE,
    describe: () => `${state}: ${store.health.reason}`,
  });
const consumersOf = async (manager: JetStreamManager, stream = STREAM) =>
  manager.consumers.list(stream).next();

describe('nats(), when the server', () => {
  it('is killed and comes back with its files, has all that was acknowledged, and followers go on', async () => {
    const server = await startNats();
    const [store, peer] = await Promise.all([open(server.port), open(server.port)]);
    const ears = [await follow(store.log), await follow(peer.log)];
    await append(store.log, 1, 20);
    await server.kill();
    await untilState(store, 'down');
    const during = Promise.all([append(store.log, 21), append(peer.log, 21)]);
    await server.restart();
    await during;
    await append(store.log, 22, 25);
    for (const ear of ears) {
      await untilHeard(ear, 25);
      expect([dataOf(ear), ear.resets]).toEqual([[...range(1, 21), ...range(21, 25)], []]);
    }
    await untilState(store, 'ready');
    expect(store.health.reason).toBeUndefined();
    expect(await keptIn(peer.log)).toEqual(dataOf(ears[0]!));
  });

  it('is killed and kept its streams in memory, begins a new epoch and says so', async () => {
    const server = await startNats();
    const store = await open(server.port, { storage: 'memory' });
    const ear = await follow(store.log);
    await append(store.log, 1, 5);
    await ear.until(5);
    const { epoch } = await store.log.head();
    await server.restart();
    await untilReset(ear);
    expect(ear.reasons).toEqual(['epoch']);
    expect(ear.resets[0]).toMatchObject({ sequence: 0 });
    expect(ear.resets[0]!.epoch).not.toBe(epoch);
    const appended = await store.log.append([record(6)]);
    await untilHeard(ear, 6);
    expect([appended.epoch, appended.records[0]!.sequence]).toEqual([ear.resets[0]!.epoch, 1]);
  });

  it.each([
    ['fewer', 2, 'regressed'],
    ['as many', 4, 'diverged'],
    ['more', 9, 'diverged'],
  ])(
    'comes back with old files and got %s other events since, tells of it',
    async (_what, others, reason) => {
      const { server, keep, restore } = await startWithFiles();
      const proxy = await proxyTo(server);
      const store = await open(proxy.port);
      const ear = await follow(store.log);
      await append(store.log, 1, 5);
      await keep();
      await append(store.log, 6, 9);
      await ear.until(9);
      proxy.refuse();
      await restore();
      const other = await open(server.port);
      await append(other.log, 100, 99 + others);
      await proxy.accept();
      await untilReset(ear);
      expect(ear.reasons).toEqual([reason]);
      expect(ear.resets[0]!.sequence).toBe(5 + others);
      await append(store.log, 200, 201);
      await untilHeard(ear, 201);
      expect(dataOf(ear)).toEqual([...range(1, 9), 200, 201]);
    },
  );

  it.each([
    ['fewer', 2],
    ['more', 9],
  ])(
    'comes back with old files and got %s other events, has another epoch for everyone',
    async (_what, others) => {
      const { server, keep, restore } = await startWithFiles();
      const [store, peer] = await Promise.all([open(server.port), open(server.port)]);
      const ears = [await follow(store.log), await follow(peer.log)];
      await append(store.log, 1, 5);
      const { epoch } = await store.log.head();
      await keep();
      await append(store.log, 6, 9);
      await Promise.all(ears.map((ear) => ear.until(9)));
      await restore();
      await Promise.all(ears.map(untilReset));
      await append(store.log, 100, 99 + others);
      await Promise.all(ears.map((ear) => untilHeard(ear, 99 + others)));
      // A client that has seen event 5, and missed what is lost, must not go on there as if nothing had been.
      const heads = await Promise.all([store, peer, await open(server.port)].map(({ log }) => log.head()));
      expect(new Set(heads.map((head) => head.epoch)).size).toBe(1);
      expect(heads[0]!.epoch).not.toBe(epoch);
    },
  );

  it.each([
    ['a process that saw both', false],
    ['a process that came later, from what the stream says', true],
  ])('lost the log, and comes back with files from before that, is noticed by %s', async (_who, isLater) => {
    const { server, keep, restore } = await startWithFiles();
    const manager = await managerOf(server);
    const store = await open(server.port);
    const ear = await follow(store.log);
    await append(store.log, 1, 5);
    await ear.until(5);
    const first = (await store.log.head()).epoch;
    await keep();
    await waitFor(() => manager.streams.delete(STREAM).catch(() => false), DEADLINE);
    await untilReset(ear);
    await append(store.log, 6, 8);
    const second = (await store.log.head()).epoch;
    const other = isLater ? await open(server.port) : store;
    if (isLater) {
      await follow(other.log);
      await store.close();
    }
    await restore();
    const third = await waitFor(async () => {
      const { epoch } = await (await open(server.port)).log.head();
      return epoch !== first && epoch;
    }, DEADLINE);
    expect([first, second]).not.toContain(third);
    expect((await other.log.head()).epoch).toBe(third);
    expect(await keptIn(other.log)).toEqual(range(1, 5));
  });

  it('comes back from a copy, takes nothing more of the producer of a run whose events are gone', async () => {
    const { server, keep, restore } = await startWithFiles();
    const store = await open(server.port, { publishTimeoutMs: 1_000 });
    const lease = (await store.lease('run', { ttlMs: 60_000 }))!;
    const log = await store.open('run', { maxEvents: 100, ttlMs: 60_000, lease });
    await log.append([record(1), record(2)], { lease });
    await keep();
    await untilState(store, 'ready');
    await log.append([record(3)], { lease });
    await restore();
    // Otherwise a client that asks for all would get 1, 2, 4, as if that were the answer.
    await expect(log.append([record(4)], { lease })).rejects.toBeDefined();
    await untilState(store, 'ready');
    const kept = await store.find('run', { from: 1, limit: 10 });
    expect(kept?.page.records.map(({ data }) => data)).toEqual(['1', '2']);
    // The same process ends it where it is now: clients would wait for ever.
    await lease.release();
    const next = (await store.lease('run', { ttlMs: 60_000 }))!;
    const found = (await store.find('run', { from: 1, limit: 10 }))!;
    await found.log.append([record(5)], { lease: next });
    expect((await found.log.page(1, 10)).records.map(({ data }) => data)).toEqual(['1', '2', '5']);
  });

  it('is away, rejects what is published in time and says what it knows, and recovers', async () => {
    const server = await startNats();
    const store = await open(server.port, IMPATIENT);
    const ear = await follow(store.log);
    await append(store.log, 1, 3);
    const states: string[] = [];
    store.health.onChange(() => states.push(store.health.state));
    await server.kill();
    await untilState(store, 'down');
    const unpublished = { code: 'publish-failed', isOutcomeKnown: true };
    await expect(store.log.append([record('lost')])).rejects.toMatchObject(unpublished);
    await expect(store.log.append([record('lost'), record('too')])).rejects.toMatchObject(unpublished);
    const unavailable = { code: 'log-unavailable' };
    const asked = [
      store.log.page(1, 1),
      store.log.head(),
      store.log.follow(new Ear()),
      store.open('run', FOREVER),
      store.lease('run', FOREVER),
    ];
    for (const outcome of await Promise.allSettled(asked)) {
      expect(outcome).toMatchObject({ status: 'rejected', reason: unavailable });
    }
    await server.restart();
    await untilState(store, 'ready');
    await append(store.log, 4, 5);
    await untilHeard(ear, 5);
    expect([dataOf(ear), ear.resets]).toEqual([range(1, 5), []]);
    expect([states[0], states.at(-1)]).toEqual(['down', 'ready']);
  });

  it('stands still, rejects without knowing the outcome, says so, and recovers', async () => {
    const server = await startNats();
    const store = await open(server.port, IMPATIENT);
    const ear = await follow(store.log);
    await append(store.log, 1, 3);
    server.pause();
    // A signal takes its time: what is appended until then is taken.
    const outcome = () => store.log.append([record(4)]).then(Boolean, (error: unknown) => error);
    const failure = await waitFor(async () => {
      const came = await outcome();
      return came !== true && came;
    }, DEADLINE);
    expect(failure).toMatchObject({ code: 'publish-failed', isOutcomeKnown: false });
    expect(store.health.state).not.toBe('ready');
    await untilState(store, 'down');
    server.resume();
    await untilState(store, 'ready');
    await append(store.log, 5);
    await untilHeard(ear, 5);
    expect(ear.resets).toEqual([]);
    expect(dataOf(ear)).toEqual(await keptIn(store.log));
  });
});

describe('nats(), when the network', () => {
  it.each(['cut', 'black hole'] as const)(
    'loses the answer to a publish, has the event once: %s',
    async (then) => {
      const server = await startNats();
      const proxy = await proxyTo(server);
      const store = await open(proxy.port, { publishTimeoutMs: 3_000 });
      const ear = await follow(store.log);
      await append(store.log, 1, 3);
      const swallowed = proxy.swallowReply((request) => request.includes('.events.a'), then);
      const appending = store.log.append([record(4)]);
      await swallowed;
      if (then === 'black hole') {
        proxy.heal();
      }
      expect((await appending).records[0]!.sequence).toBe(4);
      await append(store.log, 5);
      await untilHeard(ear, 5);
      expect([dataOf(ear), ear.resets]).toEqual([range(1, 5), []]);
    },
  );

  it('loses the answer to an append to a named log, has its events once', async () => {
    const server = await startNats();
    const proxy = await proxyTo(server);
    const run = await (await open(proxy.port)).open('run', FOREVER);
    const ear = await follow(run);
    await append(run, 1, 3);
    const swallowed = proxy.swallowReply((request) => request.includes('.logs.run'));
    const appending = run.append([record(4), record(5)]);
    await swallowed;
    expect((await appending).records.map(({ sequence }) => sequence)).toEqual([4, 5]);
    await append(run, 6);
    await untilHeard(ear, 6);
    expect([dataOf(ear), ear.resets, await keptIn(run)]).toEqual([range(1, 6), [], range(1, 6)]);
  });

  it('is lost to a process whose clock goes back by an hour, is dialled again all the same', async () => {
    const server = await startNats();
    const proxy = await proxyTo(server);
    const store = await open(proxy.port);
    const other = await open(server.port);
    const ear = await follow(store.log);
    await append(other.log, 1, 3);
    await ear.until(3);
    const now = Date.now.bind(Date);
    const clock = jest.spyOn(Date, 'now').mockImplementation(() => now() - 3_600_000);
    try {
      proxy.refuse();
      proxy.drop();
      await untilState(store, 'down');
      await append(other.log, 4, 6);
      await proxy.accept();
      await untilState(store, 'ready');
      await untilHeard(ear, 6);
      expect([dataOf(ear), ear.resets]).toEqual([range(1, 6), []]);
    } finally {
      clock.mockRestore();
    }
  });

  it('takes bytes and passes none, is noticed, and what was missed is heard', async () => {
    const server = await startNats();
    const proxy = await proxyTo(server);
    const store = await open(proxy.port, IMPATIENT);
    const other = await open(server.port, IMPATIENT);
    const ear = await follow(store.log);
    await append(other.log, 1, 3);
    await ear.until(3);
    proxy.blackHole('to client');
    await append(other.log, 4, 6);
    await untilState(store, 'down');
    proxy.heal();
    await untilHeard(ear, 6);
    expect([dataOf(ear), ear.resets]).toEqual([range(1, 6), []]);
    await untilState(store, 'ready');
  });

  it('keeps a follower away until what it needs is trimmed, tells of the gap', async () => {
    const server = await startNats();
    const proxy = await proxyTo(server);
    const store = await open(proxy.port, { maxEvents: 10 });
    const other = await open(server.port, { maxEvents: 10 });
    const ear = await follow(store.log);
    await append(other.log, 1, 5);
    await ear.until(5);
    proxy.refuse();
    proxy.drop();
    await untilState(store, 'down');
    await append(other.log, 6, 40);
    await proxy.accept();
    await untilReset(ear);
    expect([ear.reasons, ear.resets[0]!.sequence]).toEqual([['trimmed'], 40]);
    expect(ear.resets[0]).toEqual(await other.log.head());
    await append(other.log, 41);
    await untilHeard(ear, 41);
    expect(dataOf(ear)).toEqual([...range(1, 5), 41]);
  });

  it('keeps a follower away until all that it needs is gone, tells of the gap before anything comes', async () => {
    const server = await startNats();
    const proxy = await proxyTo(server);
    const manager = await managerOf(server);
    const [store, other] = await Promise.all([open(proxy.port), open(server.port)]);
    const ear = await follow(store.log);
    await append(other.log, 1, 5);
    await ear.until(5);
    proxy.refuse();
    proxy.drop();
    await append(other.log, 6, 9);
    await manager.streams.purge(STREAM);
    await proxy.accept();
    await untilReset(ear);
    expect([ear.reasons, ear.resets[0]!.sequence]).toEqual([['trimmed'], 9]);
    await append(other.log, 10);
    await untilHeard(ear, 10);
  });

  it('keeps a follower away for less than that, leaves no gap', async () => {
    const server = await startNats();
    const proxy = await proxyTo(server);
    const store = await open(proxy.port, { maxEvents: 10 });
    const other = await open(server.port, { maxEvents: 10 });
    const ear = await follow(store.log);
    await append(other.log, 1, 5);
    await ear.until(5);
    proxy.refuse();
    proxy.drop();
    await untilState(store, 'down');
    // The last that was heard is trimmed, what comes after it is not.
    await append(other.log, 6, 15);
    await proxy.accept();
    await untilHeard(ear, 15);
    expect([dataOf(ear), ear.resets]).toEqual([range(1, 15), []]);
  });
});

describe('nats(), when somebody', () => {
  it('deletes the consumer, reads on with another', async () => {
    const server = await startNats();
    const manager = await managerOf(server);
    const store = await open(server.port);
    const ear = await follow(store.log);
    await append(store.log, 1, 3);
    await ear.until(3);
    const [consumer] = await consumersOf(manager);
    await manager.consumers.delete(STREAM, consumer!.name);
    await append(store.log, 4, 6);
    await untilHeard(ear, 6);
    expect([dataOf(ear), ear.resets]).toEqual([range(1, 6), []]);
    expect(await consumersOf(manager)).toHaveLength(1);
  });

  it('deletes the consumer and goes on with its heartbeats, finds itself deaf and reads on', async () => {
    const server = await startNats();
    const manager = await managerOf(server);
    const connection = await connectTo(server);
    const store = await open(server.port);
    const ear = await follow(store.log);
    await append(store.log, 1, 3);
    await ear.until(3);
    const [consumer] = await consumersOf(manager);
    await manager.consumers.delete(STREAM, consumer!.name);
    const beat = () =>
      connection.publish(consumer!.config.deliver_subject!, '', { headers: headers(100, 'Idle Heartbeat') });
    const beating = setInterval(beat, 100);
    afterTest(async () => clearInterval(beating));
    await append(store.log, 4, 6);
    await untilHeard(ear, 6);
    expect([dataOf(ear), ear.resets]).toEqual([range(1, 6), []]);
    await untilState(store, 'ready');
  });

  it('deletes the stream, makes another and says so', async () => {
    const server = await startNats();
    const manager = await managerOf(server);
    const store = await open(server.port);
    const ear = await follow(store.log);
    await append(store.log, 1, 5);
    await ear.until(5);
    await manager.streams.delete(STREAM);
    // Appends go on before anybody has looked.
    await append(store.log, 6, 8);
    await untilReset(ear);
    expect(ear.reasons).toEqual(['epoch']);
    await append(store.log, 9);
    await untilHeard(ear, 9);
    const after = dataOf(ear).slice(5);
    expect(after).toEqual(range(after[0]!, 9));
    expect(await keptIn(store.log)).toEqual(range(6, 9));
    expect((await store.log.head()).epoch).toBe(ear.resets[0]!.epoch);
  });

  it('deletes a single event before it was heard, tells of the gap', async () => {
    const server = await startNats();
    const proxy = await proxyTo(server);
    const manager = await managerOf(server);
    const [store, other] = await Promise.all([open(proxy.port), open(server.port)]);
    const ear = await follow(store.log);
    await append(other.log, 1, 3);
    await ear.until(3);
    proxy.refuse();
    proxy.drop();
    await append(other.log, 4, 9);
    await manager.streams.deleteMessage(STREAM, 6);
    await proxy.accept();
    await untilReset(ear);
    expect(ear.reasons).toEqual(['trimmed']);
    const { records, first } = await store.log.page(4, 10);
    expect([records.map(({ sequence }) => sequence), first]).toEqual([[4, 5], 1]);
    expect((await store.log.page(6, 10)).first).toBe(7);
  });

  it('purges the stream, keeps the head where it is', async () => {
    const server = await startNats();
    const manager = await managerOf(server);
    const store = await open(server.port);
    const ear = await follow(store.log);
    await append(store.log, 1, 5);
    await ear.until(5);
    const head = await store.log.head();
    await manager.streams.purge(STREAM);
    expect(await store.log.head()).toEqual(head);
    expect(await store.log.page(1, 10)).toEqual({ epoch: head.epoch, records: [], first: 6, head: 5 });
    await append(store.log, 6);
    await untilHeard(ear, 6);
    expect(ear.resets).toEqual([]);
    // Whoever comes later agrees on a head, whichever process is asked.
    await manager.streams.purge(STREAM);
    const [one, two] = await Promise.all([open(server.port), open(server.port)]);
    expect(await one.log.head()).toEqual(await two.log.head());
    expect(await one.log.follow(new Ear(), { recent: 10 })).toMatchObject({
      head: { sequence: 6 },
      recent: [],
    });
  });

  it('purges the stream while a page of it is read, gives the page that is left', async () => {
    const server = await startNats();
    const proxy = await proxyTo(server);
    const manager = await managerOf(server);
    const store = await open(proxy.port, { requestTimeoutMs: 2_000 });
    await append(store.log, 1, 5);
    proxy.delayMs = 100;
    const reading = store.log.page(1, 10);
    await waitFor(async () => (await consumersOf(manager)).length === 1, DEADLINE);
    await manager.streams.purge(STREAM);
    expect(await reading).toMatchObject({ records: [], first: 6, head: 5 });
  });

  it('publishes to the subjects by other means, has events of the log', async () => {
    const server = await startNats();
    const connection = await connectTo(server);
    const [store, peer] = await Promise.all([open(server.port), open(server.port)]);
    const ear = await follow(store.log);
    await connection.request('sse.topics.events.orders.42', '{"total":5}');
    await ear.until(1);
    const { records } = await peer.log.page(1, 10);
    expect(records).toEqual(ear.heard);
    expect(records).toEqual([
      {
        topic: 'orders.42',
        data: '{"total":5}',
        isJson: false,
        sequence: 1,
        nonce: expect.stringMatching(/^[0-9a-f]{8}$/),
        time: expect.any(Number),
      },
    ]);
  });

  it('deletes the stream, and makes one that is in its way, says what the new one is refused for', async () => {
    const server = await startNats();
    const manager = await managerOf(server);
    const store = await open(server.port, { publishTimeoutMs: 2_000 });
    await append(store.log, 1);
    await manager.streams.delete(STREAM);
    await manager.streams.add({ name: 'other', subjects: ['sse.topics.events.other'] });
    await expect(append(store.log, 2)).rejects.toMatchObject({ code: 'publish-failed' });
    await waitFor(() => store.health.reason?.includes('cannot be made again') === true, DEADLINE);
    expect(store.health.reason).toMatch(/subjects overlap/);
    await manager.streams.delete('other');
    await waitFor(
      () =>
        append(store.log, 3)
          .then(() => true)
          .catch(() => false),
      DEADLINE,
    );
    expect(store.health.state).toBe('ready');
  });

  it('deletes the streams of named logs and leases, begins other ones', async () => {
    const server = await startNats();
    const manager = await managerOf(server);
    const store = await open(server.port);
    const run = await store.open('run', FOREVER);
    const ear = await follow(run);
    await append(run, 1, 3);
    await ear.until(3);
    const { token } = (await store.lease('run', FOREVER))!;
    await manager.streams.delete(`${STREAM}-logs`);
    await manager.streams.delete(`${STREAM}-leases`);
    await untilReset(ear);
    expect(ear.reasons).toEqual(['epoch']);
    await expect(run.append([record(4)])).rejects.toMatchObject({ code: 'closed' });
    const again = await waitFor(() => store.open('run', FOREVER).catch(() => undefined), DEADLINE);
    const lease = await store.lease('run', FOREVER);
    expect(lease!.token).toBeGreaterThan(token);
    await again.append([record(1)], { lease: lease! });
    expect(await keptIn(again)).toEqual([1]);
  });
});

describe('nats(), when the copies of a stream have parted', () => {
  it('tells where an earlier event than the last is another, though the last is the same', async () => {
    const server = await startNats();
    const proxy = await proxyTo(server);
    const manager = await managerOf(server);
    const connection = await connectTo(server);
    const store = await open(proxy.port);
    const ear = await follow(store.log);
    await append(store.log, 1, 9);
    await ear.until(9);
    const { config } = await manager.streams.info(STREAM);
    const held = await Promise.all(range(1, 9).map((seq) => manager.streams.getMessage(STREAM, { seq })));
    proxy.refuse();
    proxy.drop();
    await untilState(store, 'down');
    // As another server of a cluster may have it.
    await manager.streams.delete(STREAM);
    await manager.streams.add(config);
    for (const message of held) {
      const given = headers();
      const [nonce, ...rest] = message!.header.get('Sse-Event').split(' ');
      given.set('Sse-Event', [message!.seq === 4 ? '0badcafe' : nonce, ...rest].join(' '));
      await connection.request(message!.subject, message!.data, { headers: given, timeout: 2_000 });
    }
    await proxy.accept();
    await untilReset(ear);
    expect(ear.reasons).toEqual(['diverged']);
    await append(store.log, 10);
    await untilHeard(ear, 10);
  });
});

describe('nats(), of named logs,', () => {
  it('goes on with them, and with their leases, after the server was killed', async () => {
    const server = await startNats();
    const [store, peer] = await Promise.all([open(server.port), open(server.port)]);
    const run = await store.open('run', FOREVER);
    const ear = await follow(await peer.open('run', FOREVER));
    const lease = (await store.lease('run', FOREVER))!;
    await run.append([record(1), record(2)], { lease });
    await server.kill();
    const during = run.append([record(3)], { lease });
    await server.restart();
    await during;
    await untilHeard(ear, 3);
    expect([dataOf(ear), ear.resets]).toEqual([range(1, 3), []]);
    expect(await peer.lease('run', FOREVER)).toBeUndefined();
    expect(await lease.renew()).toBe(true);
  });

  it('removes those that nobody has open any more', async () => {
    const server = await startNats();
    const manager = await managerOf(server);
    const store = await open(server.port);
    await append(await store.open('left', { maxEvents: 10, ttlMs: 100 }), 1, 5);
    await append(await store.open('kept', FOREVER), 1, 5);
    await store.close();
    const messagesOf = async (name: string) => {
      const { state } = await manager.streams.info(`${STREAM}-logs`, {
        subjects_filter: `sse.topics.logs.${name}`,
      });
      return state.subjects?.[`sse.topics.logs.${name}`] ?? 0;
    };
    expect([await messagesOf('left'), await messagesOf('kept')]).toEqual([6, 6]);
    await waitFor(async () => {
      const other = await open(server.port);
      await other.lease('any', FOREVER);
      await waitFor(async () => (await messagesOf('left')) === 0, { timeoutMs: 500 }).catch(() => undefined);
      await other.close();
      return (await messagesOf('left')) === 0;
    }, DEADLINE);
    expect(await messagesOf('kept')).toBe(6);
  });

  it('tells the last of one before its end, where another takes its place', async () => {
    const server = await startNats();
    const [store, peer] = await Promise.all([open(server.port), open(server.port)]);
    const told: string[] = [];
    let goOn: () => void = () => undefined;
    const busy = new Promise<void>((resolve) => (goOn = resolve));
    const old = await store.open('run', FOREVER);
    await old.follow({
      onRecords: (list) => {
        told.push(...list.map(({ data }) => data));
        return busy;
      },
      onReset: (_head, reason) => void told.push(reason),
    });
    await append(old, 1);
    await waitFor(() => told.length > 0, DEADLINE);
    await append(old, 2, 9);
    const lease = (await peer.lease('run', FOREVER))!;
    const run = await peer.open('run', { ...FOREVER, lease });
    await run.append([record('new')], { lease });
    // What was on its way to the busy one before that has come.
    const ear = await follow(store.log);
    await append(peer.log, 1);
    await ear.until(1);
    goOn();
    await waitFor(() => told.includes('epoch'), DEADLINE);
    expect(told).toEqual([...range(1, 9).map(String), 'epoch']);
  });

  it('frees what was in one when another takes its place', async () => {
    const server = await startNats();
    const manager = await managerOf(server);
    const store = await open(server.port);
    await append(await store.open('run', FOREVER), 1, 20);
    const lease = (await store.lease('run', FOREVER))!;
    await store.open('run', { ...FOREVER, lease });
    const messages = async () => (await manager.streams.info(`${STREAM}-logs`)).state.messages;
    await waitFor(async () => (await messages()) === 1, DEADLINE);
  });

  it('reads one alone also where what was there before cannot be freed', async () => {
    const store = closesAfterTest(nats({ connection: await connectWithoutPurge() })());
    await append(await store.open('run', FOREVER), 1, 20);
    const lease = (await store.lease('run', FOREVER))!;
    const run = await store.open('run', { ...FOREVER, lease });
    const empty = await store.find('run', { from: 1, limit: 10 });
    expect(empty!.page).toMatchObject({ records: [], first: 1, head: 0 });
    await append(run, 100, 102);
    const found = await store.find('run', { from: 1, limit: 10 });
    expect(found!.page).toMatchObject({ first: 1, head: 3 });
    expect([found!.page.records.length, await keptIn(run)]).toEqual([3, range(100, 102)]);
    const { recent } = await run.follow(new Ear(), { recent: 10 });
    expect(recent.map(({ data }) => Number(data))).toEqual(range(100, 102));
  });

  it('warns that what no reader needs cannot be deleted, once for all of it', async () => {
    const warnings: string[] = [];
    const engine = { maxEventBytes: Infinity, warn: (message: string) => void warnings.push(message) };
    const connection = await connectWithoutPurge();
    let refusals = 0;
    void (async () => {
      for await (const { type } of connection.status()) {
        refusals += type === 'error' ? 1 : 0;
      }
    })();
    const store = closesAfterTest(nats({ connection })(engine));
    await append(await store.open('run', { ...FOREVER, maxEvents: 8 }), 1, 40);
    await waitFor(() => refusals >= 10, DEADLINE);
    expect(warnings).toEqual([expect.stringContaining('"sse-topics-logs" could not be deleted: ')]);
  });

  it('has no older holder begin one anew where the stream of leases is gone', async () => {
    const server = await startNats();
    const manager = await managerOf(server);
    const store = await open(server.port);
    const run = await store.open('run', FOREVER);
    const old = (await store.lease('run', FOREVER))!;
    await old.release();
    const { signal } = (await store.lease('run', FOREVER))!;
    await manager.streams.delete(`${STREAM}-leases`);
    const opening = store.open('run', { ...FOREVER, lease: { ...old, token: old.token, signal } });
    await expect(opening).rejects.toMatchObject({ code: 'lease-lost' });
    await append(run, 1);
  });

  it('takes appends of several processes at once, in one order', async () => {
    const server = await startNats();
    const logs = await Promise.all(
      [await open(server.port), await open(server.port)].map((store) => store.open('run', FOREVER)),
    );
    const ear = await follow(logs[0]!);
    const batches = await Promise.all(
      range(1, 40).map(async (n) => (await logs[n % 2]!.append([record(n), record(n)])).records),
    );
    await ear.until(80);
    const { records } = await logs[1]!.page(1, 1_000);
    expect(records.map(({ sequence }) => sequence)).toEqual(range(1, 80));
    expect(batches.flat().sort((a, b) => a.sequence - b.sequence)).toEqual(records);
    expect(ear.heard).toEqual(records);
  });

  it('has an append of more than a message holds, and pages of it', async () => {
    const server = await startNats();
    const store = await open(server.port);
    const run = await store.open('run', FOREVER);
    const ear = await follow(run);
    const large = range(1, 5).map((n) => record(`${n}${'x'.repeat(400_000)}`));
    const { records } = await run.append(large);
    expect(records.map(({ sequence }) => sequence)).toEqual(range(1, 5));
    await ear.until(5);
    expect(ear.heard).toEqual(records);
    expect((await run.page(2, 3)).records).toEqual(records.slice(1, 4));
    const { head, recent } = await run.follow(new Ear(), { recent: 2 });
    expect([head.sequence, recent]).toEqual([5, records.slice(3)]);
  });
});

describe('nats(), at start,', () => {
  const refusalOf = async (port: number, options: NatsLogOptions) => {
    const store = begin(port, { startTimeoutMs: 20_000, ...options });
    const error: unknown = await store.log.follow(new Ear()).catch((reason: unknown) => reason);
    expect(store.health.state).toBe('down');
    return error as Error & { field?: string };
  };

  it('fails in time where there is no server, and says what to look at', async () => {
    const server = await startNats();
    await server.kill();
    const error = await refusalOf(server.port, { startTimeoutMs: 700 });
    expect(error).toMatchObject({
      code: 'log-unavailable',
      message: `NATS could not be used within startTimeoutMs (700) at start: Cannot reach NATS at 127.0.0.1:${server.port}: ECONNREFUSED`,
    });
  });

  it('waits for the server as long as it takes, where it is told to', async () => {
    const server = await startNats();
    await server.kill();
    const store = begin(server.port, { startTimeoutMs: Infinity, ...IMPATIENT });
    const following = follow(store.log);
    await expect(store.log.append([record(0)])).rejects.toMatchObject({
      code: 'publish-failed',
      isOutcomeKnown: true,
    });
    await server.restart();
    const ear = await following;
    await append(store.log, 1);
    await ear.until(1);
    expect(store.health.state).toBe('ready');
  });

  it('can be closed while it waits', async () => {
    const server = await startNats();
    await server.kill();
    const store = begin(server.port, { startTimeoutMs: Infinity });
    const following = store.log.follow(new Ear()).catch((reason: unknown) => reason);
    await store.close();
    expect(await following).toMatchObject({ code: 'closed' });
  });

  it('fails at once where the connection is closed', async () => {
    const server = await startNats();
    const connection = await connectTo(server);
    await connection.close();
    const store = nats({ connection })();
    const failed = { code: 'options-invalid', field: 'connection' };
    await expect(store.log.follow(new Ear())).rejects.toMatchObject(failed);
    await expect(store.log.append([record(1)])).rejects.toMatchObject({ ...failed, isOutcomeKnown: true });
  });

  it.each<[keyof NatsLogOptions, NatsLogOptions]>([
    ['maxEvents', { maxEvents: 51 }],
    ['maxBytes', { maxBytes: 1_000 }],
    ['maxAgeMs', { maxAgeMs: 1_000 }],
    ['storage', { storage: 'memory' }],
    ['replicas', { replicas: 3 }],
    ['publishTimeoutMs', { publishTimeoutMs: 60_000 }],
  ])('fails at once where the stream that is there contradicts %s', async (field, options) => {
    const server = await startNats();
    await open(server.port, { maxEvents: 50 });
    const error = await refusalOf(server.port, options);
    expect(error).toMatchObject({ code: 'options-invalid', field, message: expect.stringContaining(STREAM) });
    // What was not asked for may be as it is.
    expect((await (await open(server.port)).log.head()).sequence).toBe(0);
  });

  it('agrees on one stream where many start in the same moment', async () => {
    const server = await startNats();
    for (let round = 1; round <= 5; round += 1) {
      const stores = await Promise.all(range(1, 8).map(() => open(server.port, { log: `round-${round}` })));
      const heads = await Promise.all(stores.map(({ log }) => log.head()));
      expect(new Set(heads.map(({ epoch }) => epoch)).size).toBe(1);
      await Promise.all(stores.map((store) => store.open('run', FOREVER)));
    }
  });

  it('takes a stream that was made by other means, under one epoch for all', async () => {
    const server = await startNats();
    const manager = await managerOf(server);
    const made = { name: STREAM, subjects: ['sse.topics.events.>'], description: 'the events', max_msgs: 7 };
    await manager.streams.add(made);
    const store = await open(server.port);
    const { epoch } = await store.log.head();
    const ear = await follow(store.log);
    const [one, two] = await Promise.all([open(server.port), open(server.port)]);
    expect([(await one.log.head()).epoch, (await two.log.head()).epoch]).toEqual([epoch, epoch]);
    await append(one.log, 1, 3);
    await untilHeard(ear, 3);
    expect(ear.resets).toEqual([]);
    const { config } = await manager.streams.info(STREAM);
    expect([config.description, config.max_msgs]).toEqual([`the events (epoch ${epoch})`, 7]);
  });

  it('fails at once where the server cannot do what is asked', async () => {
    const server = await startNats();
    expect(await refusalOf(server.port, { replicas: 3 })).toMatchObject({
      code: 'options-invalid',
      field: 'replicas',
    });
  });

  it('fails at once where the subjects belong to another stream', async () => {
    const server = await startNats();
    const manager = await managerOf(server);
    await manager.streams.add({ name: 'all', subjects: ['sse.>'] });
    expect(await refusalOf(server.port, {})).toMatchObject({ code: 'options-invalid', field: 'prefix' });
  });
});

describe('nats()', () => {
  it('refuses an event that the server would not take, and more than may wait', async () => {
    const server = await startNats();
    const store = await open(server.port, { maxPendingBytes: 3_000 });
    await store.log.head();
    const refused = { code: 'publish-failed', isOutcomeKnown: true };
    await expect(store.log.append([record('x'.repeat(2_000_000))])).rejects.toMatchObject({
      ...refused,
      message: expect.stringContaining('max_payload'),
    });
    const appends = range(1, 4).map(() => store.log.append([record('x'.repeat(1_000))]));
    await expect(appends[3]).rejects.toMatchObject({
      ...refused,
      message: expect.stringContaining('maxPendingBytes'),
    });
    await Promise.allSettled(appends);
    await append(store.log, 1);
  });

  it('reads no further than its listeners do', async () => {
    const server = await startNats();
    const manager = await managerOf(server);
    const [store, other] = await Promise.all([open(server.port), open(server.port)]);
    const ear = new Ear();
    let goOn: () => void = () => undefined;
    const busy = new Promise<void>((resolve) => (goOn = resolve));
    await store.log.follow({
      onRecords: (list) => {
        ear.onRecords(list);
        return busy;
      },
      onReset: () => undefined,
    });
    await waitFor(async () => (await consumersOf(manager)).length === 1, DEADLINE);
    const large = 'x'.repeat(900_000);
    for (let n = 1; n <= 20; n += 1) {
      await other.log.append([record(large)]);
    }
    const [consumer] = await consumersOf(manager);
    expect(consumer!.num_pending).toBeGreaterThan(5);
    expect(ear.calls).toBe(1);
    goOn();
    await ear.until(20);
    expect(ear.heard.map(({ sequence }) => sequence)).toEqual(range(1, 20));
  });

  it('keeps events for maxAgeMs, and the head where it is', async () => {
    const server = await startNats();
    const store = await open(server.port, { maxAgeMs: 300 });
    const ear = await follow(store.log);
    await append(store.log, 1, 3);
    await ear.until(3);
    const head = await store.log.head();
    await waitFor(async () => (await keptIn(store.log)).length === 0, DEADLINE);
    expect(await store.log.head()).toEqual(head);
    await append(store.log, 4);
    await untilHeard(ear, 4);
    expect([dataOf(ear), ear.resets]).toEqual([range(1, 4), []]);
  });

  it('leaves no consumer, and nothing on the app’s connection, when it is closed', async () => {
    const server = await startNats();
    const manager = await managerOf(server);
    const connection = await connectTo(server);
    const stores = [nats({ connection })(), await open(server.port)];
    for (const store of stores) {
      await follow(store.log);
      await follow(await store.open('run', FOREVER));
    }
    await waitFor(async () => (await consumersOf(manager)).length === 2, DEADLINE);
    await Promise.all(stores.map((store) => store.close()));
    expect(connection.isClosed()).toBe(false);
    expect([await consumersOf(manager), await consumersOf(manager, `${STREAM}-logs`)]).toEqual([[], []]);
  });
});
