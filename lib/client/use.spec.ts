import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { ScriptedFetch, ScriptedStream, settled } from '../../test/support/clients/scripted-fetch.js';
import { defineTopic, SseClient } from './index.js';
import type { ClientFollowOptions, Feed } from './index.js';

const ID = (n: number) => `e-${n}-00000000`;
const event = (n: number, topic = 'a.1') => `data: {"topic":"${topic}","data":${n}}\nid: ${ID(n)}\n\n`;
const CURSOR = `event: cursor\ndata: {"snapshots":0}\nid: ${ID(0)}\n\n`;

/** A promise, and what settles it. */
const pending = <T>() => {
  let settle!: (value: T) => void;
  const promise = new Promise<T>((resolve) => {
    settle = resolve;
  });
  return { promise, settle };
};

describe('a feed that goes on to follow more', () => {
  let scripted: ScriptedFetch;
  let streams: ScriptedStream[];
  let feed: Feed;
  let log: unknown[];

  beforeEach(() => {
    jest.useFakeTimers({ doNotFake: ['queueMicrotask', 'nextTick', 'setImmediate'] });
    scripted = new ScriptedFetch();
    streams = Array.from({ length: 4 }, () => new ScriptedStream());
    scripted.answer(...streams.map(({ response }) => response));
    log = [];
  });
  afterEach(async () => {
    feed.close();
    await settled();
    expect(jest.getTimerCount()).toBe(0);
    jest.useRealTimers();
  });

  const follow = async (options: ClientFollowOptions = {}) => {
    const client = new SseClient({ baseUrl: 'http://host/', fetch: scripted.fetch });
    feed = client.follow('/feed', undefined, {
      envelope: true,
      onState: (state, { isAdded }) => log.push(isAdded ? { added: state } : { state }),
      ...options,
    });
    feed.on('message', (data) => log.push(data));
    await settled();
  };
  const asked = () => scripted.requests.map(({ url }) => url.replace('http://host', ''));

  it('names what is new, though more events came with the one that asked for it', async () => {
    await follow();
    feed.on('message', (data) => data === 1 && feed.use('/more', { added: 'b.*' }));
    streams[0]!.write(event(1) + event(2));
    await settled();
    expect(asked()).toEqual(['/feed', '/more?addedTopics=b.*']);
    expect(scripted.requests[1]!.headers.get('last-event-id')).toBe(ID(1));
    streams[1]!.write(event(2));
    await settled();
    expect(log).toEqual([1, 2]);
  });

  it('names what is new, though more events had waited with the one that asked for it', async () => {
    const state = pending<string>();
    await follow({ state: () => state.promise });
    feed.on('message', (data) => data === 1 && feed.use('/more', { added: 'b.*' }));
    streams[0]!.write(CURSOR + event(1) + event(2));
    await settled();
    state.settle('all');
    await settled();
    expect(asked()).toEqual(['/feed', '/more?addedTopics=b.*']);
    expect(log).toEqual([{ state: 'all' }, 1, 2]);
  });

  it('reads the state again that was being read when more was followed', async () => {
    const reads: ((value: string) => void)[] = [];
    await follow({ state: () => new Promise<string>((resolve) => reads.push(resolve)) });
    streams[0]!.write(CURSOR + event(1));
    await settled();
    feed.use('/more', { added: 'b.*', state: () => Promise.reject(new Error('Not to be asked.')) });
    reads[0]!('without b');
    await settled();
    expect(reads).toHaveLength(2);
    reads[1]!('with b');
    streams[1]!.write(event(2, 'b.1'));
    await settled();
    expect(log).toEqual([{ state: 'with b' }, 2]);
  });

  it('goes on though what waits for a state is more than it holds', async () => {
    await follow({ state: () => new Promise(() => undefined) });
    streams[0]!.write(CURSOR);
    for (let n = 1; n <= 1_100; n += 100) {
      streams[0]!.write(Array.from({ length: 100 }, (_, i) => event(n + i)).join(''));
      await settled();
    }
    feed.use('/more', { added: 'b.*' });
    await settled();
    expect(asked()).toHaveLength(2);
  });

  it('goes on though a loop has not read what waits for it', async () => {
    await follow();
    void feed[Symbol.asyncIterator]().next();
    for (let n = 1; n <= 1_200; n += 100) {
      streams[0]!.write(Array.from({ length: 100 }, (_, i) => event(n + i)).join(''));
      await settled();
    }
    feed.use('/more');
    await settled();
    expect(asked()).toHaveLength(2);
  });

  it('reads the states of all that was added, though the first comes before the second is followed', async () => {
    await follow();
    streams[0]!.write(event(1));
    await settled();
    const first = pending<{ data: string; at: string }>();
    feed.use('/more', { added: 'b.*', state: () => first.promise });
    await settled();
    feed.use('/most', { added: 'c.*', state: async () => ({ data: 'c', at: ID(4) }) });
    first.settle({ data: 'b', at: ID(2) });
    await settled();
    expect(log).toEqual([1, { added: 'b' }, { added: 'c' }]);
  });

  it('leaves out the events that are in a state of their own topic, and no others', async () => {
    await follow();
    streams[0]!.write(event(1));
    await settled();
    feed.use('/more', { added: 'b.*', state: async () => ({ data: 'b', at: ID(2) }) });
    feed.use('/most', { added: 'c.*', state: async () => ({ data: 'c', at: ID(4) }) });
    await settled();
    streams[1]!.write(
      [event(2, 'b.1'), event(3, 'b.1'), event(4, 'c.1'), event(5, 'c.1'), event(6)].join(''),
    );
    await settled();
    expect(log).toEqual([1, { added: 'b' }, { added: 'c' }, 3, 5, 6]);
  });

  it('leaves out what its first state holds, also after more was added', async () => {
    await follow({ state: async () => ({ data: 'all', at: ID(3) }) });
    streams[0]!.write(CURSOR);
    await settled();
    feed.use('/more', { added: 'b.*', state: async () => ({ data: 'b', at: ID(3) }) });
    await settled();
    streams[1]!.write(event(1) + event(2, 'b.1') + event(3) + event(4));
    await settled();
    expect(log).toEqual([{ state: 'all' }, { added: 'b' }, 4]);
  });

  it('names the topic of an event only as long as one topic alone is followed', async () => {
    const client = new SseClient({ baseUrl: 'http://host/', fetch: scripted.fetch });
    feed = client.follow('/feed', defineTopic<Record<string, unknown>>('a'));
    feed.on('message', (_data, { topic }) => log.push(topic));
    await settled();
    streams[0]!.write(`data: 1\nid: ${ID(1)}\n\n`);
    await settled();
    feed.use('/more', { added: 'b' });
    await settled();
    streams[1]!.write(`data: 2\nid: ${ID(2)}\n\n`);
    await settled();
    expect(log).toEqual(['a', undefined]);
  });

  it('reads the state of what is new once the place is known, if it was not before', async () => {
    await follow();
    feed.use('/more', { added: 'b.*', state: async () => 'b' });
    await settled();
    streams[1]!.write(CURSOR + event(1, 'b.1'));
    await settled();
    expect(log).toEqual([{ added: 'b' }, 1]);
  });
});
