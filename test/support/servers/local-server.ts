import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, delimiter, join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';

/** A server that a test runs as a process of its own: what differs from one program to the other. */
export interface ServerProgram {
  readonly name: string;
  /** For a process that stays in the foreground; files that it reads are written to `folder` here. */
  args(port: number, folder: string): string[] | Promise<string[]>;
  readonly env?: Readonly<Record<string, string>>;
  /** What it prints once it serves. */
  readonly ready: RegExp;
  /** What ends it and the processes that it has started. */
  readonly endSignal: 'SIGTERM' | 'SIGKILL' | 'SIGQUIT';
  /** What ends it as a crash does, if that is not SIGKILL: for a program whose processes outlive their parent. */
  readonly killSignal?: 'SIGQUIT';
}

type Outcome = 'ready' | 'taken' | 'failed';

const ATTEMPTS = 10;
const AGAIN_MS = 100;
// A bound for a program that hangs. On a busy machine Prometheus takes many seconds.
const START_MS = 60_000;
const STAND_MS = 1_000;
const LOG_LENGTH = 100_000;

// A system picks the ports of outgoing connections above these. On one of those, a server that is killed may find its
// port taken when it comes back, and who dials it meanwhile may reach itself. Redis Cluster takes port + 10,000, too.
const LOWEST_PORT = 10_000;
const HIGHEST_PORT = 21_999;

const servers = new Set<LocalServer>();
const processes = new Set<ChildProcess>();
// A test process that dies leaves no server behind.
const killAll = () => processes.forEach((child) => child.kill('SIGKILL'));

/** For `afterEach`: stops every server that is left. */
export async function stopServers(): Promise<void> {
  await Promise.all(Array.from(servers, (server) => server.stop()));
}

// The one in this range that browsers and fetch() refuse to connect to: https://fetch.spec.whatwg.org/#port-blocking
const BLOCKED_PORT = 10_080;

/** A free port, which somebody else may take before the server does. */
export async function findPort(): Promise<number> {
  for (;;) {
    const port = LOWEST_PORT + Math.floor(Math.random() * (HIGHEST_PORT - LOWEST_PORT + 1));
    if (port === BLOCKED_PORT) {
      continue;
    }
    const server = createServer().listen(port, '127.0.0.1');
    const isFree = await Promise.race([
      once(server, 'listening').then(() => true),
      new Promise<false>((resolve) => server.once('error', () => resolve(false))),
    ]);
    if (!isFree) {
      continue;
    }
    server.close();
    await once(server, 'close');
    return port;
  }
}

/** A program on a port of 127.0.0.1, without privileges, with all its files in a folder of its own. */
export class LocalServer {
  readonly port: number;
  readonly folder: string;
  /** Called with what it has printed when it has served, and ends without being told to. */
  onCrash: ((log: string) => void) | undefined;
  readonly #program: ServerProgram;
  #child: ChildProcess | undefined;
  #gone: Promise<unknown> = Promise.resolve();
  /** Whether it serves, and was not told to end. */
  #serves = false;
  #log = '';

  private constructor(program: ServerProgram, port: number, folder: string) {
    this.#program = program;
    this.port = port;
    this.folder = folder;
    servers.add(this);
  }

  /** Starts it on a free port, and resolves when it serves. */
  static async start(program: ServerProgram): Promise<LocalServer> {
    const folder = await mkdtemp(join(tmpdir(), `${basename(program.name)}-`));
    for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
      const server = new LocalServer(program, await findPort(), folder);
      const outcome = await server.#start();
      if (outcome === 'ready') {
        return server;
      }
      servers.delete(server);
      if (outcome === 'failed') {
        await server.stop();
        throw server.#startError();
      }
    }
    await rm(folder, { recursive: true });
    throw new Error(`${program.name} found ${ATTEMPTS} free ports taken.`);
  }

  get isRunning(): boolean {
    return this.#child !== undefined;
  }

  /** Of its process; undefined if it does not run. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** What it has printed, the last part of it. */
  log(): string {
    return this.#log;
  }

  /** Ends it as a crash does. */
  async kill(): Promise<void> {
    this.#serves = false;
    this.#child?.kill(this.#program.killSignal ?? 'SIGKILL');
    await this.#gone;
  }

  /** Ends it as an operator does: it writes down what it has. */
  async end(): Promise<void> {
    this.#serves = false;
    this.#child?.kill('SIGTERM');
    await this.#gone;
  }

  /** Starts it again, on its port and with its folder; kills it first where it runs. */
  async restart(): Promise<void> {
    await this.kill();
    for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
      const outcome = await this.#start();
      if (outcome === 'ready') {
        return;
      }
      if (outcome === 'failed') {
        break;
      }
      await pause(AGAIN_MS);
    }
    throw this.#startError();
  }

  /** Stops the process where it stands: its connections stay open, and nothing answers any more when this returns. */
  pause(): void {
    const { pid } = this;
    if (pid === undefined) {
      return;
    }
    process.kill(pid, 'SIGSTOP');
    const until = performance.now() + STAND_MS;
    while (!isStopped(pid) && performance.now() < until) {
      // A moment, in which an answer may still leave.
    }
  }

  resume(): void {
    this.#child?.kill('SIGCONT');
  }

  /** Resolves when its processes and its files are gone. */
  async stop(): Promise<void> {
    servers.delete(this);
    this.#serves = false;
    this.resume();
    this.#child?.kill(this.#program.endSignal);
    const giveUp = setTimeout(() => this.#child?.kill('SIGKILL'), START_MS);
    await this.#gone;
    clearTimeout(giveUp);
    await rm(this.folder, { recursive: true, force: true });
  }

  async #start(): Promise<Outcome> {
    const args = await this.#program.args(this.port, this.folder);
    const child = spawn(this.#program.name, args, {
      cwd: this.folder,
      stdio: ['ignore', 'pipe', 'pipe'],
      // Debian keeps servers where an ordinary user's PATH does not look.
      env: {
        ...process.env,
        ...this.#program.env,
        PATH: [process.env['PATH'], '/usr/sbin', '/usr/local/sbin'].join(delimiter),
      },
    });
    this.#child = child;
    this.#log = '';
    if (processes.size === 0) {
      process.on('exit', killAll);
    }
    processes.add(child);
    this.#gone = new Promise<void>((resolve) => child.once('close', resolve)).then(() => this.#forget(child));
    const outcome = await this.#watch(child);
    if (outcome !== 'ready') {
      await this.kill();
    }
    return outcome;
  }

  #forget(child: ChildProcess): void {
    this.#child = undefined;
    processes.delete(child);
    if (processes.size === 0) {
      process.removeListener('exit', killAll);
    }
    if (this.#serves) {
      this.#serves = false;
      if (this.onCrash) {
        this.onCrash(this.#log);
      } else {
        this.#sayItEnded(child);
      }
    }
  }

  #watch(child: ChildProcess): Promise<Outcome> {
    return new Promise<Outcome>((resolve) => {
      const giveUp = setTimeout(resolve, START_MS, 'failed');
      let isReady = false;
      const settle = (outcome: Outcome) => {
        clearTimeout(giveUp);
        resolve(outcome);
      };
      for (const stream of [child.stdout!, child.stderr!]) {
        stream.setEncoding('utf8').on('data', (text: string) => {
          this.#log = (this.#log + text).slice(-LOG_LENGTH);
          if (!isReady && this.#program.ready.test(this.#log)) {
            isReady = true;
            this.#serves = true;
            settle('ready');
          }
        });
      }
      child.on('error', (error) => {
        this.#log += String(error);
        settle('failed');
      });
      child.on('close', () => settle(/address already in use/i.test(this.#log) ? 'taken' : 'failed'));
    });
  }

  /** Else a test fails somewhere else, as by a refused connection. */
  #sayItEnded({ exitCode, signalCode }: ChildProcess): void {
    const how = exitCode ?? signalCode;
    process.stderr.write(
      `${this.#program.name} on port ${this.port} has ended by itself (${how}):\n${this.#log.slice(-2_000)}\n`,
    );
  }

  #startError(): Error {
    return new Error(`${this.#program.name} did not start:\n${this.#log}`);
  }
}

/** Whether a process has taken a SIGSTOP: see proc(5), /proc/pid/stat. */
function isStopped(pid: number): boolean {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  return stat.slice(stat.lastIndexOf(')') + 2).startsWith('T');
}
