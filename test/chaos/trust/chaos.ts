import { writeFile } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { closeAll } from '../../support/apps/platforms.js';
import { endProcesses } from '../../support/apps/app-process.js';
import { stopServers } from '../../support/servers/local-server.js';
import { Random } from '../../support/random.js';
import { findTrustFaults } from './checker.js';
import { EngineStage } from './engine-stage.js';
import { ENGINES } from './grounds.js';
import type { Promises, TrustHistory } from './history.js';
import { watchStalls } from './stalls.js';
import type { Stall } from './stalls.js';
import { PRESENCE } from './trust-app.js';
import { TrustProcess } from './trust-process.js';

/** What came of a run of the test: of a path that was not taken nothing is proved. */
export interface TrustReport {
  readonly engine: string;
  readonly paths: Record<string, number>;
  /** What must not be. */
  readonly faults: string[];
}

// A busy machine answers late, and is not wrong.
const PROMISES: Promises = { revokedMs: 1_000, writtenBackMs: 2_000, ...PRESENCE, slackMs: 5_000 };

export interface TrustChaosOptions {
  readonly seed: number;
  /** How many processes serve beside this one: 1 or 2. */
  readonly processes: number;
  /** How long it goes on at least. Each step is done once in any case. */
  readonly seconds: number;
  /** Where to keep all that happened, if something is wrong. */
  readonly historyFile?: string | undefined;
}

/** Processes with an instance on each engine, one more in this process, clients, and what is done to all of them. */
export async function runTrustChaos({
  seed,
  processes,
  seconds,
  historyFile,
}: TrustChaosOptions): Promise<TrustReport[]> {
  const chaos = new TrustChaos(seed);
  try {
    await chaos.begin(processes);
    await chaos.work(seconds);
    return await chaos.report(historyFile);
  } catch (error) {
    await chaos.keepHistory(historyFile, [String(error)]);
    throw error;
  } finally {
    await chaos.leave();
    await closeAll();
    await endProcesses();
    await stopServers();
  }
}

class TrustChaos {
  readonly #random: Random;
  readonly #processes: TrustProcess[] = [];
  readonly #stalls: Stall[] = [];
  readonly #begunAt = Date.now();
  readonly #said: { readonly at: number; readonly what: string }[] = [];
  readonly #stopWatching: () => void;
  #stages: EngineStage[] = [];

  constructor(seed: number) {
    this.#random = new Random(seed);
    this.#stopWatching = watchStalls((stall) => this.#stalls.push(stall));
  }

  async begin(processes: number): Promise<void> {
    const targets = (index: number) => () =>
      this.#serving.map((process) => ({ name: process.name, base: process.baseOn(index) }));
    this.#stages = await Promise.all(
      ENGINES.map((engine, index) => EngineStage.start(engine, this.#random.fork(), targets(index))),
    );
    await Promise.all(this.#stages.map((stage) => stage.startWatcher()));
    await Promise.all(Array.from({ length: processes }, (_, n) => this.#start(n + 1)));
    this.#say('instances serve');
    await Promise.all(this.#stages.map((stage) => stage.begin()));
    this.#say('members are there');
  }

  /** Does each of the steps once, and again until the time is over. */
  async work(seconds: number): Promise<void> {
    do {
      for (const step of this.#random.shuffled(Object.keys(this.#steps))) {
        await this.#steps[step]!();
        this.#say(step);
        await pause(this.#random.between(200, 600));
      }
    } while (Date.now() < this.#begunAt + seconds * 1_000);
    await Promise.all(this.#stages.map((stage) => stage.settle()));
    this.#say('settled');
    await Promise.all(this.#serving.map((process) => this.#close(process)));
  }

  async report(historyFile: string | undefined): Promise<TrustReport[]> {
    const reports = this.#stages.map((stage) => this.#reportOf(stage));
    const faults = reports.flatMap((report) => report.faults.map((fault) => `${report.engine}: ${fault}`));
    await this.keepHistory(historyFile, faults);
    return reports;
  }

  async keepHistory(historyFile: string | undefined, faults: readonly string[]): Promise<void> {
    if (historyFile !== undefined && faults.length > 0) {
      const engines = this.#stages.map((stage) => [stage.engine.name, this.#historyOf(stage)]);
      const outputs = this.#processes.map(({ name, output }) => [name, output]);
      const kept = { faults, steps: this.#said, engines: Object.fromEntries(engines), outputs };
      await writeFile(historyFile, JSON.stringify(kept));
    }
  }

  async leave(): Promise<void> {
    this.#stopWatching();
    await Promise.all(this.#stages.map((stage) => stage.stop()));
  }

  get #serving(): TrustProcess[] {
    return this.#processes.filter(({ isServing }) => isServing);
  }

  readonly #steps: Readonly<Record<string, () => Promise<void>>> = {
    'a process is killed while the log restarts, and another starts': async () => {
      const victim = this.#random.pick(this.#serving);
      const restarting = this.#stages.map((stage) => stage.disturb(stage.engine.restart));
      await pause(this.#random.between(0, 300));
      await victim.kill();
      await Promise.all([...restarting, this.#start(victim.slot)]);
    },
    'the log loses all while a process is replaced': async () => {
      const former = this.#serving[0]!;
      const losing = this.#stages.map((stage) => stage.disturb(stage.engine.loss));
      await Promise.all([...losing, this.#start(former.slot)]);
      await this.#close(former);
    },
    'a rolling deploy': async () => {
      for (const former of this.#serving) {
        await this.#start(former.slot);
        await this.#close(former);
      }
    },
  };

  async #start(slot: number): Promise<void> {
    const name = `${'-ab'[slot]}${this.#processes.length}`;
    const engines = this.#stages.map(({ ground }) => ground.engineOf(slot));
    this.#processes.push(await TrustProcess.start(name, slot, engines));
  }

  async #close(process: TrustProcess): Promise<void> {
    const left = await process.close();
    if (left !== undefined) {
      this.#say(`the process ${process.name} did not end, ${left}`);
    }
  }

  #reportOf(stage: EngineStage): TrustReport {
    const history = this.#historyOf(stage);
    const complaints = this.#processes.flatMap((process) => process.complaints);
    const faults = [...complaints, ...findTrustFaults(history)];
    return { engine: stage.engine.name, paths: pathsOf(history), faults };
  }

  #historyOf({ stays, disturbances, ...rest }: EngineStage): TrustHistory {
    const { presentations, revocations, visits, changes, lists } = rest;
    const killed = new Set(this.#processes.flatMap(({ name, killedAt }) => (killedAt ? [name] : [])));
    const stalls = [...this.#stalls, ...this.#processes.flatMap((process) => process.stalls)];
    return {
      promises: PROMISES,
      instances: this.#processes.map(({ name, startedAt }) => ({ name, startedAt })),
      disturbances: [
        ...disturbances,
        ...stalls.map((stall) => ({ name: 'stall', losesFrom: Infinity, ...stall })),
      ],
      stays: stays.map(({ member, instance, from, seenUntil, endedAt }) => {
        return { member, instance, from, seenUntil, endedAt, isKilled: killed.has(instance) };
      }),
      presentations,
      revocations,
      visits,
      changes,
      lists,
    };
  }

  #say(what: string): void {
    this.#said.push({ at: Date.now(), what });
    const seconds = (Date.now() - this.#begunAt) / 1_000;
    process.stderr.write(`${seconds.toFixed(1)} s: ${what}\n`);
  }
}

/** How often something was seen. */
function pathsOf(history: TrustHistory): Record<string, number> {
  const { presentations, revocations, visits, stays, changes, disturbances } = history;
  const starts = new Map(history.instances.map(({ name, startedAt }) => [name, startedAt]));
  const revokedAt = new Map(revocations.map(({ user, at }) => [user, at]));
  const refused = visits.filter(({ outcome }) => outcome === 'refused');
  const isLater = ({ user, instance }: (typeof visits)[number]) =>
    (starts.get(instance) ?? 0) > revokedAt.get(user)!;
  const logFaults = disturbances.filter(({ name }) => name !== 'stall');
  const isDuring = ({ askedAt }: { askedAt: number }) =>
    logFaults.some(({ at, until }) => at <= askedAt && askedAt <= until);
  return {
    'tickets that opened a stream': presentations.filter(({ outcome }) => outcome === 'opened').length,
    'tickets that were spent': presentations.filter(({ outcome }) => outcome === 'spent').length,
    'tickets while the log was away': presentations.filter(isDuring).length,
    'users admitted': visits.filter(({ outcome }) => outcome === 'admitted').length,
    'users refused': refused.length,
    'users refused by instances that started later': refused.filter(isLater).length,
    'users who came while the log was away': visits.filter(isDuring).length,
    'members who came back': stays.length - new Set(stays.map(({ member }) => member)).size,
    'members told to have left': changes.flatMap(({ left }) => left).length,
  };
}
