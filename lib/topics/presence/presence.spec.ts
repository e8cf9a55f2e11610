import { AsyncLocalStorage } from 'node:async_hooks';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { AwayLog } from '../../../test/support/servers/away-log.js';
import type { CloseReason, EventStreamResponse, PresenceOption } from '../../connection/index.js';
import { SseError } from '../../errors/index.js';
import type { EventLogStore, NamedLog } from '../../log/index.js';
import { Presence } from './presence.js';
import type { SsePresenceChange } from './presence.js';
import { DEFAULT_PRESENCE } from './presence.settings.js';
import type { PresenceSettings } from './presence.settings.js';

const ROOM = 'rooms.1';
const GRACE_MS = DEFAULT_PRESENCE.graceMs;
const LEASE_MS = DEFAULT_PRESENCE.leaseMs;
// A batch of writes, the time in which changes are told together, and a slot of the wheel for each.
const TOLD_MS = 300;
const pass = (ms: number) => jest.advanceTimersByTimeAsync(ms);

/** A response, as presence sees it. */
class Client {
  isClosed = false;
  #reason: CloseReason | undefined;
  #open: (() => void)[] = [];
  #isOpen = false;

  get response(): EventStreamResponse {
    return this as unknown as EventStreamResponse;
  }

  whenOpen(listener: () => void): void {
    if (this.#isOpen) {
      listener();
    } else {
      this.#open.push(listener);
    }
  }

  whenClosed(listener: (reason: CloseReason) => void): void {
    listener(this.#reason!);
  }

  open(): void {
    this.#isOpen = true;
    this.#open.forEach((listener) => listener());
  }

  close(reason: CloseReason): void {
    this.isClosed = true;
    this.#reason = reason;
  }
}

/** A log whose records a test can hold back from all instances. */
class LateLog extends AwayLog {
  isLate = false;
  /** The kind of record with which it becomes late. */
  lateFrom: string | undefined;
  /** Appends fail, and are carried out when the log catches up. */
  isDoubtful = false;
  readonly #held: (() => void)[] = [];

  override async open(...given: Parameters<AwayLog['open']>): Promise<NamedLog> {
    const log = await super.open(...given);
    const follow: NamedLog['follow'] = (listener, options) =>
      log.follow(
        {
          onRecords: (records) => {
            this.isLate ||= records.some(({ topic }) => topic === this.lateFrom);
            this.#deliver(() => void listener.onRecords(records));
          },
          onReset: (head, reason) => listener.onReset(head, reason),
        },
        options,
      );
    const append: NamedLog['append'] = async (records) => {
      if (!this.isDoubtful) {
        return log.append(records);
      }
      this.#held.push(() => void log.append(records));
      throw new SseError('publish-failed', 'timed out', { isOutcomeKnown: false });
    };
    const changed: Record<string | symbol, unknown> = { follow, append };
    return new Proxy(log, {
      get: (target, name) => changed[name] ?? (Reflect.get(target, name) as unknown),
    });
  }

  catchUp(): void {
    this.isLate = false;
    this.isDoubtful = false;
    this.#held.splice(0).forEach((deliver) => deliver());
  }

  #deliver(deliver: () => void): void {
    if (this.isLate) {
      this.#held.push(deliver);
    } else {
      deliver();
    }
  }
}

describe('Presence', () => {
  let store: LateLog;
  let warned: string[];
  const opened: Presence[] = [];

  beforeEach(() => {
    jest.useFakeTimers();
    store = new LateLog();
    store.isShared = true;
    warned = [];
  });
  afterEach(async () => {
    store.isAway = false;
    opened.splice(0).forEach((each) => each.close());
    await store.close();
    // What the log in memory has for the end of a turn.
    await pass(1);
    expect(jest.getTimerCount()).toBe(0);
    jest.useRealTimers();
  });

  const instance = (settings: Partial<PresenceSettings> = {}, reached: EventLogStore = store) => {
    const presence = new Presence(
      reached,
      { ...DEFAULT_PRESENCE, ...settings },
      {
        warn: (message) => warned.push(message),
        error: (message, error) => warned.push(`${message} ${String(error)}`),
        debug: () => undefined,
      },
    );
    opened.push(presence);
    return presence;
  };
  /** A process that is killed: it writes nothing more, no `gone` either. */
  const kill = (presence: Presence) => presence.close();
  const join = (presence: Presence, id: string, data?: unknown, topics = [ROOM]) => {
    const client = new Client();
    const leave = presence.attend(client.response, topics, { id, data });
    client.open();
    return (reason: CloseReason = 'client') => {
      client.close(reason);
      leave();
    };
  };
  const idsOf = async (presence: Presence, topic = ROOM) =>
    (await presence.list(topic)).members.map(({ id }) => id).sort();
  /** The changes that an instance tells, each as one line. */
  const changesOf = (presence: Presence, topic = ROOM) => {
    const lines: string[] = [];
    const line = ({ joined, updated, left, count, isCurrent }: SsePresenceChange) =>
      [
        ...joined.map(({ id }) => `+${id}`),
        ...updated.map(({ id, data }) => `~${id}:${JSON.stringify(data)}`),
        ...left.map(({ id }) => `-${id}`),
        `=${count}`,
        ...(isCurrent ? [] : ['stale']),
      ].join(' ');
    presence.changes(topic).subscribe({
      next: (change) => lines.push(line(change)),
      complete: () => lines.push('complete'),
    });
    return lines;
  };
  const logOf = async (): Promise<NamedLog> => (await store.find('presence', { from: 1, limit: 0 }))!.log;
  const recordsOf = async () => (await store.find('presence', { from: 1, limit: 10_000 }))!.page.records;

  it('is known on every instance, and on one that starts later', async () => {
    const [one, other] = [instance(), instance()];
    const changes = changesOf(other);
    join(one, 'anna', { name: 'Anna' });
    join(other, 'ben');
    await pass(TOLD_MS);
    expect(await idsOf(one)).toEqual(['anna', 'ben']);
    expect(await other.list(ROOM)).toEqual({
      members: expect.arrayContaining([{ id: 'anna', data: { name: 'Anna' } }, { id: 'ben' }]) as unknown,
      isCurrent: true,
    });
    const later = instance();
    expect(await idsOf(later)).toEqual(['anna', 'ben']);
    expect(await later.count(ROOM)).toBe(2);
    expect(await later.count('rooms.2')).toBe(0);
    expect(changes[0]).toBe('=0');
    expect(changes.slice(1).join(' ')).toMatch(/\+anna/);
  });

  it('ends a grace after the last connection, of two tabs after the second', async () => {
    const [one, other] = [instance(), instance()];
    const changes = changesOf(other);
    const [first, second] = [join(one, 'anna'), join(other, 'anna')];
    await pass(TOLD_MS);
    first();
    await pass(GRACE_MS + TOLD_MS);
    expect(await idsOf(one)).toEqual(['anna']);
    second();
    await pass(GRACE_MS - 500);
    expect(await other.count(ROOM)).toBe(1);
    await pass(500 + 2 * TOLD_MS);
    expect(await idsOf(one)).toEqual([]);
    expect(changes).toEqual(['=0', '+anna =1', '-anna =0']);
  });

  it('writes nothing for a client that comes back within the grace, and keeps nothing of it', async () => {
    const one = instance();
    let leave = join(one, 'anna');
    await pass(TOLD_MS);
    const written = async () => (await recordsOf()).filter(({ topic }) => topic !== 'alive').length;
    const before = await written();
    for (let n = 0; n < 20; n += 1) {
      leave();
      await pass(1_000);
      leave = join(one, 'anna');
    }
    expect(await written()).toBe(before);
    expect(await idsOf(one)).toEqual(['anna']);
    leave();
    await pass(GRACE_MS + TOLD_MS);
    expect(await idsOf(one)).toEqual([]);
  });

  it('ends at once for a client that was revoked, and never begins for one whose headers were not sent', async () => {
    const one = instance();
    const leave = join(one, 'anna');
    const client = new Client();
    const end = one.attend(client.response, [ROOM], { id: 'head' });
    await pass(TOLD_MS);
    expect(await idsOf(one)).toEqual(['anna']);
    client.close('server');
    end();
    client.open();
    leave('revoked');
    await pass(TOLD_MS);
    expect(await idsOf(one)).toEqual([]);
    expect((await recordsOf()).filter(({ data }) => data.includes('head'))).toEqual([]);
  });

  it('tells other data as an update: that of the last connection counts', async () => {
    const [one, other] = [instance(), instance()];
    const changes = changesOf(one);
    join(one, 'anna', 'here');
    await pass(TOLD_MS);
    const away = join(other, 'anna', 'away');
    await pass(TOLD_MS);
    away();
    await pass(GRACE_MS + TOLD_MS);
    expect(changes).toEqual(['=0', '+anna =1', '~anna:"away" =1', '~anna:"here" =1']);
  });

  it('ends a lease and a grace after its instance was killed, and is written off by one of the others', async () => {
    const [one, two, killed] = [instance(), instance(), instance()];
    const changes = changesOf(one);
    join(killed, 'anna');
    join(two, 'ben');
    await pass(TOLD_MS);
    kill(killed);
    // At times that are far enough apart: at the same one, both would write it.
    let calls = 0;
    const random = jest.spyOn(Math, 'random').mockImplementation(() => ((calls += 1) % 2 ? 0.1 : 0.9));
    await pass(LEASE_MS / 2 + GRACE_MS - TOLD_MS);
    expect(await idsOf(one)).toEqual(['anna', 'ben']);
    await pass(LEASE_MS / 2 + 1_000 + 3 * TOLD_MS);
    expect(await idsOf(one)).toEqual(['ben']);
    expect(changes.at(-1)).toBe('-anna =1');
    random.mockRestore();
    expect((await recordsOf()).filter(({ topic }) => topic === 'drop')).toHaveLength(1);
    // One that starts later does not find it in the log.
    expect(await idsOf(instance())).toEqual(['ben']);
  });

  it('writes off an instance by one record, also while the log is late', async () => {
    const [one, killed] = [instance(), instance()];
    join(one, 'ben');
    join(killed, 'anna');
    await pass(TOLD_MS);
    kill(killed);
    store.lateFrom = 'drop';
    await pass(LEASE_MS + GRACE_MS + 1_000 + 3 * TOLD_MS);
    expect((await recordsOf()).filter(({ topic }) => topic === 'drop')).toHaveLength(1);
    expect(await idsOf(one)).toEqual(['anna', 'ben']);
    store.lateFrom = undefined;
    store.catchUp();
    expect(await idsOf(one)).toEqual(['ben']);
  });

  it('is no change at a rolling deploy', async () => {
    let instances = [instance(), instance(), instance()];
    const watching = instance();
    const changes = changesOf(watching);
    const ids = Array.from({ length: 60 }, (_, n) => `user ${n}`);
    const connected = new Map(ids.map((id, n) => [id, { at: n % 3, leave: join(instances[n % 3]!, id) }]));
    await pass(TOLD_MS);
    const before = changes.length;
    for (const n of [0, 1, 2]) {
      const closing = instances[n]!;
      const clients = Array.from(connected).filter(([, { at }]) => at === n);
      clients.forEach(([, { leave }]) => leave('shutdown'));
      await closing.leave();
      kill(closing);
      instances = instances.with(n, instance());
      for (const [index, [id]] of clients.entries()) {
        const at = index % 3;
        connected.set(id, { at, leave: join(instances[at]!, id) });
        await pass(200);
      }
    }
    await pass(2 * (GRACE_MS + LEASE_MS));
    expect(changes.slice(before)).toEqual([]);
    expect(await watching.count(ROOM)).toBe(60);
  });

  it('is what was known last while the log is away, which says so, and goes on when it is back', async () => {
    const [one, other, killed] = [instance(), instance(), instance()];
    const changes = changesOf(other);
    const leave = join(one, 'anna');
    join(killed, 'carl');
    await pass(TOLD_MS);
    store.isAway = true;
    await pass(LEASE_MS);
    leave();
    join(one, 'ben');
    kill(killed);
    await pass(10 * (LEASE_MS + GRACE_MS));
    expect(await other.list(ROOM)).toEqual({ members: [{ id: 'anna' }, { id: 'carl' }], isCurrent: false });
    store.isAway = false;
    await pass(LEASE_MS / 2);
    expect(await idsOf(other)).toEqual(['ben', 'carl']);
    expect((await other.list(ROOM)).isCurrent).toBe(true);
    await pass(LEASE_MS + GRACE_MS + 2_000);
    expect(changes.slice(-4)).toEqual(['=2 stale', '+ben -anna =2 stale', '=2', '-carl =1']);
  });

  it.each([
    {
      of: 'a closed instance',
      end: async (closing: Presence) => {
        await closing.leave();
        kill(closing);
      },
      settings: {},
      awayMs: GRACE_MS + 2_000,
    },
    {
      of: 'a closed instance, in a time that is short beside a lease',
      end: async (closing: Presence) => {
        await closing.leave();
        kill(closing);
      },
      settings: { graceMs: 3_000 },
      awayMs: 3_500,
    },
    {
      of: 'a killed instance',
      end: async (killed: Presence) => {
        kill(killed);
        await pass(LEASE_MS + 500);
      },
      settings: {},
      awayMs: GRACE_MS,
    },
  ])(
    'does not tell that members of $of have left who came back while the log was away',
    async ({ end, settings, awayMs }) => {
      const far = new AwayLog(store);
      far.isShared = true;
      const [one, other, ending] = [instance(settings), instance(settings, far), instance(settings)];
      const changes = changesOf(one);
      join(ending, 'anna');
      join(one, 'ben');
      join(other, 'carl');
      await pass(TOLD_MS);
      await end(ending);
      store.isAway = true;
      join(other, 'anna');
      await pass(awayMs);
      // One has it again before the other.
      far.isAway = true;
      store.isAway = false;
      await pass(1_000);
      far.isAway = false;
      await pass(2 * (GRACE_MS + LEASE_MS));
      expect(changes.filter((line) => line.includes('-'))).toEqual([]);
      expect(await idsOf(one)).toEqual(['anna', 'ben', 'carl']);
      const drops = (await recordsOf()).filter(({ topic }) => topic === 'drop');
      expect(drops).not.toHaveLength(0);
    },
  );

  it('rejects while this instance has never reached the log, and waits in changes()', async () => {
    store.isAway = true;
    const one = instance();
    const changes = changesOf(one);
    await expect(one.list(ROOM)).rejects.toMatchObject({ code: 'log-unavailable' });
    join(one, 'anna');
    await pass(5_000);
    expect(changes).toEqual([]);
    expect(warned).toHaveLength(1);
    store.isAway = false;
    await pass(2_000);
    expect(changes).toEqual(['=0', '+anna =1']);
  });

  it('is written again to a log that has lost it', async () => {
    const [one, other] = [instance(), instance()];
    const changes = changesOf(other);
    join(one, 'anna');
    join(other, 'ben');
    await pass(TOLD_MS);
    const before = changes.length;
    const lease = await store.lease('presence', { ttlMs: 60_000 });
    await store.open('presence', { maxEvents: 100, ttlMs: 60_000, lease: lease! });
    await pass(2_000);
    expect(await idsOf(instance())).toEqual(['anna', 'ben']);
    expect(changes.slice(before).filter((line) => /[+-]/.test(line))).toEqual([]);
    await lease!.release();
  });

  it('is no change when the log has lost the last moment', async () => {
    const [one, other] = [instance(), instance()];
    join(other, 'carl');
    join(one, 'dan');
    await pass(TOLD_MS);
    const joins = (await recordsOf()).filter(({ topic }) => topic === 'join');
    const old = joins.flatMap(({ data }) => {
      const by = JSON.stringify((JSON.parse(data) as string[]).slice(0, 1));
      return [
        { topic: 'begin', data: by, isJson: true },
        { topic: 'join', data, isJson: true },
        { topic: 'end', data: by, isJson: true },
      ];
    });
    const changes = changesOf(one);
    join(one, 'anna');
    join(other, 'ben');
    await pass(TOLD_MS);
    expect(await idsOf(one)).toEqual(['anna', 'ben', 'carl', 'dan']);
    const before = changes.length;
    const lease = await store.lease('presence', { ttlMs: 60_000 });
    const log = await store.open('presence', { maxEvents: 100, ttlMs: 60_000, lease: lease! });
    await log.append(old);
    await pass(5_000);
    expect(changes.slice(before)).toEqual(['=4 stale', '=4']);
    expect(await idsOf(one)).toEqual(['anna', 'ben', 'carl', 'dan']);
    // What changes from then on is told as ever.
    join(other, 'dora');
    await pass(TOLD_MS);
    expect(changes.at(-1)).toBe('+dora =5');
    await lease!.release();
  });

  it('begins for a new subscriber when others have listed their members in a log that has lost them', async () => {
    const far = new AwayLog(store);
    far.isShared = true;
    const [one, other] = [instance(), instance({}, far)];
    join(other, 'anna');
    changesOf(one);
    await pass(TOLD_MS);
    const [by] = JSON.parse((await recordsOf()).find(({ topic }) => topic === 'join')!.data) as string[];
    const lease = await store.lease('presence', { ttlMs: 60_000 });
    const log = await store.open('presence', { maxEvents: 100, ttlMs: 60_000, lease: lease! });
    await log.append(['begin', 'end'].map((topic) => ({ topic, data: JSON.stringify([by]), isJson: true })));
    far.isAway = true;
    await pass(900);
    const changes = changesOf(one);
    expect((await one.list(ROOM)).isCurrent).toBe(false);
    far.isAway = false;
    await pass(5_000);
    expect(changes).toEqual(['+anna =1']);
    await lease!.release();
  });

  it('is listed again before trimming takes it', async () => {
    const [one, other] = [instance(), instance()];
    join(one, 'anna', { name: 'Anna' });
    await pass(TOLD_MS);
    await other.count(ROOM);
    const log = await logOf();
    for (let n = 0; n < 20; n += 1) {
      // The log in memory makes a caller with more wait for the end of the turn.
      await log.append(
        Array.from({ length: 900 }, () => ({ topic: 'alive', data: '["x",1]', isJson: true })),
      );
      await pass(LEASE_MS / 4 + TOLD_MS);
    }
    expect((await recordsOf()).length).toBeLessThan(9_000);
    expect(await idsOf(instance())).toEqual(['anna']);
  });

  it('comes back after its instance stood still for so long that it was written off', async () => {
    const [one, other] = [instance({ graceMs: 0 }), instance({ graceMs: 0 })];
    join(one, 'anna');
    await pass(TOLD_MS);
    const changes = changesOf(one);
    await other.count(ROOM);
    const log = await logOf();
    const [by] = JSON.parse((await recordsOf()).find(({ topic }) => topic === 'join')!.data) as string[];
    await log.append([{ topic: 'drop', data: JSON.stringify(['other', by]), isJson: true }]);
    store.isAway = true;
    await pass(TOLD_MS);
    store.isAway = false;
    await pass(1_000);
    const kinds = (await recordsOf()).map(({ topic }) => topic).filter((kind) => kind !== 'alive');
    expect(kinds.slice(-4)).toEqual(['drop', 'begin', 'join', 'end']);
    expect(await idsOf(other)).toEqual(['anna']);
    // The instance itself knows that they are there.
    await pass(5_000);
    expect(changes.filter((line) => line.includes('-'))).toEqual([]);
  });

  it('writes what a failed append did not', async () => {
    const [one, other] = [instance({ graceMs: 0 }), instance({ graceMs: 0 })];
    const leave = join(one, 'anna');
    await pass(TOLD_MS);
    store.isAway = true;
    leave();
    await pass(1_000);
    store.isAway = false;
    await pass(3_000);
    expect(await idsOf(other)).toEqual([]);
  });

  it('sweeps what a failed append has left behind, which came late', async () => {
    const [one, other] = [instance({ graceMs: 0 }), instance({ graceMs: 0 })];
    join(one, 'ben');
    const leave = join(one, 'anna');
    store.isDoubtful = true;
    await pass(TOLD_MS);
    leave();
    store.isDoubtful = false;
    await pass(1_000);
    expect(await idsOf(other)).toEqual(['ben']);
    store.catchUp();
    await pass(TOLD_MS);
    expect(await idsOf(other)).toEqual(['anna', 'ben']);
    await pass(LEASE_MS / 4 + TOLD_MS);
    expect(await idsOf(other)).toEqual(['ben']);
  });

  it('gives the members of an instance that closes no longer than the grace', async () => {
    const [one, closing] = [instance(), instance()];
    join(one, 'ben');
    join(closing, 'anna');
    await pass(TOLD_MS);
    await closing.leave();
    kill(closing);
    await pass(GRACE_MS - TOLD_MS);
    expect(await idsOf(one)).toEqual(['anna', 'ben']);
    // A lease that runs out would take longer.
    await pass(1_000 + 3 * TOLD_MS);
    expect(await idsOf(one)).toEqual(['ben']);
  });

  it('passes over what another program has written', async () => {
    const one = instance({ maxDataBytes: 20 });
    await one.count(ROOM);
    const log = await logOf();
    const nested = `${'['.repeat(100_000)}${']'.repeat(100_000)}`;
    const join = (entries: string) => ['join', `["x",["${ROOM}",${entries}]]`] as const;
    for (const [topic, data] of [
      ['join', 'null'],
      ['join', '{}'],
      ['join', '[]'],
      ['join', `["x",["rooms.*",["a"]],[1,["a"]],"${ROOM}",null]`],
      join('null,[],[""],[1],["\\ud800"],{"id":"a"}'),
      join(`["${'i'.repeat(257)}"]`),
      join('["__proto__",{"__proto__":1}]'),
      join(`["long","${'d'.repeat(30)}"],["deep",${nested}]`),
      ['leave', `["x",["${ROOM}",1,"nobody"]]`],
      ['alive', '["x"]'],
      ['drop', '["x"]'],
      ['drop', '["x","y"]'],
      ['gone', '["nobody"]'],
      ['other', '["x"]'],
      [`begin`, `["${'x'.repeat(65)}"]`],
    ] as const) {
      await log.append([{ topic, data, isJson: true }]);
    }
    await pass(TOLD_MS);
    const { members } = await one.list(ROOM);
    expect(members.map(({ id }) => id)).toEqual(['__proto__', 'long', 'deep']);
    expect(members.map(({ data }) => data === undefined)).toEqual([false, true, true]);
    expect(({} as Record<string, unknown>)['1']).toBeUndefined();
  });

  it('is refused past its bounds, just at them it is not, and tells which to raise', async () => {
    const one = instance({ maxMembersPerTopic: 2, maxTopics: 2, maxMembers: 4 });
    const topics = ['rooms.1', 'rooms.2'];
    const leave = join(one, 'anna', undefined, topics);
    join(one, 'ben', undefined, topics);
    // Another tab of a member.
    join(one, 'ben');
    const refusal = (id: string, topic: string) => {
      try {
        join(one, id, undefined, [topic]);
        return undefined;
      } catch (error) {
        return [(error as { code: string }).code, (error as { field: string }).field];
      }
    };
    expect(refusal('carl', 'rooms.1')).toEqual(['presence-full', 'presence.maxMembersPerTopic']);
    expect(refusal('carl', 'rooms.3')).toEqual(['presence-full', 'presence.maxMembers']);
    leave('revoked');
    expect(refusal('carl', 'rooms.3')).toEqual(['presence-full', 'presence.maxTopics']);
    expect(refusal('carl', 'rooms.1')).toBeUndefined();
    await pass(TOLD_MS);
    expect(await idsOf(one)).toEqual(['ben', 'carl']);
    expect(one.counts).toEqual({ members: 3, ownMembers: 3, ownTopics: 2, refused: 3 });

    // A call for several topics, of which the last has no place: it takes none of the others either.
    const other = instance({ maxTopics: 2 });
    const three = () => join(other, 'dora', undefined, ['rooms.3', 'rooms.4', 'rooms.5']);
    expect(three).toThrow(expect.objectContaining({ field: 'presence.maxTopics' }));
    join(other, 'dora', undefined, ['rooms.6', 'rooms.7']);
    await pass(TOLD_MS);
    expect([await other.count('rooms.3'), await other.count('rooms.7')]).toEqual([0, 1]);
  });

  it('leaves out what other instances have past the bounds, and warns', async () => {
    const [one, other] = [instance({ maxMembersPerTopic: 2 }), instance()];
    await one.count(ROOM);
    ['anna', 'ben', 'carl'].forEach((id) => join(other, id));
    await pass(TOLD_MS);
    expect(await one.count(ROOM)).toBe(2);
    expect(await other.count(ROOM)).toBe(3);
    expect(warned).toEqual([expect.stringContaining('presence.maxMembersPerTopic (2)')]);
  });

  it.each<[string, unknown, string]>([
    ['presence.id', {}, ROOM],
    ['presence.id', { id: '' }, ROOM],
    ['presence.id', { id: 'i'.repeat(257) }, ROOM],
    ['presence.id', { id: '\ud800' }, ROOM],
    ['presence.id', { id: 1 }, ROOM],
    ['presence.data', { id: 'a', data: () => 1 }, ROOM],
    ['presence.data', { id: 'a', data: 1n }, ROOM],
    ['presence.data', { id: 'a', data: 'd'.repeat(1_023) }, ROOM],
    ['name', { id: 'a', name: 'Anna' }, ROOM],
    ['presence', { id: 'a' }, 'rooms.*'],
    ['presence', { id: 'a' }, '>'],
  ])('refuses a wrong %s, case %#', (field, option, topic) => {
    const attend = () =>
      instance().attend(new Client().response, ['rooms.2', topic], option as PresenceOption);
    expect(attend).toThrow(expect.objectContaining({ code: 'options-invalid', field }));
  });

  it('tells a subscriber in its own async context, and completes as the app closes', async () => {
    const user = new AsyncLocalStorage<string>();
    const one = instance();
    const told: (string | undefined)[] = [];
    const subscribe = () => one.changes(ROOM).subscribe(() => told.push(user.getStore()));
    user.run('anna', subscribe);
    const ben = user.run('ben', subscribe);
    await pass(TOLD_MS);
    user.run('carl', () => join(one, 'carl'));
    await pass(TOLD_MS);
    ben.unsubscribe();
    const lines = changesOf(one);
    user.run('carl', () => join(one, 'dora'));
    await pass(TOLD_MS);
    expect(told).toEqual(['anna', 'ben', 'anna', 'ben', 'anna']);
    one.close();
    expect(lines).toEqual(['+carl =1', '+dora =2', 'complete']);
    await expect(one.list(ROOM)).rejects.toMatchObject({ code: 'closed' });
  });

  it('writes 10,000 members in a few records, and lists them so', async () => {
    const [one, other] = [instance(), instance()];
    const changes: SsePresenceChange[] = [];
    other.changes(ROOM).subscribe((change) => changes.push(change));
    await pass(TOLD_MS);
    for (let n = 0; n < 10_000; n += 1) {
      join(one, `user-${n}`, { name: `User ${n}` });
    }
    await pass(TOLD_MS);
    expect(await other.count(ROOM)).toBe(10_000);
    expect(changes.map(({ joined, count }) => [joined.length, count])).toEqual([
      [0, 0],
      [10_000, 10_000],
    ]);
    const joins = (await recordsOf()).filter(({ topic }) => topic === 'join');
    expect(joins.length).toBeLessThan(20);
    expect(Math.max(...joins.map(({ data }) => data.length))).toBeLessThan(33_000);
  });
});
