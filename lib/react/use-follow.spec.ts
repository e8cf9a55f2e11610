/** @jest-environment ./test/support/page.environment.mjs */
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Component, createElement, Fragment, Suspense } from 'react';
import type { ReactNode } from 'react';
import { renderToString } from 'react-dom/server';
import { ReactPage } from '../../test/support/apps/react-page.js';
import { settled } from '../../test/support/clients/scripted-fetch.js';
import type { ScriptedStream } from '../../test/support/clients/scripted-fetch.js';
import { defineTopic, SseClient } from '../client/index.js';
import type { ClientTopics } from '../client/index.js';
import { useFollow } from './index.js';
import type { UseFollowOptions, UseFollowResult } from './index.js';

interface Numbers {
  message: number;
}
type Result = UseFollowResult<Numbers, number[] | undefined>;
type Options = UseFollowOptions<Numbers, number[], number[]>;

const numbers = defineTopic<Numbers>('numbers.*');
const ID = (n: number) => `e-${n}-00000000`;
const event = (n: number) => `data: ${n}\nid: ${ID(n)}\n\n`;
const cursor = (n: number) => `event: cursor\ndata: {"snapshots":0}\nid: ${ID(n)}\n\n`;
const append: Options['reduce'] = (all, { data }) => [...all, data];

describe('useFollow', () => {
  let page: ReactPage;
  let results: Result[];

  beforeEach(() => {
    page = new ReactPage();
    results = [];
  });
  afterEach(() => page.leave());

  const last = () => results.at(-1)!;
  interface Props {
    url?: string | null | false;
    topics?: ClientTopics<Numbers>;
    options?: Options;
  }
  /** Renders what it follows, and keeps each result. */
  function Follower({ url = '/feed', topics = numbers, options }: Props): ReactNode {
    const result = useFollow(url, topics, options);
    results.push(result);
    return String(result.data ?? result.events.map(({ data }) => data));
  }
  const follow = (options: Options = {}, props: Omit<Props, 'options'> = {}) =>
    createElement(Follower, { ...props, options });
  const state = (data: number[], place: number) => async () => ({ data, at: ID(place) });

  it('renders the state, and each event that follows it', async () => {
    const [stream] = page.streams(1) as [ScriptedStream];
    await page.render(follow({ state: state([1, 2], 2), reduce: append }));
    expect([page.text, last().status]).toEqual(['', 'connecting']);
    await page.write(stream, cursor(2) + event(3));
    expect(page.text).toBe('1,2,3');
    expect(last()).toMatchObject({ data: [1, 2, 3], events: [], status: 'open', error: undefined });
    await page.write(stream, event(4));
    expect(page.text).toBe('1,2,3,4');
  });

  it('renders once for a thousand events within a frame', async () => {
    const [stream] = page.streams(1) as [ScriptedStream];
    await page.render(follow({ initialData: [], reduce: append }));
    await page.write(stream, cursor(0));
    const before = results.length;
    for (let n = 1; n <= 1_000; n += 100) {
      stream.write(Array.from({ length: 100 }, (_, i) => event(n + i)).join(''));
      await settled();
    }
    expect(results).toHaveLength(before);
    await page.pass(16);
    expect(results).toHaveLength(before + 1);
    expect(last().data).toHaveLength(1_000);
  });

  it('renders all components of a frame together', async () => {
    const streams = page.streams(2);
    const commits: string[] = [];
    const Both = (): ReactNode => {
      const a = useFollow('/a', numbers);
      const b = useFollow('/b', numbers);
      commits.push(`${a.events.length} ${b.events.length}`);
      return null;
    };
    await page.render(createElement(Both));
    streams.forEach((stream) => stream.write(event(1)));
    await settled();
    await page.pass(16);
    expect(commits).toEqual(['0 0', '1 1']);
  });

  it('renders a hidden tab at once, then every 250 ms', async () => {
    const [stream] = page.streams(1) as [ScriptedStream];
    await page.render(follow({ initialData: [], reduce: append }));
    await page.write(stream, cursor(0));
    await page.pass(1_000);
    page.hide(true);
    const before = results.length;
    stream.write(event(1) + event(2));
    await settled();
    expect(results).toHaveLength(before + 1);
    for (let n = 3; n <= 12; n += 1) {
      stream.write(event(n));
      await settled();
      await page.pass(20);
    }
    expect(results).toHaveLength(before + 1);
    await page.pass(50);
    expect(results).toHaveLength(before + 2);
    expect(last().data).toHaveLength(12);
  });

  it('opens one connection in StrictMode, and keeps it', async () => {
    const [stream] = page.streams(2) as [ScriptedStream];
    let loads = 0;
    const resume = { save: () => undefined, load: () => void (loads += 1) };
    await page.render(follow({ initialData: [], reduce: append, resume }), { isStrict: true });
    await page.pass(1_000);
    expect(page.asked).toEqual(['GET /feed']);
    expect(loads).toBe(1);
    await page.write(stream, event(1));
    expect([page.text, stream.isCanceled]).toEqual(['1', false]);
  });

  it('shares a connection and its data, until the last component unmounts', async () => {
    const [stream] = page.streams(2) as [ScriptedStream];
    const options: Options = { state: state([1], 1), reduce: append };
    await page.render([createElement(Follower, { key: 'a', options })]);
    await page.write(stream, cursor(1) + event(2));
    await page.render([
      createElement(Follower, { key: 'a', options }),
      ' ',
      createElement(Follower, { key: 'b', options }),
    ]);
    expect(page.text).toBe('1,2 1,2');
    await page.render([createElement(Follower, { key: 'b', options })]);
    await page.write(stream, event(3));
    expect([page.text, page.asked.length, stream.isCanceled]).toEqual(['1,2,3', 1, false]);
    await page.render(null);
    await page.pass(0);
    expect(stream.isCanceled).toBe(true);
  });

  it('follows nothing without a URL, and another feed with another one', async () => {
    const [first] = page.streams(2) as [ScriptedStream];
    await page.render(follow({}, { url: null }));
    expect([page.asked, last().status]).toEqual([[], 'idle']);
    await page.render(follow({}, { url: '/a' }));
    await page.write(first, event(1));
    expect([page.text, last().status]).toEqual(['1', 'open']);
    await page.render(follow({}, { url: '/b' }));
    expect([page.text, last().status]).toEqual(['', 'connecting']);
    await page.pass(16);
    expect(page.asked).toEqual(['GET /a', 'GET /b']);
    expect(first.isCanceled).toBe(true);
    await page.render(follow({}, { url: false }));
    await page.pass(16);
    expect([last().status, page.scripted.requests[1]!.signal.aborted]).toEqual(['idle', true]);
  });

  it('goes on at its place when topics are added under its key, and reads their state alone', async () => {
    const streams = page.streams(3) as [ScriptedStream, ScriptedStream, ScriptedStream];
    const reads: unknown[] = [];
    const options: Options = {
      key: 'board',
      envelope: true,
      state: async ({ added }) => {
        reads.push(added);
        return added ? [20] : [10];
      },
      reduce: append,
      merge: (data, given, { isAdded }) => (isAdded ? [...(data ?? []), ...given] : given),
    };
    const one = numbers.of(1);
    const two = numbers.of(2);
    await page.render(follow(options, { url: '/feed?n=1', topics: one }));
    await page.write(streams[0], cursor(1));
    expect(page.text).toBe('10');
    await page.render(follow(options, { url: '/feed?n=1,2', topics: [one, two] }));
    await page.write(streams[1], `data: {"topic":"numbers.2","data":2}\nid: ${ID(2)}\n\n`);
    expect(page.text).toBe('10,20,2');
    expect(page.asked[1]).toBe('GET /feed?n=1%2C2&addedTopics=numbers.2');
    expect(page.scripted.requests[1]!.headers.get('last-event-id')).toBe(ID(1));

    // Without one that was followed before, the state of all is read, and the data stays until it is there.
    await page.render(follow(options, { url: '/feed?n=2', topics: two }));
    await page.pass(16);
    expect(page.text).toBe('10,20,2');
    await page.write(streams[2], cursor(2));
    expect(page.text).toBe('10');
    expect(page.scripted.requests[2]!.headers.get('last-event-id')).toBeNull();
    expect(reads).toEqual([undefined, ['numbers.2'], undefined]);
  });

  it('calls the functions of the latest render, and opens nothing for them', async () => {
    const [stream] = page.streams(2) as [ScriptedStream];
    const calls: string[] = [];
    const options = (name: string): Options =>
      ({
        initialData: [],
        reduce: (all, { data }) => [...all, name === 'first' ? data : -data],
        onEvent: () => calls.push(name),
        onStatus: undefined,
        onReset: (reason) => calls.push(`${name} ${reason}`),
      }) as Options;
    await page.render(follow(options('first')));
    await page.write(stream, event(1));
    await page.render(follow(options('second')));
    await page.write(stream, `${event(2)}event: reset\ndata: {"reason":"epoch"}\nid: ${ID(3)}\n\n`);
    expect(page.text).toBe('1,-2');
    expect(calls).toEqual(['first', 'second', 'second epoch']);
    expect(page.asked).toHaveLength(1);
  });

  it('tells what keeps it from getting on, and follows anew after what was final', async () => {
    const errors: unknown[] = [];
    page.scripted.answer(new Response('busy', { status: 503, headers: { 'retry-after': '1' } }));
    const [first] = page.streams(1) as [ScriptedStream];
    page.scripted.answer(new Response('no', { status: 403 }));
    const [second] = page.streams(1) as [ScriptedStream];
    await page.render(follow({ onError: ({ status }, { willRetry }) => errors.push([status, willRetry]) }));
    await page.pass(16);
    expect(last()).toMatchObject({ status: 'waiting', error: { code: 'status', status: 503 } });
    await page.pass(1_000);
    await page.write(first, event(1));
    expect(last()).toMatchObject({ status: 'open', error: undefined });
    first.end();
    await page.pass(16);
    await page.pass(16);
    expect(last()).toMatchObject({ status: 'closed', error: { status: 403 } });
    expect(errors).toEqual([
      [503, true],
      [403, false],
    ]);
    last().reopen();
    await page.pass(16);
    await page.write(second, event(2));
    expect(last()).toMatchObject({ status: 'open', error: undefined });
    expect(page.text).toBe('1,2');
  });

  it('renders nothing, and calls nothing, after it has unmounted', async () => {
    const [stream] = page.streams(1) as [ScriptedStream];
    const calls: unknown[] = [];
    await page.render(follow({ onEvent: ({ data }) => calls.push(data) }));
    stream.write(event(1));
    await settled();
    const before = results.length;
    await page.unmount();
    await page.pass(1_000);
    expect(results).toHaveLength(before);
    expect([calls, stream.isCanceled]).toEqual([[1], true]);
  });

  it('keeps the newest events alone', async () => {
    const [stream] = page.streams(1) as [ScriptedStream];
    await page.render(follow({ maxEvents: 3 }));
    await page.write(stream, [1, 2, 3, 4, 5, 6, 7].map(event).join(''));
    expect(page.text).toBe('5,6,7');
  });

  it('shows what was kept over a reload', async () => {
    const kept: (string | undefined)[] = [];
    const saved = { identity: null, url: 'http://host/feed', place: ID(7), state: [1, 2] };
    const resume = {
      load: () => JSON.stringify(saved),
      save: (text: string | undefined) => void kept.push(text),
    };
    const [stream] = page.streams(1) as [ScriptedStream];
    const merge: Options['merge'] = () => [0];
    await page.render(follow({ reduce: append, merge, state: state([], 0), resume }));
    await page.write(stream, event(8));
    expect(page.text).toBe('1,2,8');
    expect(page.scripted.requests[0]!.headers.get('last-event-id')).toBe(ID(7));
    expect(kept).toEqual([undefined]);
  });

  it('follows nothing on a server, and hydrates what it has rendered there', async () => {
    const app = follow({ initialData: [1], reduce: append });
    const html = renderToString(page.wrap(app));
    expect([html, last().status, page.asked]).toEqual(['1', 'connecting', []]);
    const [stream] = page.streams(1) as [ScriptedStream];
    await page.hydrate(html, app);
    await page.write(stream, event(2));
    expect([page.text, page.asked.length]).toEqual(['1,2', 1]);
  });

  it('closes what it follows when the provider has another client', async () => {
    const [stream] = page.streams(1) as [ScriptedStream];
    await page.render(follow());
    await page.write(stream, event(1));
    const client = new SseClient({ baseUrl: 'http://other/', fetch: page.scripted.fetch });
    await page.render(follow(), { client });
    await page.pass(16);
    expect([page.text, stream.isCanceled]).toEqual(['', true]);
    expect(page.scripted.requests.at(-1)!.url).toBe('http://other/feed');
  });

  describe('with suspense', () => {
    const Waiting = ({ children }: { children?: ReactNode }) =>
      createElement(Suspense, { fallback: 'waiting' }, children);
    class Boundary extends Component<{ children?: ReactNode }, { error?: Error }> {
      override state: { error?: Error } = {};
      static getDerivedStateFromError = (error: Error) => ({ error });
      override render = () => this.state.error?.message ?? this.props.children;
    }
    const suspended = (options: Options = {}) =>
      createElement(
        Waiting,
        null,
        follow({ state: state([1], 1), reduce: append, suspense: true, ...options }),
      );

    it.each([true, false])(
      'shows the fallback until there is data, over one connection, strict: %s',
      async (isStrict) => {
        const [stream] = page.streams(2) as [ScriptedStream];
        await page.render(suspended(), { isStrict });
        expect(page.text).toBe('waiting');
        await page.write(stream, cursor(1));
        await page.shows('1');
        expect(page.asked).toHaveLength(1);
        await page.pass(60_000);
        await page.write(stream, event(2));
        expect([page.text, page.asked.length]).toEqual(['1,2', 1]);
      },
    );

    it('throws what is final', async () => {
      page.scripted.answer(new Response('no', { status: 403 }));
      await page.render(createElement(Boundary, null, suspended()));
      await page.pass(16);
      await page.shows(/403/);
      await page.pass(1_000);
      // React reports what a boundary has caught, each major in its own words.
      expect(page.complaints.splice(0).join()).toMatch(/error.* boundary/s);
    });

    it('closes what no component has come back for', async () => {
      const [stream] = page.streams(1) as [ScriptedStream];
      await page.render(suspended());
      await page.render(null);
      await page.pass(29_000);
      expect(stream.isCanceled).toBe(false);
      await page.pass(1_000);
      expect(stream.isCanceled).toBe(true);
    });

    it('renders the fallback on a server, and the data of the page after', async () => {
      const { window } = globalThis as { window?: unknown };
      Reflect.deleteProperty(globalThis, 'window');
      const html = renderToString(page.wrap(suspended()));
      Object.assign(globalThis, { window });
      expect(html).toContain('waiting');
      expect(page.asked).toEqual([]);
    });
  });

  it('says what is missing without a provider', () => {
    expect(() => renderToString(createElement(Fragment, null, follow()))).toThrow(
      'There is no SseProvider above this component. Wrap the app: <SseProvider client={client}>.',
    );
  });
});
