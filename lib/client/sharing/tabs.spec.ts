import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { FakeBrowser } from '../../../test/support/clients/fake-browser.js';
import { settled } from '../../../test/support/clients/scripted-fetch.js';
import { TabPage } from '../../../test/support/clients/tab-page.js';
import { TabServer } from '../../../test/support/clients/tab-server.js';

type PageOptions = ConstructorParameters<typeof TabPage>[2];

describe('tabs that share a connection', () => {
  let browser: FakeBrowser;
  let server: TabServer;
  let pages: TabPage[];

  beforeEach(() => {
    jest.useFakeTimers({ doNotFake: ['queueMicrotask', 'nextTick', 'setImmediate'] });
    browser = new FakeBrowser();
    server = new TabServer();
    pages = [];
  });
  afterEach(async () => {
    pages.forEach((page) => {
      page.tab.wake();
      page.end('leave');
    });
    await pass(1_000);
    // Nothing is left that waits for a time: what is closed says and asks nothing more.
    expect(jest.getTimerCount()).toBe(0);
    jest.useRealTimers();
  });

  /** Lets time pass, and what it brings happen. */
  async function pass(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 50) {
      await settled();
      await jest.advanceTimersByTimeAsync(Math.min(50, left));
    }
    await settled();
  }
  const open = async (options?: PageOptions, isVisible = true) => {
    const page = new TabPage(browser.open({ isVisible }), server, options);
    pages.push(page);
    await pass(400);
    return page;
  };
  const end = (page: TabPage, how: 'leave' | 'crash') => {
    page.end(how);
    pages = pages.filter((other) => other !== page);
  };
  const publish = async (count = 1) => {
    for (let n = 0; n < count; n += 1) {
      server.publish();
    }
    await pass(50);
  };
  const places = () => server.requests.map(({ lastEventId }) => lastEventId);
  const at = (sequence: number, epoch = 1) => `e${epoch}-${sequence}-00000000`;

  it('have one connection, and each has each event', async () => {
    await open();
    await open();
    await open();
    await publish(2);
    expect(server.connections).toHaveLength(1);
    expect(places()).toEqual([null]);
    expect(pages.map(({ log }) => log)).toEqual(pages.map(() => [{ state: 0 }, 1, 2]));
    expect(pages.map(({ feed }) => feed.status)).toEqual(pages.map(() => 'open'));
    expect(pages.map(({ sharing }) => sharing!.leads)).toEqual([1, 0, 0]);
  });

  it('report failures that the connection survives, and its status', async () => {
    const failures: string[][] = [[], []];
    const options = (tab: number) => ({
      follow: { onError: ({ code }: { code: string }) => void failures[tab]!.push(code) },
    });
    const [, other] = [await open(options(0)), await open(options(1))];
    server.isAway = true;
    server.cut();
    await pass(1);
    // The leader tries again after a random time: its next failure may have come by now.
    expect(failures.map(([first]) => first)).toEqual(['network', 'network']);
    expect(other.feed.status).not.toBe('open');
    server.isAway = false;
    await pass(100);
    expect(other.feed.status).toBe('open');
  });

  describe('when the leader is gone', () => {
    it.each(['leave', 'crash'] as const)('go on within a second after a %s', async (how) => {
      const [leader, other] = [await open(), await open()];
      await publish();
      end(leader, how);
      server.publish();
      await pass(1_000);
      expect(server.connections).toHaveLength(1);
      expect(other.log).toEqual([{ state: 0 }, 1, 2]);
      expect(places()).toEqual([null, at(1)]);
    });

    it('go on at the least place of all, and none has an event twice', async () => {
      const [leader, next, late] = [await open(), await open(), await open()];
      await publish();
      browser.delayMs = (to) => (to === late.tab ? 200 : 1);
      await publish(2);
      end(leader, 'crash');
      browser.delayMs = () => 1;
      late.tab.channels.forEach((channel) => channel.drop());
      await pass(1_000);
      await publish();
      expect(places()).toEqual([null, at(1)]);
      expect(next.log).toEqual([{ state: 0 }, 1, 2, 3, 4]);
      expect(late.log).toEqual([{ state: 0 }, 1, 2, 3, 4]);
    });

    it('replace one that hangs, if a visible tab has had no answer for 3 s', async () => {
      const [leader, other] = [await open({}, false), await open()];
      await publish();
      leader.tab.hang();
      await pass(4_500);
      server.publish();
      await pass(2_000);
      expect(browser.leader).toBe(other.tab);
      expect(other.log).toEqual([{ state: 0 }, 1, 2]);
      // It still takes what came on its connection, which is the same, and then follows the other.
      leader.tab.wake();
      await pass(1_000);
      await publish();
      expect([leader.log, other.log]).toEqual([
        [{ state: 0 }, 1, 2, 3],
        [{ state: 0 }, 1, 2, 3],
      ]);
      expect(server.connections).toHaveLength(1);
      expect(leader.sharing!.leads + other.sharing!.leads).toBe(1);
    });

    it('wait for one that hangs while no tab is visible, and replace it once one is seen', async () => {
      const [leader, other] = [await open({}, false), await open({}, false)];
      leader.tab.hang();
      await pass(30_000);
      expect(browser.leader).toBe(leader.tab);
      other.tab.setVisible(true);
      await pass(4_000);
      expect(browser.leader).toBe(other.tab);
    });

    it('leave a leader that is quiet, and answers, its place', async () => {
      const [leader] = [await open({}, false), await open()];
      await pass(60_000);
      expect(browser.leader).toBe(leader.tab);
      expect(places()).toEqual([null]);
    });

    it('are given up one by one where the server refuses: each asks with its own headers', async () => {
      await open();
      await open();
      server.status = 403;
      server.cut();
      await pass(2_000);
      expect(pages.map(({ log }) => log.at(-1))).toEqual([{ end: 'status' }, { end: 'status' }]);
    });
  });

  describe('a tab that joins late', () => {
    it('gets its place from the leader, and asks its own state', async () => {
      await open();
      await publish(2);
      const late = await open();
      await publish();
      expect(late.log).toEqual([{ state: 2 }, 3]);
      expect(places()).toEqual([null]);
    });

    it('gets the state of the server, and what followed it, from the leader', async () => {
      server = new TabServer('snapshot');
      await open();
      await publish(2);
      const late = await open();
      await publish();
      expect(late.log).toEqual([{ state: 0 }, 1, 2, 3]);
      expect(places()).toEqual([null]);
    });

    it('opens a short connection of its own if the leader has no more of it', async () => {
      server = new TabServer('snapshot');
      await open({ replayEvents: 2 });
      await publish(3);
      const late = await open({ replayEvents: 2 });
      await pass(2_000);
      await publish();
      expect(late.log).toEqual([{ state: 3 }, 4]);
      expect(places()).toEqual([null, null]);
      expect(server.connections).toHaveLength(1);
    });

    it('waits for a state that is not whole', async () => {
      server = new TabServer('snapshot');
      server.holdsState = true;
      await open();
      const late = await open();
      expect(late.log).toEqual([]);
      server.sendHeldState();
      await pass(50);
      expect(late.log).toEqual([{ state: 0 }]);
      expect(places()).toEqual([null]);
    });
  });

  it('are all reset by another epoch', async () => {
    await open();
    await open();
    await publish();
    server.restart();
    await pass(500);
    await publish();
    const expected = [{ state: 0 }, 1, { reset: 'epoch' }, { state: 1 }, 2];
    expect(pages.map(({ log }) => log)).toEqual([expected, expected]);
    expect(server.connections).toHaveLength(1);
  });

  it('hand on what the app sends itself, to the tabs that are there', async () => {
    const notes: string[] = [];
    const pair = [await open(), await open()];
    pair.forEach(({ feed }, index) => feed.on('note', (data) => notes.push(`${index} ${String(data)}`)));
    server.send('event: note\ndata: "hi"\n\n');
    await pass(50);
    (await open()).feed.on('note', (data) => notes.push(`late ${String(data)}`));
    expect(notes).toEqual(['0 "hi"', '1 "hi"'].map((note) => note.replaceAll('"', '')));
  });

  it('are not held up by one whose loop does not read, which lacks nothing once it does', async () => {
    const [lazy, other] = [await open(), await open()];
    const reader = lazy.feed[Symbol.asyncIterator]();
    const first = reader.next();
    await publish(1_500);
    await publish(1_500);
    expect(other.known).toBe(3_000);
    const read = [(await first).value?.data];
    const passing = pass(2_000);
    while (read.length < 3_000) {
      read.push((await reader.next()).value?.data);
    }
    await passing;
    expect(read).toEqual(Array.from({ length: 3_000 }, (_, n) => n + 1));
  });

  describe('in a page that is left for the back button', () => {
    it('release the connection, and come back without a hole', async () => {
      const [leader, other] = [await open(), await open()];
      await publish();
      leader.tab.hide();
      await pass(500);
      expect(browser.leader).toBe(other.tab);
      expect(leader.tab.channels).toEqual([]);
      await publish();
      leader.tab.show();
      await pass(500);
      await publish();
      expect(leader.log).toEqual([{ state: 0 }, 1, 2, 3]);
      expect(places()).toEqual([null, at(1)]);
    });

    it('read on from the server if the leader has no more of what they missed', async () => {
      await open({ replayEvents: 2 });
      const away = await open({ replayEvents: 2 });
      away.tab.hide();
      await publish(5);
      away.tab.show();
      await pass(2_000);
      await publish();
      expect(away.log).toEqual([{ state: 0 }, 1, 2, 3, 4, 5, 6]);
      expect(places()).toEqual([null, at(0)]);
      expect(server.connections).toHaveLength(1);
    });
  });

  it('follow another URL from the same place, with those that follow it', async () => {
    const [one, two] = [await open(), await open()];
    await publish();
    one.feed.use('/more');
    await pass(500);
    await publish();
    two.feed.use('/more');
    await pass(500);
    await publish();
    expect([one.log, two.log]).toEqual([
      [{ state: 0 }, 1, 2, 3],
      [{ state: 0 }, 1, 2, 3],
    ]);
    expect(server.requests.map(({ url }) => url.replace('http://host', ''))).toEqual([
      '/feed',
      '/more',
      '/feed',
    ]);
    expect(server.connections).toHaveLength(1);
  });

  it('get the state of what is new by a connection of their own', async () => {
    server = new TabServer('snapshot');
    const [one, two] = [await open(), await open()];
    one.feed.use('/feed', { added: 'b' });
    await pass(2_000);
    await publish();
    expect(one.log).toEqual([{ state: 0 }, { added: 0 }, 1]);
    expect(two.log).toEqual([{ state: 0 }, 1]);
    expect(server.requests.map(({ url }) => url.replace('http://host', ''))).toEqual([
      '/feed',
      '/feed?addedTopics=b',
    ]);
    expect(server.connections).toHaveLength(1);
  });

  it.each([
    ['no ids', 'data: 1\n\n', 4_000],
    ['ids of another make', 'id: 17\ndata: 1\n\n', 500],
  ])('connect each for itself to a server with %s', async (_what, text, ms) => {
    server = new TabServer('nothing');
    const pair = [await open(), await open()];
    server.send(text);
    await pass(ms);
    expect(server.connections).toHaveLength(2);
    expect(pair[0]!.log).toEqual([1]);
    server.send(text);
    await pass(50);
    expect(pair[0]!.log).toEqual([1, 1]);
    expect(pair[0]!.sharing).toMatchObject({ isShared: false, reason: 'no-positions' });
  });

  describe('of an account', () => {
    const as = (identity?: string): PageOptions => ({ client: identity === undefined ? {} : { identity } });

    it('share with none of another name, and stop sharing as the account is switched', async () => {
      const former = [await open(as('ann')), await open(as('ann'))];
      await publish();
      const now = [await open(as('ben')), await open(as('ben'))];
      await publish();
      expect(former.map(({ sharing }) => sharing!.reason)).toEqual(['account-switched', 'account-switched']);
      expect(now.map(({ sharing }) => sharing!.isShared)).toEqual([true, true]);
      expect(server.connections).toHaveLength(3);
      expect(former.map(({ log }) => log)).toEqual(former.map(() => [{ state: 0 }, 1, 2]));
      expect(now.map(({ log }) => log)).toEqual(now.map(() => [{ state: 1 }, 2]));
    });

    it('end the sharing of the former account alone, also if its page comes back', async () => {
      const former = await open(as('ann'));
      former.tab.hide();
      const now = await open(as('ben'));
      former.tab.show();
      await pass(500);
      expect(former.sharing!.reason).toBe('account-switched');
      expect(now.sharing!.isShared).toBe(true);
      await publish();
      expect([former.known, now.known]).toEqual([1, 1]);
    });

    it('are signed out together, those too that come back from a cache', async () => {
      const [one, two, away] = [await open(as('ann')), await open(as('ann')), await open(as('ann'))];
      away.tab.hide();
      one.feed.close();
      one.tabs.signOut();
      await pass(50);
      expect(two.log).toEqual([{ state: 0 }, { end: 'signed-out' }]);
      expect(one.log).toEqual([{ state: 0 }]);
      away.tab.show();
      await pass(50);
      expect(away.log).toEqual([{ state: 0 }, { end: 'signed-out' }]);
      expect(server.connections).toEqual([]);
    });
  });
});
