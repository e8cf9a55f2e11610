import { AppProcess } from '../../support/apps/app-process.js';
import { complaintsIn } from '../complaints.js';
import type { Engine } from '../engine.js';
import type { Stall } from './stalls.js';

const ATTEMPTS = 5;

/** A process of the app, with an instance on each engine. */
export class TrustProcess {
  readonly name: string;
  /** Its place among the processes, which another takes after it. */
  readonly slot: number;
  readonly startedAt: number;
  /** Whether clients are sent there. */
  isServing = true;
  killedAt: number | undefined;
  readonly #process: AppProcess;
  readonly #ports: readonly number[];

  private constructor(
    process: AppProcess,
    { name, slot, startedAt }: Pick<TrustProcess, 'name' | 'slot' | 'startedAt'>,
  ) {
    this.#process = process;
    this.name = name;
    this.slot = slot;
    this.startedAt = startedAt;
    const [, ports] = /^ports (.*)$/m.exec(process.output) ?? [];
    if (ports === undefined) {
      throw new Error(`An instance did not start:\n${process.output}`);
    }
    this.#ports = JSON.parse(ports) as number[];
  }

  static async start(name: string, slot: number, engines: readonly Engine[]): Promise<TrustProcess> {
    for (let attempt = 1; ; attempt += 1) {
      const startedAt = Date.now();
      const process = await AppProcess.start(
        new URL('trust.app.ts', import.meta.url),
        JSON.stringify(engines),
      );
      // One that does not reach its log in time ends, and is started again, as by whatever runs it.
      if (process.exitCode === undefined || attempt === ATTEMPTS) {
        return new TrustProcess(process, { name, slot, startedAt });
      }
    }
  }

  /** The address of its instance on an engine. */
  baseOn(engine: number): string {
    return `http://127.0.0.1:${this.#ports[engine]}`;
  }

  get output(): string {
    return this.#process.output;
  }

  get stalls(): Stall[] {
    const lines = Array.from(this.output.matchAll(/^stalled (.*)$/gm), ([, stall]) => stall!);
    return lines.map((stall) => JSON.parse(stall) as Stall);
  }

  /** What it has printed of warnings, and of errors that nothing has caught. */
  get complaints(): string[] {
    return complaintsIn(this.output);
  }

  async kill(): Promise<void> {
    this.isServing = false;
    await this.#process.end();
    this.killedAt = Date.now();
  }

  /**
   * Has it close, as a deploy does: what does not end by itself is killed.
   *
   * @returns what it has left open; undefined if it has come to its end by itself
   */
  async close(): Promise<string | undefined> {
    this.isServing = false;
    this.#process.signal('SIGTERM');
    const isClosed = /^closed$/m;
    const left = /^still open: .*$/m;
    await this.#process.until(
      ({ exitCode, output }) => exitCode !== undefined || (isClosed.test(output) && left.test(output)),
    );
    const [told] = this.#process.exitCode === undefined ? (left.exec(this.#process.output) ?? []) : [];
    await this.#process.end();
    return told;
  }
}
