import { writeFile } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { waitFor } from 'nestjs-event-stream/testing';
import { endProcesses } from '../../support/apps/app-process.js';
import { stopServers } from '../../support/servers/local-server.js';
import { parsePosition } from '../../../lib/wire/index.js';
import { Random } from '../../support/random.js';
import { makeWish, TOPICS } from '../memory/wish.js';
import { ChaosClient } from './chaos-client.js';
import { findFaults, firstOwed } from './checker.js';
import { complaintsIn } from '../complaints.js';
import type { Ground, Stage } from '../ground.js';
import { plainHistory } from './history.js';
import type { ChaosHistory, Sent } from './history.js';
import { Instance, UnansweredError } from './instance.js';
import type { PublishAnswer } from './instance.js';

export interface ChaosOptions {
  readonly seed: number;
  /** How long faults are injected at least; longer, where one or a path is still to come. */
  readonly seconds: number;
  readonly clients: number;
  /** How many come back at once, where that is the fault. */
  readonly crowd: number;
  /** False for a control run: the same work, and nothing goes wrong. */
  readonly withFaults: boolean;
  /** A file for all that happened, where something is wrong. */
  readonly historyFile?: string | undefined;
  readonly ground: (random: Random) => Promise<Ground>;
}

export interface ChaosReport {
  readonly seed: number;
  /** What publishers were told, by kind. */
  readonly published: Record<Sent['outcome']['kind'], number>;
  readonly received: number;
  /** How often each fault was injected. */
  readonly injected: Record<string, number>;
  /** How clients went on when they came back, by path. */
  readonly resumes: { ring: number; log: number };
  /** What clients were told, by reason. */
  readonly resets: Record<string, number>;
  /** How many lives the log had. */
  readonly branches: number;
  /** What must not be. */
  readonly faults: string[];
}

/** Small, so that clients meet the end of the ring and of the log within seconds. */
export const LIMITS = { maxEvents: 4_000, maxReplayEvents: 2_000, ringEvents: 400 };
/** Of another version of the app. */
const OTHER_LIMITS = { maxEvents: 5_000, maxReplayEvents: 2_500, ringEvents: 150 };
export const INSTANCES = 3;

const PUBLISHERS = 2;
// Bounds for what never comes, no measures: a machine that is slow does each fault in the end.
const DEADLINE_MS = 90_000;
const PATIENCE_MS = 400_000;
const LOOK_MS = 250;
const BURST_EVENTS = 100;

/** Instances, publishers, clients, and what is done to them. */
export async function runChaos(options: ChaosOptions): Promise<ChaosReport> {
  const random = new Random(options.seed);
  const ground = await options.ground(random);
  const run = new Run(ground, options, random);
  try {
    await run.begin();
    return await run.work();
  } finally {
    await run.leave();
    await ground.stop();
    await endProcesses();
    await stopServers();
  }
}

class Run implements Stage {
  readonly random: Random;
  readonly faults: string[] = [];
  readonly #options: ChaosOptions;
  readonly #ground: Ground;
  readonly #over = new AbortController();
  readonly #sent = new Map<number, Sent>();
  readonly #published = { acknowledged: 0, refused: 0, unknown: 0, unresolved: 0 };
  readonly #clients: ChaosClient[];
  /** All that ever were: what they did outlives them. */
  readonly #instances: Instance[] = [];
  readonly #injected: Record<string, number>;
  /** When each fault began, by the clock of the clients' sights. */
  readonly #begun: { at: number; fault: string }[] = [];
  readonly #away = new Set<ChaosClient>();
  #working: Promise<unknown>[] = [];

  constructor(ground: Ground, options: ChaosOptions, random: Random) {
    this.random = random;
    this.#options = options;
    this.#ground = ground;
    this.#injected = Object.fromEntries(Object.keys(ground.faults).map((name) => [name, 0]));
    this.#clients = Array.from({ length: options.clients }, (_, index) =>
      this.#makeClient(`Client ${index}`),
    );
  }

  get serving(): Instance[] {
    return this.#instances.filter(({ isServing }) => isServing);
  }

  async begin(): Promise<void> {
    await Promise.all(Array.from({ length: INSTANCES }, (_, slot) => this.start(slot)));
    const { recorder } = this.#ground;
    await this.settle();
    await recorder.look();
    this.#working = [
      ...Array.from({ length: PUBLISHERS }, () => this.#publishOn(this.random.fork())),
      ...this.#clients.map((client) => this.#live(client, this.random.fork())),
      this.#lookOn(),
    ];
  }

  async work(): Promise<ChaosReport> {
    await (this.#options.withFaults ? this.#disturb() : pause(this.#options.seconds * 1_000));
    this.#over.abort();
    await Promise.all(this.#working);
    await this.settle();
    await this.#ground.recorder.look();
    await this.#readToEnd();
    this.#clients.forEach((client) => client.drop());
    await this.#checkLeftovers();
    const report = this.#report();
    await this.#keepHistory(report.faults);
    return report;
  }

  async leave(): Promise<void> {
    this.#over.abort();
    this.#clients.forEach((client) => client.drop());
    this.#instances.forEach((instance) => instance.resume());
    await Promise.allSettled(this.#working);
  }

  async start(slot: number, version: 'this' | 'other' = 'this'): Promise<Instance> {
    const limits = version === 'this' ? LIMITS : OTHER_LIMITS;
    const instance = await Instance.start(slot, { engine: this.#ground.engineOf(slot), limits });
    this.#instances.push(instance);
    return instance;
  }

  async kill(instance: Instance): Promise<void> {
    await instance.kill();
  }

  async close(instance: Instance): Promise<void> {
    const code = await instance.close();
    if (code !== 0) {
      this.faults.push(`An instance ended with ${code}: ${instance.output.slice(-1_000)}`);
    }
  }

  async publish(instance: Instance, count = 1, random = this.random): Promise<PublishAnswer[]> {
    const events = Array.from({ length: count }, (): Sent => {
      const n = this.#sent.size + 1;
      const pad = random.next() < 0.05 ? 'x'.repeat(random.between(100, 2_000)) : '';
      const event: Sent = { n, topic: random.pick(TOPICS), pad, outcome: { kind: 'unresolved' } };
      this.#sent.set(n, event);
      return event;
    });
    try {
      const answers = await instance.publish(events.map(({ n, topic, pad }) => ({ n, topic, pad })));
      events.forEach((event, index) => this.#settleEvent(event, this.#outcomeOf(answers[index]!)));
      return answers;
    } catch (error) {
      const kind = error instanceof UnansweredError ? 'unresolved' : 'unknown';
      events.forEach((event) => this.#settleEvent(event, { kind }));
      return [];
    }
  }

  async untilPublished(kind: Sent['outcome']['kind'], count: number): Promise<void> {
    const wanted = this.#published[kind] + count;
    await waitFor(() => this.#published[kind] >= wanted, {
      timeoutMs: DEADLINE_MS,
      describe: () => {
        const states = this.serving.map(({ state, output }) => [state, output.slice(-500)]);
        return `${count} further publishes that end as ${kind}: ${JSON.stringify([this.#published, states])}`;
      },
    });
  }

  /** Publishes that many events as fast as the instances take them. */
  async burst(events: number): Promise<void> {
    const { serving } = this;
    for (let left = events; left > 0; left -= serving.length * BURST_EVENTS) {
      await Promise.all(serving.map((instance) => this.publish(instance, BURST_EVENTS)));
      // What is trimmed before it is written down is missing from the history.
      await this.#ground.recorder.look();
    }
  }

  /** Clients that come, are cut off, come back all at once and, when they have what they missed, leave. */
  async crowd(): Promise<void> {
    const crowd = Array.from({ length: this.#options.crowd }, (_, index) =>
      this.#makeClient(`One of a crowd ${index}`),
    );
    this.#clients.push(...crowd);
    const { recorder } = this.#ground;
    const allGet = async (what: string, hasGot: (client: ChaosClient) => boolean) => {
      let waiting = crowd;
      const isDone = () => {
        waiting = waiting.filter((client) => !hasGot(client));
        for (const client of waiting) {
          if (!client.isConnected) {
            this.#connect(client, this.random);
          }
        }
        return waiting.length === 0;
      };
      await this.#until(isDone, `a crowd that has ${what}`);
    };
    await allGet('its place', ({ lastId }) => lastId !== undefined);
    crowd.forEach((client) => client.drop());
    await this.untilPublished('acknowledged', 100);
    await recorder.look();
    const { head } = recorder;
    // All of them in one turn, also those that have missed nothing.
    crowd.forEach((client) => this.#connect(client, this.random));
    await allGet('what it missed', (client) => firstOwed(this.#history(), client, head) === undefined);
    crowd.forEach((client) => client.leave());
  }

  /** Has the clients that have seen the newest events stay away; the returned function lets them come back, with what they had. */
  sendAway(count: number): () => void {
    const away = this.#clients
      .filter(({ isConnected, hasLeft }) => isConnected && !hasLeft)
      .sort((a, b) => sequenceOf(b) - sequenceOf(a))
      .slice(0, count);
    for (const client of away) {
      this.#away.add(client);
      client.drop();
    }
    return () => away.forEach((client) => this.#away.delete(client));
  }

  async settle(): Promise<void> {
    let why = '';
    const isWell = async (instance: Instance) => {
      const [answer] = await this.publish(instance);
      const { health, reason, epoch, last } = await instance.look();
      why = JSON.stringify({ health, reason, epoch, last, answer });
      const position = answer && 'position' in answer ? parsePosition(answer.position)! : undefined;
      // Another may have taken its place meanwhile, and then the next has.
      return health === 'ready' && position?.epoch === epoch && last >= position.sequence;
    };
    for (const instance of this.serving) {
      for (const deadline = performance.now() + DEADLINE_MS; !(await isWell(instance)); await pause(50)) {
        if (performance.now() < deadline) {
          continue;
        }
        this.faults.push(`An instance did not recover: ${why}, ${instance.output.slice(-1_000)}`);
        return;
      }
    }
  }

  async #disturb(): Promise<void> {
    const begin = performance.now();
    const isOver = () => performance.now() - begin > this.#options.seconds * 1_000;
    const isLate = () => performance.now() - begin > this.#options.seconds * 1_000 + PATIENCE_MS;
    const hasAll = () => Object.values(this.#injected).every((times) => times > 0);
    while (!(isOver() && hasAll())) {
      for (const name of this.random.shuffled(Object.keys(this.#injected))) {
        if ((isOver() && hasAll()) || isLate()) {
          return;
        }
        // Another seed, or a longer run, does as many of them in the same order.
        const startedAt = performance.now();
        this.#begun.push({ at: startedAt, fault: name });
        await this.#ground.faults[name]!(this);
        this.#injected[name]! += 1;
        await this.settle();
        await this.#ground.recorder.look();
        process.stderr.write(`${name}: ${Math.round(performance.now() - startedAt)} ms\n`);
      }
    }
  }

  async #publishOn(random: Random): Promise<void> {
    while (!this.#over.signal.aborted) {
      const { serving } = this;
      if (serving.length > 0) {
        await this.publish(random.pick(serving), random.between(1, 6), random);
      }
      await pause(random.between(5, 20));
    }
  }

  async #live(client: ChaosClient, random: Random): Promise<void> {
    while (!this.#over.signal.aborted) {
      if (!client.isConnected) {
        if (!this.#away.has(client)) {
          this.#connect(client, random);
        }
      } else if (random.next() < 0.04) {
        client.drop();
        if (this.#options.withFaults) {
          await this.#pause(absenceMs(random));
        }
        const { lastId } = client;
        const isForged = this.#options.withFaults && random.next() < 0.05;
        if (this.#away.has(client)) {
          continue;
        }
        this.#connect(client, random, isForged && lastId !== undefined ? forged(lastId, random) : undefined);
      }
      await this.#pause(random.between(20, 300));
    }
  }

  #connect(client: ChaosClient, random: Random, id?: string): void {
    const { serving } = this;
    if (serving.length > 0) {
      client.connect(random.pick(serving).base, id);
    }
  }

  async #lookOn(): Promise<void> {
    while (!this.#over.signal.aborted) {
      // A log, or an instance, that is away is what this run is about.
      await Promise.allSettled([this.#ground.recorder.look(), ...this.serving.map((one) => one.look())]);
      await this.#pause(LOOK_MS);
    }
  }

  async #readToEnd(): Promise<void> {
    const history = this.#history();
    const staying = this.#clients.filter(({ hasLeft }) => !hasLeft);
    const isRead = () => {
      for (const client of staying) {
        if (!client.isConnected) {
          this.#connect(client, this.random);
        }
      }
      return staying.every((client) => firstOwed(history, client) === undefined);
    };
    // What is not read by then is a fault that the checker finds.
    await waitFor(isRead, { timeoutMs: DEADLINE_MS }).catch(() => undefined);
  }

  async #checkLeftovers(): Promise<void> {
    const left = async () => {
      const states = await Promise.all(this.serving.map((instance) => instance.look()));
      return states
        .map(({ publishing, connections, followers, deadlines }) =>
          JSON.stringify({ publishing, connections, followers, deadlines }),
        )
        .filter((state) => /[1-9]/.test(state));
    };
    await this.#until(async () => (await left()).length === 0, 'instances that have let go of their clients');
    this.faults.push(...(await left()).map((state) => `An instance is left with ${state}.`));
    this.faults.push(...(await this.#ground.leftovers(this.serving.length)));
    await Promise.all(this.serving.map((instance) => this.close(instance)));
    this.faults.push(...(await this.#ground.leftovers(0)));
    const complaints = this.#instances.flatMap(({ output }) => complaintsIn(output));
    this.faults.push(...complaints.map((line) => `An instance printed: ${line}`));
  }

  async #keepHistory(faults: readonly string[]): Promise<void> {
    const { historyFile } = this.#options;
    if (historyFile !== undefined && faults.length > 0) {
      const outputs = this.#instances.map(({ slot, output }) => ({ slot, output }));
      const kept = { faults, begun: this.#begun, ...plainHistory(this.#history()), outputs };
      await writeFile(historyFile, JSON.stringify(kept));
    }
  }

  #history(): ChaosHistory {
    const { branches } = this.#ground.recorder;
    return { sent: this.#sent, branches, clients: this.#clients, limits: LIMITS };
  }

  #report(): ChaosReport {
    const states = this.#instances.flatMap(({ state }) => (state ? [state] : []));
    const sum = (values: number[]) => values.reduce((total, value) => total + value, 0);
    const resets: Record<string, number> = {};
    for (const [reason, times] of this.#clients.flatMap((client) => Object.entries(client.resets))) {
      resets[reason] = (resets[reason] ?? 0) + times;
    }
    return {
      seed: this.#options.seed,
      published: this.#published,
      received: sum(this.#clients.map(({ received }) => received)),
      injected: this.#injected,
      resumes: {
        ring: sum(states.map(({ resumes }) => resumes.ring)),
        log: sum(states.map(({ resumes }) => resumes.log)),
      },
      resets,
      branches: this.#ground.recorder.branches.length,
      faults: [
        ...this.faults,
        ...this.#clients.flatMap(({ faults }) => faults),
        ...this.#ground.recorder.gaps,
        ...findFaults(this.#history()),
      ],
    };
  }

  #makeClient(name: string): ChaosClient {
    const wishes = Array.from({ length: this.random.between(1, 2) }, (_, uid) => ({
      ...makeWish(this.random, uid),
      latest: false,
      snapshot: 'none' as const,
    }));
    return new ChaosClient({ name, wishes, isCleared: this.random.next() < 0.5 });
  }

  #settleEvent(event: Sent, outcome: Sent['outcome']): void {
    event.outcome = outcome;
    this.#published[outcome.kind] += 1;
  }

  #outcomeOf(answer: PublishAnswer): Sent['outcome'] {
    if ('position' in answer) {
      return { kind: 'acknowledged', position: answer.position };
    }
    if (answer.error !== 'publish-failed' && answer.error !== 'closed') {
      this.faults.push(`A publish failed with ${answer.error}.`);
    }
    return { kind: answer.isOutcomeKnown ? 'refused' : 'unknown' };
  }

  #pause(ms: number): Promise<unknown> {
    return pause(ms, undefined, { signal: this.#over.signal }).catch(() => undefined);
  }

  async #until(condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
    await waitFor(condition, { timeoutMs: DEADLINE_MS, describe: what }).catch((error: unknown) =>
      this.faults.push(String(error)),
    );
  }
}

function sequenceOf({ lastId = '' }: ChaosClient): number {
  return parsePosition(lastId)?.sequence ?? 0;
}

/** How long a client is away: mostly no time, and now and then longer than the ring reaches back, or the replay. */
function absenceMs(random: Random): number {
  const kind = random.next();
  if (kind < 0.7) {
    return random.between(0, 50);
  }
  return kind < 0.9 ? random.between(1_000, 2_500) : random.between(3_000, 8_000);
}

/** An id that no log would give. */
function forged(id: string, random: Random): string {
  const [epoch, sequence, nonce] = id.split('-');
  return random.pick([`${epoch}-${sequence}`, `${epoch}-0${sequence}-${nonce}`, 'abc', `${id}0`]);
}
