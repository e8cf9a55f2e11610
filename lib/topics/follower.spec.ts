import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { waitFor } from 'nestjs-event-stream/testing';
import type { SseTestStream } from 'nestjs-event-stream/testing';
import {
  CONNECTION_SETTINGS,
  createRegistry,
  SILENT,
  StreamServer,
  TOPIC_SETTINGS,
} from '../../test/support/apps/stream-server.js';
import { ScriptedLog } from '../../test/support/apps/scripted-log.js';
import { ConnectionRegistry } from '../connection/index.js';
import { toPlatform } from '../http/index.js';
import type { SnapshotEvent, EventStreamResponse } from '../connection/index.js';
import { HealthState } from '../engines/index.js';
import { DEFAULT_LIMITS, Limits } from '../limits/index.js';
import type { EventLogStore, LossReason } from '../log/index.js';
import { formatPosition } from '../wire/index.js';
import { Topics } from './topics.js';

const topicsOf = (count: number) => Array.from({ length: count }, (_, n) => `t.${n % 3}`);
const KEYS = ['ada'];
const turn = () => new Promise((resolve) => setImmediate(resolve));

/** Followers of a log that is elsewhere: its answers take their time, and it may be replaced meanwhile. */
describe('Follower', () => {
  let server: StreamServer;
  let log: ScriptedLog;
  let limits: Limits;
  let topics: Topics;
  let registry: ConnectionRegistry;
  let handle: (connection: EventStreamResponse) => unknown;

  beforeEach(async () => {
    log = new ScriptedLog();
    log.write(...topicsOf(50));
    const store: EventLogStore = {
      isShared: false,
      health: new HealthState('ready'),
      log,
      open: () => Promise.reject(new Error('There is one log.')),
      find: () => Promise.resolve(undefined),
      claim: () => Promise.resolve(false),
      lease: () => Promise.resolve(undefined),
      close: () => Promise.resolve(),
    };
    limits = new Limits({ ...DEFAULT_LIMITS, replayEventsPerKeyPerMinute: 1_000 }, SILENT);
    topics = new Topics(store, { ...TOPIC_SETTINGS, ringEvents: 10 }, SILENT, limits);
    await topics.start();
    registry = createRegistry({ following: topics });
    server = await StreamServer.listen((_req, res) => {
      const connection = registry.admit({
        platform: toPlatform(res),
        settings: CONNECTION_SETTINGS,
        finite: false,
        keys: KEYS,
      });
      connection.commit();
      handle(connection);
    });
  });

  afterEach(async () => {
    await server.close();
    await waitFor(() => registry.wheel.size === 0 && registry.size === 0 && topics.followers === 0);
    await topics.close();
  });

  const open = (lastEventId?: string): Promise<SseTestStream> => server.open({ lastEventId });
  const idOf = (sequence: number) =>
    formatPosition({ epoch: log.epoch, sequence, nonce: log.at(sequence).nonce });
  const summary = (stream: SseTestStream) => stream.events.map(({ type, data }) => `${type} ${data}`);
  const publish = (...names: string[]) => {
    log.write(...names);
    log.tell();
  };

  describe('where the log is replaced', () => {
    const held = [
      ['and answers of what it was', () => log.holdPages()],
      ['and answers of what it is now', () => log.hold()],
    ] as const;

    it.each(held)(
      'while a page is on its way, %s, says reset once and goes on from it',
      async (_how, hold) => {
        handle = (connection) => connection.forApp.follow('>');
        const id = idOf(5);
        const resuming = hold();
        const stream = await open(id);
        // The page that says that the id is one of the log.
        await waitFor(() => log.asked.length === 1);
        log.asked.length = 0;
        resuming();
        const release = hold();
        await waitFor(() => log.asked.length === 1);
        log.replace('two', topicsOf(30));
        const atReset = idOf(30);
        release();
        await stream.until(({ events }) => events.length > 0);
        await turn();
        publish('t.0', 't.1');
        await stream.until(({ events }) => events.at(-1)!.data === '32');
        expect(summary(stream)).toEqual(['reset {"reason":"epoch"}', 'message 31', 'message 32']);
        expect(stream.events.map(({ id: own }) => own)).toEqual([atReset, idOf(31), idOf(32)]);
        expect(topics.counts.resets.epoch).toBe(1);
        await stream.close();
      },
    );

    it.each(held)('while it looks for the id that a client brings, %s, says reset', async (_how, hold) => {
      handle = (connection) => connection.forApp.follow('>');
      const release = hold();
      const stream = await open(idOf(5));
      await waitFor(() => log.asked.length === 1);
      log.replace('two', topicsOf(30));
      release();
      await stream.next();
      publish('t.0');
      await stream.until(({ events }) => events.at(-1)!.data === '31');
      expect(summary(stream)).toEqual(['reset {"reason":"epoch"}', 'message 31']);
      await stream.close();
    });

    it.each(held)(
      'while it looks for the earliest event, %s, begins with that of the new one',
      async (_how, hold) => {
        handle = (connection) => connection.forApp.follow('>', { from: 'earliest' });
        log.trim(41);
        const release = hold();
        const stream = await open();
        await waitFor(() => log.asked.length === 1);
        log.replace('two', topicsOf(60));
        release();
        await stream.until(({ events }) => events.at(-1)?.data === '60');
        expect(summary(stream)).toEqual(Array.from({ length: 60 }, (_, n) => `message ${n + 1}`));
        await stream.close();
      },
    );

    it('while a state is read, sends one that is of the new log', async () => {
      const states: ((state: SnapshotEvent) => void)[] = [];
      const asked: string[] = [];
      handle = (connection) =>
        connection.forApp.follow('>', {
          snapshot: (at) => {
            asked.push(at);
            return new Promise((resolve) => states.push(resolve));
          },
        });
      const stream = await open();
      await waitFor(() => states.length === 1);
      log.replace('two', topicsOf(30));
      await waitFor(() => states.length === 2);
      states[0]!({ data: 'old' });
      await turn();
      states[1]!({ data: 'new' });
      await stream.next();
      publish('t.0');
      await stream.until(({ events }) => events.at(-1)!.data === '31');
      expect(summary(stream)).toEqual(['message new', 'message 31']);
      expect(asked).toEqual([expect.stringMatching(/^one-50-/), expect.stringMatching(/^two-30-/)]);
      expect(stream.events[0]!.id).toBe(asked[1]);
      await stream.close();
    });

    it('while the state of a pattern that came later is read, sends it once, as it is of the new log', async () => {
      const states: ((state: SnapshotEvent) => void)[] = [];
      let connection!: EventStreamResponse;
      handle = (opened) => {
        connection = opened;
        opened.forApp.follow('t.0');
      };
      const stream = await open();
      await stream.next();
      connection.forApp.follow('t.1', { snapshot: () => new Promise((resolve) => states.push(resolve)) });
      await waitFor(() => states.length === 1);
      log.replace('two', topicsOf(30));
      await waitFor(() => states.length === 2);
      states[0]!({ data: 'old' });
      await turn();
      states[1]!({ data: 'new' });
      publish('t.0', 't.1');
      await stream.until(({ events }) => events.at(-1)!.data === '32');
      expect(summary(stream)).toEqual(['cursor {}', 'message new', 'message 31', 'message 32']);
      expect(stream.events[1]!.id).toBe(idOf(30));
      await stream.close();
    });
  });

  it('goes on from page to page where each has one event beside its anchor', async () => {
    handle = (connection) => connection.forApp.follow('>');
    log.pageRecords = 2;
    const stream = await open(idOf(5));
    await stream.until(({ events }) => events.at(-1)?.data === '50');
    publish('t.0');
    await stream.until(({ events }) => events.at(-1)!.data === '51');
    expect(summary(stream)).toEqual(Array.from({ length: 46 }, (_, n) => `message ${n + 6}`));
    await stream.close();
  });

  /** A client that has missed more than the ring holds, whose next page is on its way. */
  const catchUp = async () => {
    handle = (connection) => connection.forApp.follow('>');
    const looking = log.hold();
    const stream = await open(idOf(5));
    await waitFor(() => log.asked.length === 1);
    log.asked.length = 0;
    looking();
    const release = log.hold();
    await waitFor(() => log.asked.length === 1);
    return { stream, release };
  };

  it.each<[LossReason, string, () => void]>([
    ['epoch', 'is another one', () => log.replace('two', topicsOf(60), { silently: true })],
    ['regressed', 'has lost the next events', () => log.replace('one', topicsOf(5), { silently: true })],
    ['trimmed', 'has forgotten them', () => log.trim(20)],
  ])('says reset %s where the log %s, and its tail has not heard of it', async (reason, _what, happen) => {
    const { stream, release } = await catchUp();
    happen();
    release();
    await stream.until(({ events }) => events.length > 0);
    expect(summary(stream)).toEqual([`reset {"reason":"${reason}"}`]);
    expect(log.asked).toHaveLength(1);
    await stream.close();
  });

  it('charges a key for no page that could not be read', async () => {
    const { stream, release } = await catchUp();
    log.failure = new Error('away');
    release();
    await stream.untilEnd();
    expect([limits.reserveReplay(KEYS, 999), limits.reserveReplay(KEYS, 1)]).toEqual([0, 0]);
  });

  it('charges a key for no page that its client did not wait for', async () => {
    handle = (connection) => connection.forApp.follow('>');
    // Of 1,000, which leaves a debt of 100.
    limits.reserveReplay(KEYS, 1_100);
    const stream = await open(idOf(5));
    await waitFor(() => limits.reached.replayEventsPerKeyPerMinute === 1);
    await stream.close();
    await waitFor(() => registry.size === 0);
    expect(limits.reserveReplay(KEYS, 0)).toBeLessThanOrEqual(6_060);
  });

  it('says reset trimmed where the log has lost what comes next from within', async () => {
    handle = (connection) => connection.forApp.follow('>');
    log.lose(20, 30);
    const stream = await open(idOf(5));
    await stream.until(({ events }) => events.at(-1)?.type === 'reset');
    const before = Array.from({ length: 14 }, (_, n) => `message ${n + 6}`);
    expect(summary(stream)).toEqual([...before, 'reset {"reason":"trimmed"}']);
    await stream.close();
  });

  describe.each<LossReason>(['epoch', 'diverged', 'regressed', 'trimmed'])(
    'where the log does not go on: %s',
    (reason) => {
      const lose = () => log.replace(reason === 'epoch' ? 'two' : 'one', topicsOf(60), { reason });

      it('says so to a client that is live, once, and goes on after the head', async () => {
        handle = (connection) => connection.forApp.follow('>');
        const stream = await open();
        await stream.next();
        lose();
        await stream.next();
        publish('t.0');
        await stream.until(({ events }) => events.at(-1)!.data === '61');
        expect(summary(stream)).toEqual(['cursor {}', `reset {"reason":"${reason}"}`, 'message 61']);
        expect(stream.events[1]!.id).toBe(idOf(60));
        expect(topics.counts.resets).toMatchObject({ [reason]: 1 });
        await stream.close();
      });

      it('says so to a client that catches up, once', async () => {
        const { stream, release } = await catchUp();
        lose();
        release();
        await stream.until(({ events }) => events.length > 0);
        publish('t.0');
        await stream.until(({ events }) => events.at(-1)!.data === '61');
        expect(summary(stream)).toEqual([`reset {"reason":"${reason}"}`, 'message 61']);
        expect(topics.counts.resets).toMatchObject({ [reason]: 1 });
        await stream.close();
      });

      it('sends a state in its place where there is one, and counts it', async () => {
        handle = (connection) =>
          connection.forApp.follow('>', { snapshot: (at) => ({ data: at.split('-', 2).join() }) });
        const stream = await open();
        await stream.next();
        lose();
        await stream.until(({ events }) => events.length === 2);
        expect(summary(stream)).toEqual(['message one,50', `message ${log.epoch},60`]);
        expect(topics.counts).toMatchObject({ snapshots: 2, resets: { [reason]: 1 } });
        await stream.close();
      });

      it.each(['now', 'earliest'] as const)(
        'is told to code on the server that follows from %s, and does not end it',
        async (from) => {
          const told: unknown[] = [];
          const release = log.hold();
          topics.events('>', { from, onGap: ({ reason: why }) => told.push(`gap ${why}`) }).subscribe({
            next: ({ position }) => told.push(Number(position.split('-')[1])),
            error: (error) => told.push(error),
            complete: () => told.push('complete'),
          });
          lose();
          release();
          await waitFor(() => told.length > 0);
          publish('t.0');
          await waitFor(() => told.at(-1) === 61);
          // What the log holds after a loss is new to it where it goes on past what was trimmed, or is another log.
          const first = reason === 'epoch' || (reason === 'trimmed' && from === 'earliest') ? 1 : 61;
          const given = reason === 'trimmed' && from === 'now' ? 51 : first;
          const all = Array.from({ length: 61 - given + 1 }, (_, n) => given + n);
          expect(told).toEqual([`gap ${reason}`, ...all]);
        },
      );
    },
  );

  it('sends each state before what follows it, however long another takes that was asked for later', async () => {
    const states: Record<string, (state: SnapshotEvent) => void> = {};
    let connection!: EventStreamResponse;
    handle = (opened) => {
      connection = opened;
      opened.forApp.follow('a');
    };
    const stream = await open();
    await stream.next();
    for (const name of ['slow', 'quick']) {
      connection.forApp.follow(name, {
        snapshot: () =>
          new Promise((resolve) => {
            states[name] = resolve;
          }),
      });
    }
    publish('a', 'slow', 'quick');
    states.quick!({ data: 'state of quick' });
    for (let n = 0; n < 5; n += 1) {
      await turn();
    }
    states.slow!({ data: 'state of slow' });
    await stream.until(({ events }) => events.length === 6 || events.at(-1)!.data === '53');
    publish('a');
    await stream.until(({ events }) => events.at(-1)!.data === '54');
    expect(summary(stream)).toEqual([
      'cursor {}',
      'message state of quick',
      'message state of slow',
      'message 51',
      'message 52',
      'message 53',
      'message 54',
    ]);
    await stream.close();
  });
});
