import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { ScriptedFetch, ScriptedStream, settled } from '../../test/support/clients/scripted-fetch.js';
import { SseClient } from './index.js';
import type { Feed } from './index.js';

/** What a browser has beyond Node, as far as the client listens to it. */
class FakePage extends EventTarget {
  readonly document = Object.assign(new EventTarget(), { visibilityState: 'visible' });
  readonly listeners = new Set<string>();

  install(): void {
    const globals = globalThis as Record<string, unknown>;
    globals['document'] = this.document;
    for (const [target, name] of [
      [globals, 'page'],
      [this.document as unknown as Record<string, unknown>, 'document'],
    ] as const) {
      const own = name === 'page' ? this : this.document;
      const add = own.addEventListener.bind(own);
      const remove = own.removeEventListener.bind(own);
      target['addEventListener'] = (type: string, listener: () => void) => {
        this.listeners.add(type);
        add(type, listener);
      };
      target['removeEventListener'] = (type: string, listener: () => void) => {
        this.listeners.delete(type);
        remove(type, listener);
      };
    }
  }

  uninstall(): void {
    for (const name of ['document', 'addEventListener', 'removeEventListener']) {
      Reflect.deleteProperty(globalThis, name);
    }
  }

  happens(type: string): void {
    (['freeze', 'resume', 'visibilitychange'].includes(type) ? this.document : this).dispatchEvent(
      new Event(type),
    );
  }
}

describe('a feed in a page', () => {
  let page: FakePage;
  let scripted: ScriptedFetch;
  let feed: Feed | undefined;

  beforeEach(() => {
    jest.useFakeTimers({ doNotFake: ['queueMicrotask', 'nextTick', 'setImmediate'] });
    jest.spyOn(Math, 'random').mockReturnValue(1);
    page = new FakePage();
    page.install();
    scripted = new ScriptedFetch();
  });
  afterEach(async () => {
    feed?.close();
    await settled();
    expect([...page.listeners]).toEqual([]);
    page.uninstall();
    jest.restoreAllMocks();
    jest.useRealTimers();
  });

  const follow = () => {
    const client = new SseClient({ baseUrl: 'http://host/', fetch: scripted.fetch });
    feed = client.follow('/feed');
    return feed;
  };

  it.each(['online', 'visibilitychange'])('tries at once at %s', async (type) => {
    scripted.answer(new TypeError('offline'));
    follow();
    await settled();
    expect(feed!.status).toBe('waiting');
    page.happens(type);
    await settled();
    expect(scripted.requests).toHaveLength(2);
  });

  it('does not try when it is hidden', async () => {
    scripted.answer(new TypeError('offline'));
    follow();
    await settled();
    page.document.visibilityState = 'hidden';
    page.happens('visibilitychange');
    await settled();
    expect(scripted.requests).toHaveLength(1);
  });

  it('sends a request again that was sent while the network was away', async () => {
    follow();
    await settled();
    page.happens('online');
    await settled();
    expect(scripted.requests).toHaveLength(2);
    expect(scripted.requests[0]!.signal.aborted).toBe(true);
  });

  it.each([
    ['pagehide', 'pageshow'],
    ['freeze', 'resume'],
  ])('lets go at %s, and comes back at %s with its place', async (leaves, comesBack) => {
    const stream = new ScriptedStream();
    scripted.answer(stream.response);
    follow();
    await settled();
    stream.write('retry: 5000\nid: e-1-00000001\ndata: 1\n\n');
    await settled();
    page.happens(leaves);
    await jest.advanceTimersByTimeAsync(600_000);
    await settled();
    expect(stream.isCanceled).toBe(true);
    expect(scripted.requests).toHaveLength(1);
    expect(feed!.status).toBe('waiting');

    page.happens('online');
    await settled();
    expect(scripted.requests).toHaveLength(1);

    page.happens(comesBack);
    await settled();
    expect(scripted.requests).toHaveLength(2);
    expect(scripted.requests[1]!.headers.get('last-event-id')).toBe('e-1-00000001');
  });

  it('takes its listeners back though headers() never settles', async () => {
    const client = new SseClient({
      baseUrl: 'http://host/',
      fetch: scripted.fetch,
      headers: () => new Promise(() => undefined),
    });
    feed = client.follow('/feed');
    await settled();
    expect(page.listeners.size).toBeGreaterThan(0);
    // What is left after close() is seen below, after each test.
  });

  it('keeps no place over a reload while a loop has not read what waits for it', async () => {
    const stream = new ScriptedStream();
    scripted.answer(stream.response);
    const kept: (string | undefined)[] = [];
    const client = new SseClient({ baseUrl: 'http://host/', fetch: scripted.fetch });
    feed = client.follow('/feed', undefined, {
      resume: { state: (): unknown => 'own', save: (text) => void kept.push(text), load: () => null },
    });
    const loop = feed[Symbol.asyncIterator]();
    await settled();
    stream.write('id: e-1-00000001\ndata: 1\n\n');
    await settled();
    page.happens('pagehide');
    await settled();
    expect(kept).toEqual([]);

    page.happens('pageshow');
    await loop.next();
    page.happens('pagehide');
    await settled();
    expect(kept.at(-1)).toContain('e-1-00000001');
  });

  it('comes back at once from a page that was left for a moment', async () => {
    follow();
    await settled();
    page.happens('pagehide');
    page.happens('pageshow');
    await settled();
    expect(scripted.requests).toHaveLength(2);
  });
});
