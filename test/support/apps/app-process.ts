import { execFile, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { waitFor } from 'nestjs-event-stream/testing';

// A bound for an app that hangs: on a busy machine, Node alone may take half a minute to load one.
const DEADLINE_MS = 100_000;

// Jest maps it to the major that the suite runs on.
const nestCore = createRequire(import.meta.url).resolve('@nestjs/core');
const ownModules = fileURLToPath(new URL('../../../node_modules/', import.meta.url));

const processes = new Set<AppProcess>();
const builds = new Map<string, Promise<string>>();

/** For `afterEach`. */
export async function endProcesses(): Promise<void> {
  const ended = [...processes].map((process) => process.end());
  processes.clear();
  await Promise.all(ended);
}

/**
 * An app in a process of its own, for what ends a process. {@link endProcesses} ends it.
 *
 * It is a script in TypeScript, run on the Nest of this suite and the sources of this package; it prints
 * `listening on <port>` once it does.
 */
export class AppProcess {
  /** What it printed. */
  output = '';
  /** Undefined while it runs; null where a signal ended it. */
  exitCode: number | null | undefined;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
    child.stdout!.on('data', (text) => (this.output += text));
    child.stderr!.on('data', (text) => (this.output += text));
    child.on('exit', (code) => (this.exitCode = code));
    processes.add(this);
  }

  static async start(script: URL, ...args: string[]): Promise<AppProcess> {
    const built = await buildOnce(fileURLToPath(script));
    // On the other major, packages that stand beside this one must find that Nest.
    const hooks = nestCore.startsWith(ownModules)
      ? []
      : ['--import', new URL('app-process.hooks.mjs', import.meta.url).href];
    return AppProcess.#spawn([...hooks, built, ...args]);
  }

  /** Starts a script in JavaScript as it stands, on the built package. */
  static startBuilt(script: string, ...args: string[]): Promise<AppProcess> {
    return AppProcess.#spawn([script, ...args]);
  }

  static async #spawn(args: readonly string[]): Promise<AppProcess> {
    const process = new AppProcess(
      spawn(globalThis.process.execPath, ['--no-warnings', ...args], {
        env: { ...globalThis.process.env, NEST_CORE: nestCore },
      }),
    );
    await process.until(() => process.#port !== undefined || process.exitCode !== undefined);
    return process;
  }

  get base(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  until(condition: (process: AppProcess) => unknown): Promise<unknown> {
    return waitFor(() => condition(this), {
      timeoutMs: DEADLINE_MS,
      describe: () =>
        `${condition.toString()}; exit code ${this.exitCode}, printed: ${this.output.slice(-2_000)}`,
    });
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name);
  }

  async end(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.until(({ exitCode }) => exitCode !== undefined);
  }

  get #port(): string | undefined {
    return /listening on (\d+)/.exec(this.output)?.[1];
  }
}

function buildOnce(script: string): Promise<string> {
  let built = builds.get(script);
  if (built === undefined) {
    built = build(script);
    builds.set(script, built);
  }
  return built;
}

/** Builds a script, with the sources of this package. Returns the path of one that Node runs as it stands. */
async function build(script: string): Promise<string> {
  const builder = fileURLToPath(new URL('build-app.mjs', import.meta.url));
  const args = ['--no-warnings', '--experimental-import-meta-resolve', builder, script, nestCore];
  const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: DEADLINE_MS });
  return stdout.trim();
}
