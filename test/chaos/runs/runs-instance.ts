import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import { AppProcess } from '../../support/apps/app-process.js';
import type { Engine } from '../engine.js';
import type { ProcessRecord, Report } from './history.js';

/** What an instance is told when it starts. */
export interface RunsApp {
  /** Of this process, and of no other. */
  readonly name: string;
  readonly engine: Engine;
  /** Where it writes what it does, a line of JSON each. */
  readonly reports: string;
  readonly leaseMs: number;
}

/** What an instance says of itself. */
export interface InstanceState {
  readonly connections: number;
  readonly deadlines: number;
  readonly health: string;
}

/** A request that is not answered within this is one that never is. */
const ANSWER_MS = 60_000;

/** One process of the app. */
export class RunsInstance implements ProcessRecord {
  readonly name: string;
  /** Its place among the instances, which another takes after it. */
  readonly slot: number;
  fate: ProcessRecord['fate'] = 'left';
  readonly #process: AppProcess;
  readonly #file: string;

  private constructor(process: AppProcess, slot: number, app: RunsApp) {
    this.#process = process;
    this.#file = app.reports;
    this.name = app.name;
    this.slot = slot;
  }

  static async start(slot: number, app: RunsApp): Promise<RunsInstance> {
    const process = await AppProcess.start(new URL('runs.app.ts', import.meta.url), JSON.stringify(app));
    if (process.exitCode !== undefined) {
      throw new Error(`An instance did not start:\n${process.output}`);
    }
    return new RunsInstance(process, slot, app);
  }

  get base(): string {
    return this.#process.base;
  }

  /** Whether pages are sent there: as long as it is there, whatever state it is in. */
  get isServing(): boolean {
    return this.fate === 'left';
  }

  /** What it has printed beside its port. */
  get output(): string {
    return this.#process.output.replace(/^listening on \d+\n/m, '');
  }

  get reports(): Report[] {
    // A line that a killed process has begun is none.
    const lines = textOf(this.#file).split('\n').slice(0, -1);
    return lines.map((line) => JSON.parse(line) as Report);
  }

  ask(path: string, method = 'GET'): Promise<{ status: number; body: unknown }> {
    return askFor(`${this.base}${path}`, method);
  }

  async state(): Promise<InstanceState> {
    return (await this.ask('/state')).body as InstanceState;
  }

  pause(): void {
    this.#process.signal('SIGSTOP');
  }

  resume(): void {
    this.#process.signal('SIGCONT');
  }

  kill(): Promise<void> {
    this.fate = 'killed';
    return this.#process.end();
  }

  /** Has it close; resolves when the process has come to its end by itself, with its exit code. */
  async close(): Promise<number | null | undefined> {
    this.fate = 'closed';
    this.#process.signal('SIGTERM');
    await this.#process.until(({ exitCode }) => exitCode !== undefined);
    return this.#process.exitCode;
  }
}

/** Asks for something that is no stream. */
export function askFor(url: string, method = 'GET'): Promise<{ status: number; body: unknown }> {
  return new Promise((resolve, reject) => {
    const asked = request(url, { agent: false, method }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => (text += part));
      response.on('error', reject);
      response.on('end', () => {
        const isJson = /json/.test(response.headers['content-type'] ?? '');
        resolve({ status: response.statusCode!, body: isJson ? JSON.parse(text) : text });
      });
    });
    asked.setTimeout(ANSWER_MS, () => asked.destroy(new Error(`${method} ${url} was never answered.`)));
    asked.on('error', reject).end();
  });
}

function textOf(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') {
      return '';
    }
    throw error;
  }
}
