import { request } from 'node:http';
import type { IncomingMessage, RequestOptions } from 'node:http';
import type { LogState } from '../../../lib/log/index.js';
import type { FollowCounts } from '../../../lib/topics/index.js';
import { AppProcess } from '../../support/apps/app-process.js';
import type { Engine } from '../engine.js';

/** What an instance is told when it starts. */
export interface ChaosApp {
  readonly engine: Engine;
  readonly limits: { maxEvents: number; maxReplayEvents: number; ringEvents: number };
}

export interface PublishRequest {
  readonly n: number;
  readonly topic: string;
  readonly pad: string;
}

export type PublishAnswer =
  { readonly position: string } | { readonly error: string; readonly isOutcomeKnown: boolean };

/** What an instance says of itself. */
export interface InstanceState {
  readonly health: LogState;
  readonly reason: string | undefined;
  /** The log as it has it. */
  readonly epoch: string;
  readonly last: number;
  /** Publishes that have not settled. */
  readonly publishing: number;
  readonly resumes: FollowCounts;
  readonly connections: number;
  readonly followers: number;
  readonly deadlines: number;
}

/** A publish that is not answered within this is one that never is. */
const ANSWER_MS = 90_000;

/** One process of the app. */
export class Instance {
  /** The last that it said of itself: what it did outlives it. */
  state: InstanceState | undefined;
  /** Whether clients and publishers are sent there. */
  isServing = true;
  /** Its place among the instances, which another takes after it. */
  readonly slot: number;
  readonly #process: AppProcess;

  private constructor(process: AppProcess, slot: number) {
    this.#process = process;
    this.slot = slot;
  }

  static async start(slot: number, app: ChaosApp): Promise<Instance> {
    const process = await AppProcess.start(new URL('chaos.app.ts', import.meta.url), JSON.stringify(app));
    if (process.exitCode !== undefined) {
      throw new Error(`An instance did not start:\n${process.output}`);
    }
    return new Instance(process, slot);
  }

  get base(): string {
    return this.#process.base;
  }

  /** What it has printed beside its port. */
  get output(): string {
    return this.#process.output.replace(/^listening on \d+\n/m, '');
  }

  /** @throws where the instance cannot be reached, or its answer was lost: nothing is known then */
  async publish(events: readonly PublishRequest[]): Promise<PublishAnswer[]> {
    const body = JSON.stringify(events);
    return (await this.#ask('/publish', {
      method: 'POST',
      body,
      headers: { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body) },
    })) as PublishAnswer[];
  }

  /** Asks it, and remembers what it said. */
  async look(): Promise<InstanceState> {
    this.state = (await this.#ask('/state')) as InstanceState;
    return this.state;
  }

  async stall(ms: number): Promise<void> {
    await this.#ask(`/stall?ms=${ms}`);
  }

  async setClock(aheadMs: number): Promise<void> {
    await this.#ask(`/clock?ms=${aheadMs}`);
  }

  pause(): void {
    this.#process.signal('SIGSTOP');
  }

  resume(): void {
    this.#process.signal('SIGCONT');
  }

  kill(): Promise<void> {
    this.isServing = false;
    return this.#process.end();
  }

  /** Has it close; resolves when the process has come to its end by itself, with its exit code. */
  async close(): Promise<number | null | undefined> {
    this.isServing = false;
    this.#process.signal('SIGTERM');
    await this.#process.until(({ exitCode }) => exitCode !== undefined);
    return this.#process.exitCode;
  }

  #ask(path: string, { body, ...options }: RequestOptions & { body?: string } = {}): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const asked = request(`${this.base}${path}`, { agent: false, ...options }, (response) => {
        void textOf(response).then((text) => resolve(text === '' ? undefined : JSON.parse(text)), reject);
      });
      asked.setTimeout(ANSWER_MS, () => asked.destroy(new UnansweredError(path)));
      asked.on('error', reject);
      asked.end(body);
    });
  }
}

/** An instance that lives, and says nothing. */
export class UnansweredError extends Error {}

async function textOf(response: IncomingMessage): Promise<string> {
  response.setEncoding('utf8');
  let text = '';
  for await (const part of response) {
    text += part as string;
  }
  return text;
}
