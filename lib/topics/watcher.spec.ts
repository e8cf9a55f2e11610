import { setImmediate as turn } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { waitFor } from 'nestjs-event-stream/testing';
import { lastValueFrom, toArray } from 'rxjs';
import { ScriptedLog } from '../../test/support/apps/scripted-log.js';
import { TOPIC_SETTINGS } from '../../test/support/apps/stream-server.js';
import { HealthState } from '../engines/index.js';
import type { EventLogStore } from '../log/index.js';
import { SseError } from '../errors/sse.error.js';
import { formatPosition } from '../wire/index.js';
import type { TopicEventsOptions } from './topic.options.js';
import { Topics } from './topics.js';

const topicsOf = (count: number) => Array.from({ length: count }, (_, n) => `t.${n % 3}`);
const from1To = (last: number, first = 1) => Array.from({ length: last - first + 1 }, (_, n) => first + n);

describe('Watcher', () => {
  let log: ScriptedLog;
  let topics: Topics;
  let logged: string[];

  beforeEach(async () => {
    log = new ScriptedLog();
    log.write(...topicsOf(50));
    logged = [];
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
    topics = new Topics(
      store,
      { ...TOPIC_SETTINGS, maxReplayEvents: 10, ringEvents: 10 },
      {
        warn: (message) => logged.push(`warn ${message}`),
        error: (message) => logged.push(`error ${message}`),
        debug: () => undefined,
      },
    );
    await topics.start();
  });

  afterEach(() => topics.close());

  /** What code on the server is told: sequences, gaps, how it ended. */
  const watch = (options: TopicEventsOptions, pattern = '>') => {
    const told: unknown[] = [];
    const subscription = topics.events(pattern, options).subscribe({
      next: ({ position }) => told.push(Number(position.split('-')[1])),
      error: (error: SseError) => told.push(error.code),
      complete: () => told.push('complete'),
    });
    return { told, subscription };
  };
  const positionOf = (sequence: number) => formatPosition({ ...log.at(sequence), epoch: log.epoch });
  const publish = (...names: string[]) => {
    log.write(...names);
    log.tell();
  };

  it('reads what there is, and completes: all of it, from a place on, to a place', async () => {
    const reads = [
      watch({ to: 'head' }),
      watch({ from: 'earliest', to: 'head' }, 't.1'),
      watch({ from: positionOf(45), to: 'head' }),
      watch({ from: positionOf(3), to: positionOf(7) }),
      watch({ from: positionOf(7), to: positionOf(3) }),
      watch({ from: 'now', to: 'head' }),
      watch({ to: 'two-5-00000000' }),
      watch({ to: 'head' }, 'nothing'),
    ];
    await waitFor(() => reads.every(({ told }) => told.at(-1) === 'complete'));

    expect(reads.map(({ told }) => told.slice(0, -1))).toEqual([
      from1To(50),
      from1To(50).filter((n) => n % 3 === 2),
      from1To(50, 46),
      from1To(7, 4),
      [],
      [],
      from1To(50),
      [],
    ]);
  });

  it('reads what the log has taken and its tail has not brought yet', async () => {
    log.write(...topicsOf(5));
    const { told } = watch({ to: 'head', from: positionOf(50) });
    await turn();
    expect(told).toEqual([]);
    log.tell();
    await waitFor(() => told.at(-1) === 'complete');
    expect(told).toEqual([...from1To(55, 51), 'complete']);
  });

  it('does not end where the log cannot be read, and goes on when it can', async () => {
    log.failure = new SseError('log-unavailable', 'away');
    const { told } = watch({ from: 'earliest' });
    await waitFor(() => logged.length > 0);
    expect(told).toEqual([]);
    log.failure = undefined;
    await waitFor(() => told.length === 50);
    publish('t.0');
    expect(told).toEqual(from1To(51));
    expect(logged).toEqual([expect.stringMatching(/^error The log cannot be read/)]);
  });

  it('fails where it has an end and the log cannot be read: it is waited for', async () => {
    log.failure = new SseError('log-unavailable', 'away');
    const reading = lastValueFrom(topics.events('>', { to: 'head' }).pipe(toArray()));
    await expect(reading).rejects.toMatchObject({ code: 'log-unavailable' });
  });

  it('passes over what the log has lost from within, says so, and gives nothing twice', async () => {
    log.lose(20, 30);
    const gaps: unknown[] = [];
    const { told } = watch({ from: 'earliest', onGap: (gap) => gaps.push(gap, told.at(-1)) });
    await waitFor(() => told.at(-1) === 50);
    expect(told).toEqual([...from1To(19), ...from1To(50, 31)]);
    expect(gaps).toEqual([{ reason: 'trimmed' }, 19]);
  });

  it('goes on from what is left where its place was trimmed', async () => {
    const from = positionOf(5);
    log.trim(30);
    const { told } = watch({ from, to: 'head' });
    await waitFor(() => told.at(-1) === 'complete');
    expect(told).toEqual([...from1To(50, 30), 'complete']);
    expect(logged).toEqual([expect.stringMatching(/^warn .*\(trimmed\)/)]);
  });

  it('waits for its tail where the log is another one already', async () => {
    const release = log.hold();
    const gaps: unknown[] = [];
    const { told } = watch({ from: 'earliest', onGap: ({ reason }) => gaps.push(reason) });
    log.replace('two', topicsOf(20), { silently: true });
    release();
    await waitFor(() => log.asked.length > 1);
    const asked = log.asked.length;
    expect(told).toEqual([]);
    log.replace('two', topicsOf(20));
    await waitFor(() => told.length === 20);
    expect(told).toEqual(from1To(20));
    expect(gaps).toEqual(['epoch']);
    // It did not ask again and again meanwhile.
    expect(log.asked.length - asked).toBeLessThan(5);
  });

  it('logs a gap, once for many, if it is not told of it; and what its onGap throws', async () => {
    const watchers = [
      watch({}),
      watch({}),
      watch({
        onGap: () => {
          throw new Error('own');
        },
      }),
    ];
    log.replace('two', topicsOf(3));
    await waitFor(() => watchers.every(({ told }) => told.length === 3));
    publish('t.0');
    expect(watchers.map(({ told }) => told)).toEqual([from1To(4), from1To(4), from1To(4)]);
    expect(logged).toEqual([
      expect.stringMatching(/^warn The log was replaced by another one/),
      expect.stringMatching(/^warn Code on the server that follows > misses events .*\(epoch\)/),
      expect.stringMatching(/^error An onGap of events\(\) threw/),
    ]);
  });

  it('completes as the app closes, and says closed where it has not come to its end', async () => {
    const release = log.hold();
    const live = watch({});
    const reading = watch({ to: 'head' });
    await topics.close();
    release();
    expect(live.told).toEqual(['complete']);
    expect(reading.told).toEqual(['closed']);
    expect(watch({}).told).toEqual(['complete']);
    expect(watch({ to: 'head' }).told).toEqual(['closed']);
  });

  it('stops where nobody subscribes any more, also while it waits for the log', async () => {
    log.failure = new SseError('log-unavailable', 'away');
    const { told, subscription } = watch({ from: 'earliest' });
    await waitFor(() => logged.length > 0);
    const { length } = log.asked;
    subscription.unsubscribe();
    log.failure = undefined;
    publish('t.0');
    expect(told).toEqual([]);
    expect(log.asked).toHaveLength(length);
  });

  it.each<[string, unknown, RegExp]>([
    [
      'a word that is none',
      { from: 'lastest' },
      /from of events\(\) must be 'now', 'earliest', a position.*got "lastest"/,
    ],
    ['an id of one’s own', { from: '17' }, /from of events/],
    ['a time that is none', { from: { agoMs: -1 } }, /from of events/],
    ['an empty object', { from: {} }, /from of events/],
    ['null', { from: null }, /from of events/],
    ['an end that is none', { to: 'tail' }, /to of events\(\) must be 'head' or a position/],
    ['an onGap that is none', { onGap: true }, /onGap of events\(\) must be a function/],
    ['an unknown option', { form: 'now' }, /events\(\) has no option "form"/],
  ])('refuses %s at the call', (_what, options, message) => {
    expect(() => topics.events('>', options as never)).toThrow(message);
  });
});
