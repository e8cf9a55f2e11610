import { setTimeout as pause } from 'node:timers/promises';
import type { FollowCounts } from '../../../lib/topics/index.js';
import { History } from './history.js';
import { Random } from '../../support/random.js';
import { StressClient } from './stress-client.js';
import type { Return, Tally } from './stress-client.js';
import { LOG_EVENTS, MAX_REPLAY_EVENTS, RING_EVENTS, StressServer } from './stress-server.js';
import { makeWish, TOPICS } from './wish.js';

export interface StressOptions {
  readonly seed: number;
  /** How long it works at least; longer, where a fault or a path is still to come. */
  readonly seconds: number;
  readonly clients: number;
  /** False for a control run: the same work with clients that stay and read. */
  readonly withFaults: boolean;
}

export interface StressReport {
  readonly seed: number;
  readonly published: number;
  readonly tally: Tally;
  /** How often each fault was injected. */
  readonly injected: Record<Fault, number>;
  /** How often clients followed something further, or something less. */
  readonly changes: Record<'follow' | 'unfollow', number>;
  readonly resumes: FollowCounts;
  /** Why connections ended. */
  readonly ends: Record<string, number>;
  readonly writes: { direct: number; throughResponse: number };
  readonly blocks: Record<'warm' | 'cold', number>;
  /** The furthest that a client's id is behind the log when all is over. */
  readonly maxLag: number;
  /** What a client got that it must not, or did not get that it must; and what was reported. */
  readonly faults: string[];
  /** What was left behind in the server. */
  readonly leftovers: { connections: number; followers: number; deadlines: number };
}

/** Ids that no log would give, with the reason of the reset that each must lead to. */
const FORGERIES = {
  'another nonce': ([epoch, sequence]) => ({ id: `${epoch}-${sequence}-00c0ffee`, mustReset: 'diverged' }),
  'another epoch': ([, sequence, nonce]) => ({ id: `0000-${sequence}-${nonce}`, mustReset: 'epoch' }),
  'the future': ([epoch, , nonce]) => ({ id: `${epoch}-999999999-${nonce}`, mustReset: 'regressed' }),
  'cut short': (parts, random) => ({
    id: parts.join('-').slice(0, -random.between(1, 8)),
    mustReset: 'invalid',
  }),
  'of another kind': ([epoch, sequence, nonce], random) => ({
    id: random.pick(['0', 'abc', '-1', `${epoch}-01-${nonce}`, `${epoch}-${sequence}`, `${epoch}--${nonce}`]),
    mustReset: 'invalid',
  }),
  none: () => ({ id: undefined }),
} satisfies Record<string, (parts: string[], random: Random) => Pick<Return, 'id' | 'mustReset'>>;
type Forgery = keyof typeof FORGERIES;
const KINDS = Object.keys(FORGERIES) as Forgery[];

const FAULTS = [
  'drop',
  'stall',
  'stall until closed as slow',
  ...KINDS.map((kind) => `id: ${kind}` as const),
] as const;
type Fault = (typeof FAULTS)[number];

const PUBLISHERS = 3;
const MOST_NOISE = 60_000;
const NOISE = noiseBy(new Random(1));
// A process that is too slow for its work meets each path in the end: this is for one that never does.
const PATIENCE_MS = 120_000;

/** Publishers and clients in one process, over real sockets. */
export async function runStress(options: StressOptions): Promise<StressReport> {
  const server = await StressServer.start();
  const run = new Run(server, options);
  try {
    return await run.work();
  } finally {
    run.over.abort();
    run.clients.forEach((client) => client.drop());
    await server.stop();
  }
}

class Run {
  readonly over = new AbortController();
  readonly clients: StressClient[];
  readonly #server: StressServer;
  readonly #options: StressOptions;
  readonly #history = new History();
  readonly #injected = Object.fromEntries(FAULTS.map((fault) => [fault, 0])) as Record<Fault, number>;
  readonly #changes = { follow: 0, unfollow: 0 };
  readonly #errors: string[] = [];
  readonly #random: Random;
  #nextUid = 0;
  #published = 0;

  constructor(server: StressServer, options: StressOptions) {
    this.#server = server;
    this.#options = options;
    this.#random = new Random(options.seed);
    this.clients = Array.from({ length: options.clients }, (_, index) => {
      const wishes = Array.from({ length: this.#random.between(1, 3) }, () => this.#wish(this.#random));
      return new StressClient({ index, url: server.url, wishes, history: this.#history });
    });
  }

  async work(): Promise<StressReport> {
    const { seconds } = this.#options;
    const begin = Date.now();
    const working = [
      ...Array.from({ length: PUBLISHERS }, () => this.#publish(this.#random.fork())),
      ...this.clients.map((client, index) => this.#live(client, index, this.#random.fork())),
    ];
    const deadline = begin + seconds * 1_000 + PATIENCE_MS;
    const isDone = () => Date.now() >= begin + seconds * 1_000 && this.#hasSeenAll();
    await until(isDone, deadline);
    this.over.abort();
    await Promise.all(working);
    await Promise.all(this.clients.map((client, index) => this.#readToEnd(client, index)));
    const maxLag = Math.max(...this.clients.map(({ seen }) => this.#history.last - seen));
    this.clients.forEach((client) => client.drop());
    await until(() => Object.values(this.#server.leftovers).every((count) => count === 0));
    return this.#report(maxLag);
  }

  /** Whether every fault has been injected and every path taken, where there are faults at all. */
  #hasSeenAll(): boolean {
    const { ring, log, resets } = this.#server.topics.counts;
    const { slow = 0 } = this.#server.ends;
    return (
      !this.#options.withFaults ||
      [...Object.values(this.#injected), ring, log, ...Object.values(resets), slow].every(
        (times) => times > 0,
      )
    );
  }

  #report(maxLag: number): StressReport {
    return {
      seed: this.#options.seed,
      published: this.#history.last,
      tally: sum(this.clients.map(({ tally }) => tally)),
      injected: this.#injected,
      changes: this.#changes,
      resumes: this.#server.topics.counts,
      ends: this.#server.ends,
      writes: { ...this.#server.writes },
      blocks: this.#server.blocks,
      maxLag,
      faults: [...this.clients.flatMap(({ faults }) => faults), ...this.#errors, ...this.#server.complaints],
      leftovers: this.#server.leftovers,
    };
  }

  #wish(random: Random) {
    this.#nextUid += 1;
    return makeWish(random, this.#nextUid);
  }

  async #publish(random: Random): Promise<void> {
    while (!this.over.signal.aborted) {
      for (let times = random.between(1, 6); times > 0; times -= 1) {
        const topic = random.pick(TOPICS);
        this.#published += 1;
        // Now and then a large one, so that sockets fill.
        const pad = random.next() < 0.05 ? noise(this.#published, random.between(1_000, MOST_NOISE)) : '';
        const data = { n: this.#published, pad };
        void this.#server.topics.publish(topic, { data }).then(
          (position) => this.#history.add(position, topic, data),
          (error: unknown) => this.#errors.push(String(error)),
        );
      }
      await pause(random.between(1, 8));
      // This process does the clients' work as well. Where it is slow, that of the publishers is.
      await this.#server.answer();
    }
  }

  async #live(client: StressClient, index: number, random: Random): Promise<void> {
    await client.connect({ id: undefined, isCleared: random.next() < 0.5 });
    while (!this.over.signal.aborted) {
      await pause(random.between(20, 400));
      if (this.over.signal.aborted) {
        return;
      }
      if (client.isCut) {
        await this.#comeBack(client, random);
      } else if (this.#options.withFaults && random.next() < 0.5) {
        await this.#disturb(client, index, random);
      } else if (client.isSettled && this.#server.isOpen(index)) {
        this.#change(client, index, random);
      }
    }
  }

  /** What the app does on behalf of a client that stays. */
  #change(client: StressClient, index: number, random: Random): void {
    const { wishes } = client;
    const kind = random.next();
    if (kind < 0.5) {
      this.#server.note(index);
    } else if (kind < 0.75 && wishes.length < 4) {
      const wish = this.#wish(random);
      this.#changes.follow += 1;
      client.follows(wish, this.#server.topics.tail.last);
      this.#server.follow(index, wish);
    } else if (wishes.length > 1) {
      const wish = random.pick(wishes);
      this.#changes.unfollow += 1;
      client.unfollows(wish, this.#server.topics.tail.last);
      this.#server.unfollow(index, wish);
    }
  }

  async #disturb(client: StressClient, index: number, random: Random): Promise<void> {
    const kind = random.next();
    if (kind < 0.2 && client.wishes.some(({ pattern }) => pattern === '>')) {
      this.#inject('stall until closed as slow');
      client.stall();
      // A machine that is slow takes a minute to fill its socket.
      await until(() => !this.#server.isOpen(index) || this.over.signal.aborted, Infinity);
      client.readOn();
    } else if (kind < 0.3) {
      this.#inject('stall');
      client.stall();
      await pause(random.between(100, 2_000));
      client.readOn();
    } else {
      this.#inject('drop');
      client.drop();
      const { tail } = this.#server.topics;
      const back = tail.last + absence(random);
      await until(() => tail.last >= back || this.over.signal.aborted);
      await this.#comeBack(client, random);
    }
  }

  async #comeBack(client: StressClient, random: Random): Promise<void> {
    client.drop();
    const isCleared = random.next() < 0.2 ? !client.isCleared : client.isCleared;
    const byQuery = random.next() < 0.3;
    const given = this.#options.withFaults && random.next() < 0.4 ? this.#forge(client, random) : undefined;
    await client.connect({ ...(given ?? { id: client.lastId }), isCleared, byQuery });
  }

  /** An id that no log would give; nothing where one could not tell what must come of it. */
  #forge({ lastId, seen }: StressClient, random: Random): Pick<Return, 'id' | 'mustReset'> | undefined {
    const { last } = this.#server.topics.tail;
    // What is about to be trimmed may be so when it is looked for.
    if (!lastId || seen < last - LOG_EVENTS / 2 || seen >= last) {
      return undefined;
    }
    const kind = random.pick(KINDS);
    this.#inject(`id: ${kind}`);
    return FORGERIES[kind](lastId.split('-'), random);
  }

  #inject(fault: Fault): void {
    this.#injected[fault] += 1;
  }

  async #readToEnd(client: StressClient, index: number): Promise<void> {
    if (client.isCut || !this.#server.isOpen(index)) {
      client.drop();
      await client.connect({ id: client.lastId, isCleared: client.isCleared });
    }
    // It comes after all that was before it.
    this.#server.note(index);
    const isWhole = () =>
      client.isCut || (client.notes === this.#server.notesTo(index) && client.missing() === undefined);
    await until(isWhole);
    const missing = client.missing();
    if (missing || client.notes !== this.#server.notesTo(index)) {
      client.faults.push(
        `Client ${index} never got ${missing ? `${missing.sequence} of ${missing.topic}` : 'all its notes'}.`,
      );
    }
  }
}

/** In events: so many that the ring holds them, or the log, or neither, or more than is replayed. */
function absence(random: Random): number {
  const kind = random.next();
  if (kind < 0.55) {
    // The ids of quiet clients are old already.
    return random.between(0, RING_EVENTS / 30);
  }
  if (kind < 0.8) {
    return random.between(RING_EVENTS, LOG_EVENTS * 0.7);
  }
  if (kind < 0.93) {
    return random.between(LOG_EVENTS * 0.9, MAX_REPLAY_EVENTS * 0.9);
  }
  return random.between(MAX_REPLAY_EVENTS * 0.95, MAX_REPLAY_EVENTS * 1.2);
}

function noiseBy(random: Random): string {
  return Buffer.from(Array.from({ length: MOST_NOISE }, () => random.between(0, 255))).toString('base64');
}

/** Text of which compression saves little: it fills the socket of a client that takes gzip as well. */
function noise(n: number, length: number): string {
  const start = n % (NOISE.length - length);
  return NOISE.slice(start, start + length);
}

function sum(tallies: readonly Tally[]): Tally {
  const total: Tally = { received: 0, notes: 0, states: 0, withheld: 0, superseded: 0, resets: {} };
  for (const { resets, ...counts } of tallies) {
    for (const [name, count] of Object.entries(counts)) {
      total[name as keyof typeof counts] += count;
    }
    for (const [reason, count] of Object.entries(resets)) {
      total.resets[reason] = (total.resets[reason] ?? 0) + count;
    }
  }
  return total;
}

async function until(condition: () => boolean, deadline = Date.now() + 30_000): Promise<void> {
  while (!condition() && Date.now() < deadline) {
    await pause(20);
  }
}
