import { setTimeout as pause } from 'node:timers/promises';
import type { INestApplication } from '@nestjs/common';
import { SseService } from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';
import { baseOf, platforms } from '../../support/apps/platforms.js';
import type { Random } from '../../support/random.js';
import type { Ground } from '../ground.js';
import { ask, Stream } from './get.js';
import type { Answer } from './get.js';
import { inject } from './grounds.js';
import type { LogFault, TrustEngine } from './grounds.js';
import type { Disturbance, Presentation, RevocationRecord, Stay, ToldChange, Visit } from './history.js';
import type { ListRecord } from './history.js';
import { ROOM, trustModule } from './trust-app.js';
import type { TrustState } from './trust-app.js';

/** An instance on this engine, to which clients are sent. */
export interface Target {
  readonly name: string;
  readonly base: string;
}

const MEMBERS = 8;
const DEADLINE = { timeoutMs: 120_000 };

/** One engine: its instances, the clients of those, and all that they see. One instance, the watcher, is of this process. */
export class EngineStage {
  readonly disturbances: Disturbance[] = [];
  readonly presentations: Presentation[] = [];
  readonly revocations: RevocationRecord[] = [];
  readonly visits: Visit[] = [];
  readonly stays: Omit<Stay, 'isKilled'>[] = [];
  readonly changes: ToldChange[] = [];
  readonly lists: ListRecord[] = [];
  readonly engine: TrustEngine;
  readonly ground: Ground;
  readonly #random: Random;
  readonly #processes: () => readonly Target[];
  /** Stops what clients do. */
  readonly #over = new AbortController();
  readonly #streams = new Set<Stream>();
  readonly #loops: Promise<void>[] = [];
  #tickets = 0;
  #watcher: INestApplication | undefined;
  /** Resolves when all members are there. */
  #begin!: () => void;
  readonly #begun = new Promise<void>((resolve) => (this.#begin = resolve));

  private constructor(
    engine: TrustEngine,
    ground: Ground,
    random: Random,
    processes: () => readonly Target[],
  ) {
    this.engine = engine;
    this.ground = ground;
    this.#random = random;
    this.#processes = processes;
  }

  /** @param processes - the instances of other processes, as they are now */
  static async start(
    engine: TrustEngine,
    random: Random,
    processes: () => readonly Target[],
  ): Promise<EngineStage> {
    return new EngineStage(engine, await engine.start(), random, processes);
  }

  async startWatcher(): Promise<void> {
    this.#watcher = await platforms[0]!.create(trustModule(this.ground.engineOf(0)));
  }

  get #sse(): SseService {
    return this.#watcher!.get(SseService);
  }

  get targets(): readonly Target[] {
    return [{ name: 'the watcher', base: baseOf(this.#watcher!) }, ...this.#processes()];
  }

  /** Has clients come, and resolves when all members are there. */
  async begin(): Promise<void> {
    this.#sse
      .presence(ROOM)
      .changes()
      .subscribe(({ joined, updated, left, count }) => {
        const idsOf = (members: readonly { id: string }[]) => members.map(({ id }) => id);
        const change = { joined: idsOf(joined), updated: idsOf(updated), left: idsOf(left), count };
        this.changes.push({ at: Date.now(), ...change });
      });
    for (let n = 0; n < MEMBERS; n += 1) {
      this.#loops.push(this.#belong(`member-${n}`, n, this.#random.fork()));
    }
    const hasAll = async () => (await this.#sse.presence(ROOM).count()) === MEMBERS;
    await waitFor(hasAll, { ...DEADLINE, describe: `all members on ${this.engine.name}` });
    this.#begin();
    this.#loops.push(this.#present(this.#random.fork()));
    this.#loops.push(this.#revoke(this.#random.fork()));
    this.#loops.push(this.#comeBack(this.#random.fork()));
    this.#loops.push(this.#look(this.#random.fork()));
  }

  /** Has something happen to the log; resolves when all instances have it again. */
  async disturb(fault: LogFault): Promise<void> {
    const at = Date.now();
    await inject(this.ground, fault, this.#random);
    const isReady = async ({ base }: Target) => (await stateOf(base))?.isReady === true;
    const areReady = async () => (await Promise.all(this.targets.map(isReady))).every(Boolean);
    // A loss is noticed a moment after it.
    await this.#sse.publish('probe', 1).catch(() => undefined);
    await waitFor(areReady, { ...DEADLINE, describe: `instances that are ready after: ${fault.name}` });
    const losesFrom = fault.losesMs === 0 ? Infinity : at - fault.losesMs;
    this.disturbances.push({ name: fault.name, at, until: Date.now(), losesFrom });
  }

  /** Until every instance knows who is there; then no client comes any more. */
  async settle(): Promise<void> {
    const users = this.revocations.map(({ user }) => user);
    for (const target of this.targets) {
      await Promise.all(users.map((user, n) => this.#visit(user, target, n % 2 === 0)));
    }
    const areRight = async () => {
      const present = this.stays.filter(({ endedAt }) => endedAt === undefined).map(({ member }) => member);
      const states = await Promise.all(this.targets.map(({ base }) => stateOf(base)));
      return states.every((state) => state?.members.join() === present.sort().join());
    };
    await waitFor(areRight, {
      ...DEADLINE,
      describe: `the same members on all instances of ${this.engine.name}`,
    });
    await Promise.all(this.targets.map((target) => this.#list(target)));
    this.#over.abort();
    this.#streams.forEach((stream) => stream.leave());
    await Promise.all(this.#loops);
  }

  async stop(): Promise<void> {
    this.#over.abort();
    this.#streams.forEach((stream) => stream.leave());
    await Promise.all(this.#loops);
    await this.#watcher?.close();
    await this.ground.stop();
  }

  /** Is present: comes back whenever its stream ends, unless it leaves for good. */
  async #belong(member: string, n: number, random: Random): Promise<void> {
    const leavesAfterMs = n < 2 ? random.between(2_000, 8_000) : undefined;
    // A process that ends takes one of them with it.
    const staysAwayAtEnd = n === 2;
    while (!this.#over.signal.aborted) {
      const target = random.pick(this.targets);
      const stream = this.#open(`${target.base}/member?id=${member}`, member);
      if ((await stream.answer) !== 'in') {
        await this.#pause(50);
        continue;
      }
      const { signal } = this.#over;
      const stay = new OpenStay(member, target.name, stream);
      this.stays.push(stay);
      void stream.over.then(() => (stay.endedAt = Date.now()));
      if (
        leavesAfterMs !== undefined &&
        (await Promise.race([this.#isToLeave(leavesAfterMs), stream.over]))
      ) {
        stream.leave();
        return;
      }
      await stream.over;
      if (staysAwayAtEnd && !signal.aborted) {
        return;
      }
    }
  }

  /** Resolves when a member that is there for a while is to leave. */
  async #isToLeave(afterMs: number): Promise<true> {
    await this.#begun;
    await this.#pause(afterMs);
    return true;
  }

  /** Presents each ticket to two instances at once, and some of them once more, later. */
  async #present(random: Random): Promise<void> {
    while (await this.#pause(random.between(300, 600))) {
      this.#tickets += 1;
      const name = `ticket ${this.#tickets}`;
      const ticket = this.#sse.tickets.issue({ key: name });
      const targets = random.shuffled(this.targets).slice(0, 2);
      await Promise.all(targets.map((target) => this.#redeem(name, ticket, target)));
      if (random.next() < 0.3) {
        await this.#redeem(name, ticket, random.pick(this.targets));
      }
    }
  }

  async #redeem(name: string, ticket: string, target: Target): Promise<void> {
    const askedAt = Date.now();
    const { answer } = await this.#ask(`${target.base}/ticket?ticket=${ticket}`, name);
    const outcome = answer === 'in' ? 'opened' : answer === 'ticket' ? 'spent' : 'unknown';
    this.presentations.push({
      ticket: name,
      instance: target.name,
      askedAt,
      answeredAt: Date.now(),
      outcome,
    });
  }

  /** Lets users in, and revokes one after the other. */
  async #revoke(random: Random): Promise<void> {
    for (let n = 0; await this.#pause(random.between(500, 1_200)); n += 1) {
      const user = `user-${n}`;
      await Promise.all(
        random
          .shuffled(this.targets)
          .slice(0, 2)
          .map((target, index) => this.#visit(user, target, index === 0)),
      );
      const tryIt = () =>
        ask(`${random.pick(this.targets).base}/revoke?user=${user}`, 'POST').then(
          () => true,
          () => false,
        );
      while (!(await tryIt())) {
        if (!(await this.#pause(100))) {
          return;
        }
      }
      this.revocations.push({ user, at: Date.now() });
    }
  }

  /** Users who were revoked come back, to any instance. */
  async #comeBack(random: Random): Promise<void> {
    while (await this.#pause(random.between(150, 350))) {
      const last = this.revocations.at(-1);
      if (last) {
        const { user } = random.next() < 0.5 ? last : random.pick(this.revocations);
        await this.#visit(user, random.pick(this.targets), random.next() < 0.5);
      }
    }
  }

  async #visit(user: string, target: Target, isRevocable: boolean): Promise<void> {
    const askedAt = Date.now();
    const { answer, stream } = await this.#ask(
      `${target.base}/${isRevocable ? 'revocable' : 'user'}`,
      user,
      true,
    );
    const outcomes = {
      in: 'admitted',
      none: 'refused',
      later: 'shed',
      ticket: 'unknown',
      unknown: 'unknown',
    } as const;
    const visit = {
      user,
      instance: target.name,
      isRevocable,
      askedAt,
      outcome: outcomes[answer],
      endedAt: undefined as number | undefined,
    };
    this.visits.push(visit);
    void stream.over.then(() => (visit.endedAt = Date.now()));
  }

  async #look(random: Random): Promise<void> {
    while (await this.#pause(1_000)) {
      await this.#list(random.pick(this.targets));
    }
  }

  async #list({ name, base }: Target): Promise<void> {
    const at = Date.now();
    const state = await stateOf(base);
    if (state) {
      this.lists.push({ instance: name, at, members: state.members });
    }
  }

  /** Asks for a stream, and leaves it unless it is to be kept. */
  async #ask(url: string, user: string, isKept = false): Promise<{ answer: Answer; stream: Stream }> {
    const stream = this.#open(url, user);
    const answer = await stream.answer;
    if (!isKept) {
      stream.leave();
    }
    return { answer, stream };
  }

  #open(url: string, user: string): Stream {
    const stream = new Stream(url, user);
    this.#streams.add(stream);
    void stream.over.then(() => this.#streams.delete(stream));
    return stream;
  }

  /** @returns whether clients go on */
  async #pause(ms: number): Promise<boolean> {
    const { signal } = this.#over;
    await pause(ms, undefined, { signal }).catch(() => undefined);
    return !signal.aborted;
  }
}

/** A stay that goes on. */
class OpenStay implements Omit<Stay, 'isKilled'> {
  readonly from = Date.now();
  endedAt: number | undefined;
  readonly member: string;
  readonly instance: string;
  readonly #stream: Stream;

  constructor(member: string, instance: string, stream: Stream) {
    this.member = member;
    this.instance = instance;
    this.#stream = stream;
  }

  get seenUntil(): number {
    return this.#stream.seenAt;
  }
}

/** What an instance says of itself; undefined if it says nothing. */
function stateOf(base: string): Promise<TrustState | undefined> {
  return ask<TrustState>(`${base}/state`).catch(() => undefined);
}
