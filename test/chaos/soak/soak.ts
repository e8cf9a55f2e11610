import { setTimeout as pause } from 'node:timers/promises';
import { waitFor } from 'nestjs-event-stream/testing';
import { AppProcess } from '../../support/apps/app-process.js';
import { Random } from '../../support/random.js';
import { Load } from './load.js';
import { AT_REST, MEASURES } from './sample.js';
import type { Measure, Sample } from './sample.js';
import { growthOf, grows } from './slope.js';
import type { Growth } from './slope.js';
import type { Tally } from './soak-client.js';
import type { SoakApp } from './soak.app.js';

/** What a soak is told. */
export interface SoakOptions {
  readonly instances: readonly SoakApp[];
  readonly rate: number;
  readonly seed: number;
  /** How many samples are taken of each instance, and the time between two. */
  readonly samples: number;
  readonly everyMs: number;
  /** How often clients must have followed topics between two samples, however long that takes. */
  readonly followsBetween?: number;
  /** Called with each sample. */
  readonly onSample?: (instance: string, atMs: number, sample: Sample) => void;
}

/** How a measure of an instance has developed. */
export interface Trend {
  readonly measure: Measure;
  /** At the first sample that counts, and at the last. */
  readonly first: number;
  readonly last: number;
  readonly growth: Growth;
  readonly grows: boolean;
}

/** What is said of an instance. */
export interface InstanceReport {
  readonly name: string;
  readonly trends: readonly Trend[];
  /** What was not 0 when all clients had left. */
  readonly left: Readonly<Record<string, number>>;
  readonly before: Sample;
  readonly after: Sample;
  /** What it printed: errors of its own. */
  readonly printed: string;
  /** How it ended, after SIGTERM: 0 if nothing was left to do; null if it had to be killed. */
  readonly exitCode: number | null | undefined;
}

export interface SoakReport {
  readonly instances: readonly InstanceReport[];
  readonly tally: Tally;
}

interface Instance {
  readonly name: string;
  readonly process: AppProcess;
  readonly samples: { atMs: number; sample: Sample }[];
}

/** Samples that do not count: caches fill up, and the engine compiles. */
const WARM_UP = 0.25;
const REST_MS = 60_000;

/** Loads an app with everything on, and says what grows. */
export async function runSoak(options: SoakOptions): Promise<SoakReport> {
  const instances = await Promise.all(options.instances.map(start));
  const before = await Promise.all(instances.map(ask));
  const load = new Load({
    bases: instances.map(({ process }) => process.base),
    isShared: options.instances.every(({ log }) => log !== 'memory'),
    rate: options.rate,
    random: new Random(options.seed),
  });
  load.start();
  try {
    await measure(instances, load, options);
  } finally {
    await load.stop();
  }
  const reports = await Promise.all(
    instances.map(async (instance, n) => reportOf(instance, before[n]!, await rested(instance))),
  );
  return { instances: reports, tally: load.tally };
}

/** What makes a soak not sound: what grows, what is left, and what went wrong. */
export function objectionsTo({ instances, tally }: SoakReport): string[] {
  const objections = instances.flatMap(({ name, trends, left, printed, exitCode }) =>
    [
      ...trends.filter((trend) => trend.grows).map(({ measure }) => `${measure.name} grows`),
      ...Object.keys(left).map((what) => `${what} are left`),
      ...(printed === '' ? [] : ['it printed errors']),
      ...(exitCode === 0 ? [] : [`it ended with ${String(exitCode)}`]),
    ].map((what) => `${name}: ${what}`),
  );
  return tally.faults.length === 0 ? objections : [...objections, 'clients met faults'];
}

async function start(app: SoakApp, index: number): Promise<Instance> {
  const process = await AppProcess.start(new URL('soak.app.ts', import.meta.url), JSON.stringify(app));
  if (process.exitCode !== undefined) {
    throw new Error(`An instance did not start:\n${process.output}`);
  }
  return { name: `${'AB'[index] ?? index} (${app.platform})`, process, samples: [] };
}

async function ask({ process, name }: Instance): Promise<Sample> {
  const fail = (how: string, cause?: unknown) =>
    new Error(`Instance ${name} ${how}, exit code ${process.exitCode}:\n${process.output}`, { cause });
  const response = await fetch(`${process.base}/sample`, { headers: { Connection: 'close' } }).catch(
    (error: unknown) => {
      throw fail('does not answer', error);
    },
  );
  if (!response.ok) {
    throw fail(`answers ${response.status}`);
  }
  return (await response.json()) as Sample;
}

async function measure(instances: readonly Instance[], load: Load, options: SoakOptions): Promise<void> {
  const { samples, everyMs, followsBetween = 0, onSample } = options;
  const startedAt = performance.now();
  for (let n = 0; n < samples; n += 1) {
    const follows = load.follows + followsBetween;
    await pause(everyMs);
    await waitFor(() => load.follows >= follows, { timeoutMs: REST_MS });
    for (const instance of instances) {
      const sample = await ask(instance);
      const atMs = performance.now() - startedAt;
      instance.samples.push({ atMs, sample });
      onSample?.(instance.name, atMs, sample);
    }
  }
}

/** Waits until nothing is there any more that came with clients, and takes a last sample. */
async function rested(instance: Instance): Promise<Sample> {
  const deadline = performance.now() + REST_MS;
  let sample = await ask(instance);
  while (Object.keys(leftIn(sample)).length > 0 && performance.now() < deadline) {
    await pause(500);
    sample = await ask(instance);
  }
  return sample;
}

function leftIn(sample: Sample): Record<string, number> {
  return Object.fromEntries(
    AT_REST.map((name) => [name, sample[name]] as const).filter(([, count]) => count > 0),
  );
}

async function reportOf(instance: Instance, before: Sample, after: Sample): Promise<InstanceReport> {
  const { name, process, samples } = instance;
  await endInOrder(process);
  return {
    name,
    trends: trendsOf(samples),
    left: leftIn(after),
    before,
    after,
    printed: process.output.replace(/^listening on \d+\n/m, '').slice(-5_000),
    exitCode: process.exitCode,
  };
}

/** Ends a process as a deploy does. One that something keeps alive is killed, and has no exit code then. */
async function endInOrder(process: AppProcess): Promise<void> {
  process.signal('SIGTERM');
  const deadline = performance.now() + REST_MS;
  while (process.exitCode === undefined && performance.now() < deadline) {
    await pause(50);
  }
  await process.end();
}

function trendsOf(all: Instance['samples']): Trend[] {
  const samples = all.slice(Math.floor(all.length * WARM_UP));
  return MEASURES.map((measure) => {
    const growth = growthOf(samples.map(({ atMs, sample }) => ({ atMs, value: sample[measure.name] })));
    return {
      measure,
      first: samples[0]!.sample[measure.name],
      last: samples.at(-1)!.sample[measure.name],
      growth,
      grows: grows(growth, measure.tolerance),
    };
  });
}
