import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { FakeBrowser } from '../../../test/support/clients/fake-browser.js';
import { ScriptedFetch, ScriptedStream, settled } from '../../../test/support/clients/scripted-fetch.js';
import { waitFor } from '../../testing/index.js';
import { SseClient } from '../index.js';
import type { SseClientOptions } from '../index.js';

const CURSOR = 'event: cursor\ndata: {"snapshots":0}\nid: e-0-00000000\n\n';
const globals = globalThis as Record<string, unknown>;

describe('what client.sharing says', () => {
  let scripted: ScriptedFetch;
  let streams: ScriptedStream[];
  let before: Record<string, PropertyDescriptor | undefined>;
  const closers: (() => void)[] = [];

  beforeEach(() => {
    scripted = new ScriptedFetch();
    streams = [new ScriptedStream(), new ScriptedStream()];
    scripted.answer(...streams.map(({ response }) => response));
    const names = ['isSecureContext', 'navigator', 'BroadcastChannel'];
    before = Object.fromEntries(names.map((name) => [name, Object.getOwnPropertyDescriptor(globals, name)]));
  });
  afterEach(async () => {
    closers.splice(0).forEach((close) => close());
    await settled();
    for (const [name, descriptor] of Object.entries(before)) {
      Reflect.deleteProperty(globals, name);
      if (descriptor) {
        Object.defineProperty(globals, name, descriptor);
      }
    }
  });

  const has = (values: Record<string, unknown>): void => {
    for (const [name, value] of Object.entries(values)) {
      Object.defineProperty(globals, name, { value, configurable: true, writable: true });
    }
  };
  const clientOf = (options: SseClientOptions): SseClient =>
    new SseClient({ baseUrl: 'http://host/', fetch: scripted.fetch, ...options });
  const follow = (client: SseClient) => {
    const got: unknown[] = [];
    const feed = client.follow('/feed');
    feed.on('message', (data) => got.push(data));
    closers.push(() => feed.close());
    return { feed, got };
  };

  it('is off without shareTabs', () => {
    expect(clientOf({}).sharing).toEqual({ isShared: false, reason: 'off', leads: 0 });
  });

  it.each([
    ['insecure-context', { isSecureContext: false }],
    ['no-web-locks', { isSecureContext: true, navigator: {} }],
    [
      'no-broadcast-channel',
      { isSecureContext: true, navigator: { locks: {} }, BroadcastChannel: undefined },
    ],
  ])('is %s where that is so, and each tab connects for itself', async (reason, values) => {
    has(values);
    const client = clientOf({ shareTabs: 'app' });
    expect(client.sharing.reason).toBe('starting');
    const { got } = follow(client);
    streams[0]!.write(`${CURSOR}data: 1\nid: e-1-00000000\n\n`);
    await waitFor(() => got.length > 0);
    expect(client.sharing).toEqual({ isShared: false, reason, leads: 0 });
  });

  it('is what is shared, by clients as a page makes them', async () => {
    const { environment } = new FakeBrowser().open();
    has({ isSecureContext: true, navigator: { locks: environment.locks } });
    const { openChannel } = environment;
    has({
      BroadcastChannel: function (name: string) {
        return openChannel(name);
      },
    });
    const clients = [clientOf({ shareTabs: 'app' }), clientOf({ shareTabs: { name: 'app' } })];
    const feeds = clients.map(follow);
    streams[0]!.write(CURSOR);
    await waitFor(() => feeds.every(({ feed }) => feed.status === 'open'));
    streams[0]!.write('data: 1\nid: e-1-00000000\n\n');
    await waitFor(() => feeds.every(({ got }) => got.length > 0));
    expect(clients.map(({ sharing }) => sharing)).toEqual([
      { isShared: true, reason: undefined, leads: 1 },
      { isShared: true, reason: undefined, leads: 0 },
    ]);
    expect(scripted.requests).toHaveLength(1);

    const errors: unknown[] = [];
    feeds[1]!.feed.subscribe({ error: (error) => errors.push(error) });
    clients[0]!.signOut();
    await waitFor(() => feeds.every(({ feed }) => feed.status === 'closed'));
    expect(errors).toMatchObject([{ code: 'signed-out' }]);
    expect(clients.map(({ sharing }) => sharing.reason)).toEqual(['signed-out', 'signed-out']);
  });

  it('refuses a name that is none', () => {
    expect(() => clientOf({ shareTabs: '' })).toThrow('shareTabs must be a name');
  });

  it.each([
    [{ replayEvents: NaN }, 'shareTabs.replayEvents must be a whole number, 0 or more, got NaN.'],
    [{ replayEvents: Infinity }, 'shareTabs.replayEvents must be a whole number, 0 or more, got Infinity.'],
    [{ replayCharacters: -1 }, 'shareTabs.replayCharacters must be a whole number, 0 or more, got -1.'],
  ])('refuses %p, which would bound nothing', (limits, message) => {
    expect(() => clientOf({ shareTabs: { name: 'app', ...limits } })).toThrow(message);
    expect(() =>
      clientOf({ shareTabs: { name: 'app', replayEvents: 0, replayCharacters: 0 } }),
    ).not.toThrow();
  });

  it('ends the feeds of a client that signs out, without tabs too', async () => {
    const client = clientOf({});
    const { feed } = follow(client);
    streams[0]!.write(CURSOR);
    await waitFor(() => feed.status === 'open');
    client.signOut();
    await waitFor(() => feed.status === 'closed');
    const late = follow(client);
    await waitFor(() => late.feed.status === 'closed');
    expect(scripted.requests).toHaveLength(1);
  });
});
