import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { waitFor } from 'nestjs-event-stream/testing';
import { endProcesses } from '../../support/apps/app-process.js';
import { stopServers } from '../../support/servers/local-server.js';
import { Random } from '../../support/random.js';
import { complaintsIn } from '../complaints.js';
import { findRunFaults, isAllTold } from './checker.js';
import { INSTANCE_FAULTS, LEASE_MS } from './faults.js';
import type { RunsFault, RunsStage } from './faults.js';
import { isSlow, isUnsaved } from './history.js';
import type { RunPlan, RunsHistory, StopCall } from './history.js';
import { Page, PAGE_FAULTS } from './page.js';
import type { PageHost } from './page.js';
import type { RunsGround } from './ground.js';
import { RunsInstance } from './runs-instance.js';
import type { InstanceState } from './runs-instance.js';
import { summaryOf } from './summary.js';
import type { RunsSummary } from './summary.js';
import { FORMATS } from './tokens.js';

export interface RunsChaosOptions {
  readonly seed: number;
  /** How many runs are asked for at least; more, where a fault is still to come. */
  readonly runs: number;
  /** How many users there are at a time, each of whom has one run after the other; 20 by default. */
  readonly users?: number;
  /** How long they are asked for at least. */
  readonly seconds: number;
  /** Whether the log, and the way there, fail as well. */
  readonly withLogFaults: boolean;
  readonly ground: (instances: number) => Promise<RunsGround>;
  /** A file for all that happened, where something is wrong. */
  readonly historyFile: string | undefined;
}

export interface RunsChaosReport extends RunsSummary {
  readonly seed: number;
  readonly runs: number;
  /** How often each fault was injected. */
  readonly injected: Record<string, number>;
  /** How often what came of them was seen: of what never came nothing is proved. */
  readonly paths: Record<string, number>;
  /** What must not be. */
  readonly faults: string[];
}

const INSTANCES = 2;
/** The deadline of an instance that looks after the runs of all. */
const WATCHES = 1;
const USERS = 20;
const DEADLINE_MS = 90_000;
const SETTLE_MS = 15_000;
const LOOK_MS = 200;
/** Between the tokens of a slow run. */
const SLOW_MS = 300;
// A machine that is slow does each fault in the end.
const PATIENCE_MS = 400_000;
const USER_FAULTS = [
  ...PAGE_FAULTS,
  'two ask at once',
  'a run takes the place of one that has ended',
  'a run is stopped',
  'a source fails',
  'a source falls silent',
  'an answer cannot be saved',
];

/** Two instances, their log, users with their pages, and what is done to them. */
export async function runRunsChaos(options: RunsChaosOptions): Promise<RunsChaosReport> {
  const folder = await mkdtemp(join(tmpdir(), 'runs-chaos-'));
  const ground = await options.ground(INSTANCES);
  const stage = new Stage(options, ground, folder);
  try {
    await stage.begin();
    return await stage.work();
  } finally {
    await stage.leave();
    await ground.stop();
    await endProcesses();
    await stopServers();
    await rm(folder, { recursive: true });
  }
}

class Stage implements RunsStage, PageHost {
  readonly random: Random;
  readonly #options: RunsChaosOptions;
  readonly #folder: string;
  readonly #ground: RunsGround;
  readonly #over = new AbortController();
  readonly #instances: RunsInstance[] = [];
  readonly #pages: Page[] = [];
  readonly #plans = new Map<string, RunPlan[]>();
  readonly #stops: StopCall[] = [];
  /** The runs that nobody asks for any more. */
  readonly #done = new Set<string>();
  readonly #injected: Record<string, number>;
  readonly #faultsOfGround: Readonly<Record<string, RunsFault>>;
  readonly #problems: string[] = [];
  readonly #begin = performance.now();
  #runs = 0;
  #paths: Record<string, number>;
  /** Of runs, when all were to be over. */
  #leases: string[] = [];

  constructor(options: RunsChaosOptions, ground: RunsGround, folder: string) {
    this.random = new Random(options.seed);
    this.#options = options;
    this.#folder = folder;
    this.#ground = ground;
    this.#faultsOfGround = options.withLogFaults
      ? { ...INSTANCE_FAULTS, ...ground.logFaults }
      : INSTANCE_FAULTS;
    this.#paths = pathsOf(this.#history, options);
    const names = [...USER_FAULTS, ...Object.keys(this.#faultsOfGround)];
    this.#injected = Object.fromEntries(names.map((name) => [name, 0]));
  }

  get signal(): AbortSignal {
    return this.#over.signal;
  }

  get serving(): RunsInstance[] {
    return this.#instances.filter(({ isServing }) => isServing);
  }

  async begin(): Promise<void> {
    await Promise.all(Array.from({ length: INSTANCES }, (_, slot) => this.start(slot)));
  }

  async work(): Promise<RunsChaosReport> {
    const { users: count = USERS } = this.#options;
    const users = Array.from({ length: count }, (_, user) => this.#use(user, this.random.fork()));
    await this.#disturb(this.random.fork());
    this.#say('no more faults');
    await this.#until(Promise.all(users), 'pages that have come to an end');
    this.#over.abort();
    this.#pages.forEach((page) => page.drop());
    this.#say('pages are done');
    await this.#settle();
    this.#say('settled');
    await this.#checkLeftovers();
    this.#say('over');
    return this.#report();
  }

  async leave(): Promise<void> {
    this.#over.abort();
    this.#pages.forEach((page) => page.drop());
    this.#instances.forEach((instance) => instance.resume());
    await Promise.resolve();
  }

  async start(slot: number): Promise<RunsInstance> {
    const name = `${'ab'[slot]}${this.#instances.length}`;
    const reports = join(this.#folder, `${name}.jsonl`);
    const engine = this.#ground.engineOf(slot);
    const instance = await RunsInstance.start(slot, { name, engine, reports, leaseMs: LEASE_MS });
    this.#instances.push(instance);
    return instance;
  }

  async close(instance: RunsInstance): Promise<void> {
    const code = await instance.close();
    if (code !== 0) {
      this.#problems.push(`An instance ended with ${code}: ${instance.output.slice(-1_000)}`);
    }
  }

  pickInstance(): RunsInstance | undefined {
    const { serving } = this;
    return serving.length > 0 ? this.random.pick(serving) : undefined;
  }

  count(fault: string): void {
    this.#injected[fault]! += 1;
  }

  isOver(id: string): boolean {
    return this.#done.has(id);
  }

  get #isEnough(): boolean {
    const { runs, seconds } = this.#options;
    const passedMs = performance.now() - this.#begin;
    if (passedMs > seconds * 1_000 + PATIENCE_MS) {
      return true;
    }
    const hasAll = [this.#injected, this.#paths].flatMap(zeros).length === 0;
    return this.#runs >= runs && passedMs > seconds * 1_000 && hasAll;
  }

  /** One chat after the other, each of a turn or two under its id. */
  async #use(user: number, random: Random): Promise<void> {
    for (let chat = 0; !this.#isEnough && !this.signal.aborted; chat += 1) {
      const fate = random.next();
      const id = `chat-${user}-${chat}${fate < 0.08 ? '-unsaved' : fate < 0.16 ? '-slow' : ''}`;
      const format = random.pick(FORMATS);
      const turns = random.next() < 0.3 ? 2 : 1;
      const plans = Array.from({ length: turns }, (_, turn) => makePlan({ id, turn, format }, random));
      this.#plans.set(id, plans);
      const viewers: Promise<void>[] = [];
      for (const plan of plans) {
        if (plan.turn > 0) {
          this.count('a run takes the place of one that has ended');
        }
        viewers.push(...(await this.#ask(plan, random)));
      }
      this.#done.add(id);
      await Promise.all(viewers);
    }
  }

  /** Resolves when whoever asked has the answer; those who look on may take longer. */
  async #ask(plan: RunPlan, random: Random): Promise<Promise<void>[]> {
    this.#runs += 1;
    if (plan.failsAt >= 0) {
      this.count('a source fails');
    }
    if (plan.silentAt >= 0) {
      this.count('a source falls silent');
    }
    if (isUnsaved(plan.id)) {
      this.count('an answer cannot be saved');
    }
    const isTwice = random.next() < 0.15;
    if (isTwice) {
      this.count('two ask at once');
    }
    const askers = Array.from({ length: isTwice ? 2 : 1 }, (_, n) => this.#live(plan, `asker ${n}`, 'POST'));
    const viewers = Array.from({ length: random.between(0, 2) }, async (_, n) => {
      await this.#pause(random.between(0, 800));
      await this.#live(plan, `viewer ${n}`, 'GET');
    });
    const isStopped = random.next() < 0.12 || plan.silentAt >= 0;
    const asked = Promise.all(askers).then(() => undefined);
    await Promise.all([asked, isStopped && this.#stop(plan, random.between(50, 1_000), asked)]);
    return viewers;
  }

  #live(plan: RunPlan, role: string, first: 'POST' | 'GET'): Promise<void> {
    const page = new Page(`The ${role} of ${plan.id}, turn ${plan.turn},`, plan, this);
    this.#pages.push(page);
    return page.live(first);
  }

  /** Stops it once; a source that is silent, until somebody answers, or nobody waits for it any more. */
  async #stop({ id, silentAt }: RunPlan, afterMs: number, asked: Promise<void>): Promise<void> {
    const asking = { isOver: false };
    void asked.then(() => (asking.isOver = silentAt >= 0));
    await this.#pause(afterMs);
    this.count('a run is stopped');
    for (let wasLive: boolean | undefined; wasLive === undefined;) {
      if (asking.isOver || this.signal.aborted) {
        return;
      }
      const askedAt = Date.now();
      const answer = await this.pickInstance()
        ?.ask(`/runs/${id}`, 'DELETE')
        .catch(() => undefined);
      ({ wasLive } = (answer?.status === 200 ? answer.body : {}) as { wasLive?: boolean });
      this.#stops.push({ id, askedAt, wasLive });
      if (silentAt < 0) {
        return;
      }
      await this.#pause(100);
    }
  }

  async #disturb(random: Random): Promise<void> {
    while (!this.#isEnough) {
      for (const name of random.shuffled(Object.keys(this.#faultsOfGround))) {
        if (this.#isEnough) {
          return;
        }
        await this.#faultsOfGround[name]!(this, random);
        this.count(name);
        await this.#ground.recorder.look();
        this.#paths = pathsOf(this.#history, this.#options);
        this.#say(name);
        await this.#pause(random.between(100, 400));
        if (this.#ground.isSlowToReturn) {
          await this.#untilDone();
        }
      }
    }
  }

  /** Until a further run is done. A machine on which that takes too long shows by what is still to come. */
  async #untilDone(): Promise<void> {
    const before = this.#paths['done']!;
    const until = performance.now() + SETTLE_MS;
    while (this.#paths['done'] === before && performance.now() < until && !this.#isEnough) {
      await pause(LOOK_MS);
      await this.#ground.recorder.look();
      this.#paths = pathsOf(this.#history, this.#options);
    }
  }

  /** Until everyone was told of every end, and nobody holds a lease. What is not so by then the checker finds. */
  async #settle(): Promise<void> {
    const until = performance.now() + SETTLE_MS;
    for (let isSettled = false; !isSettled && performance.now() < until; await pause(LOOK_MS)) {
      await this.#ground.recorder.look();
      this.#leases = await this.#ground.recorder.leases();
      isSettled = isAllTold(this.#history) && this.#leases.length === 0;
    }
  }

  async #checkLeftovers(): Promise<void> {
    const left = async () => {
      const states = await Promise.all(this.serving.map((instance) => instance.state()));
      const isLeft = ({ connections, deadlines }: InstanceState) => connections > 0 || deadlines > WATCHES;
      return states.filter(isLeft).map((state) => JSON.stringify(state));
    };
    const isClean = async () => (await left()).length === 0;
    await this.#until(
      waitFor(isClean, { timeoutMs: DEADLINE_MS }),
      'instances that have let go of everything',
    );
    this.#problems.push(...(await left()).map((state) => `An instance is left with ${state}.`));
    const last = this.serving;
    await Promise.all(last.map((instance) => this.close(instance)));
    // Nothing happened to them.
    last.forEach((instance) => (instance.fate = 'left'));
    const isFree = async () => (await this.#ground.recorder.allLeases()).length === 0;
    await this.#until(waitFor(isFree, { timeoutMs: DEADLINE_MS }), 'leases that run out');
    const isAlone = () => this.#ground.ways.every(({ connections }) => connections === 0);
    await this.#until(waitFor(isAlone, { timeoutMs: DEADLINE_MS }), 'no connection to the log');
    const complaints = this.#instances.flatMap(({ output }) => complaintsIn(output));
    this.#problems.push(...complaints.map((line) => `An instance printed: ${line}`));
  }

  get #history(): RunsHistory {
    return {
      plans: this.#plans,
      stored: this.#ground.recorder.runs,
      pages: this.#pages,
      processes: this.#instances.map(({ name, fate, reports }) => ({ name, fate, reports })),
      stops: this.#stops,
      isLogFaulty: this.#options.withLogFaults,
      leases: this.#leases,
    };
  }

  async #report(): Promise<RunsChaosReport> {
    await this.#ground.recorder.look();
    const history = this.#history;
    const undecoded = this.#pages.flatMap((page) => page.faults);
    const faults = [...this.#problems, ...undecoded, ...findRunFaults(history)];
    const { seed, historyFile } = this.#options;
    if (historyFile !== undefined && faults.length > 0) {
      const outputs = this.#instances.map(({ name, output }) => [name, output]);
      await writeFile(historyFile, JSON.stringify({ faults, ...history, plans: [...this.#plans], outputs }));
    }
    const paths = pathsOf(history, this.#options);
    return { seed, runs: this.#runs, ...summaryOf(history), injected: this.#injected, paths, faults };
  }

  #say(what: string): void {
    const seconds = (performance.now() - this.#begin) / 1_000;
    const missing = [this.#injected, this.#paths].flatMap(zeros);
    const still = missing.length > 0 ? ` (still without: ${missing.join(', ')})` : '';
    process.stderr.write(`${seconds.toFixed(1)} s, ${this.#runs} runs: ${what}${still}\n`);
  }

  #pause(ms: number): Promise<unknown> {
    return pause(ms, undefined, { signal: this.signal }).catch(() => undefined);
  }

  async #until(done: Promise<unknown>, what: string): Promise<void> {
    const late = new AbortController();
    const isLate = pause(DEADLINE_MS, true, { signal: late.signal }).catch(() => false);
    const outcome = await Promise.race([
      done.then(
        () => undefined,
        (error: unknown) => String(error),
      ),
      isLate.then((late) => (late ? `Waited in vain for ${what}.` : undefined)),
    ]);
    late.abort();
    if (outcome !== undefined) {
      this.#problems.push(outcome);
    }
  }
}

/** What has not happened. */
export function zeros(counts: Record<string, number>): string[] {
  return Object.entries(counts).flatMap(([name, times]) => (times > 0 ? [] : [name]));
}

/** What must have come of the faults. */
function pathsOf(
  history: RunsHistory,
  { withLogFaults }: Pick<RunsChaosOptions, 'withLogFaults'>,
): Record<string, number> {
  const { endings, superseded, takenOver } = summaryOf(history);
  const { done = 0, error = 0, stop = 0, shutdown = 0, client = 0 } = endings;
  const always = { done, error, superseded };
  return withLogFaults ? always : { ...always, stop, shutdown, client, takenOver };
}

function makePlan(of: Pick<RunPlan, 'id' | 'turn' | 'format'>, random: Random): RunPlan {
  const isLong = isSlow(of.id);
  const tokens = isLong ? random.between(16, 20) : random.between(1, 60);
  const pausesMs = Array.from({ length: random.between(1, 8) }, () => random.pick([0, 0, 1, 5, 20, 60, 120]));
  return {
    ...of,
    tokens,
    pausesMs: isLong ? [SLOW_MS] : pausesMs,
    silentAt: random.next() < 0.05 ? random.between(0, tokens - 1) : -1,
    failsAt: random.next() < 0.08 ? random.between(0, tokens - 1) : -1,
    onDisconnect: random.next() < 0.1 ? 'abort' : 'continue',
    orphanMs: random.next() < 0.2 ? 1_500 : 60_000,
    onShutdown: random.next() < 0.3 ? 'hand-over' : 'end',
  };
}
