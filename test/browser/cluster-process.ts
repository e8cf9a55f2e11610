import { type ChildProcess, execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readdirSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { spawnCommand, until } from './sample-process.js';

interface SystemProcess {
  pid: number;
  parent: number;
  group: number;
}

/** The sample as several instances, and all that is started for them. */
export class ClusterProcess {
  /** Everything that was printed. */
  output = '';
  exitCode: number | null | undefined;
  readonly #child: ChildProcess;
  /** What it leaves in the system's folder for temporary files is left here. */
  readonly #scratch: string;

  private constructor(command: string, args: string[], folder: string, env: NodeJS.ProcessEnv) {
    this.#scratch = mkdtempSync(join(realpathSync(tmpdir()), 'nestjs-event-stream-cluster-'));
    // As the system's own folder: if root runs this, PostgreSQL is another user's, and has its files in there.
    chmodSync(this.#scratch, 0o711);
    this.#child = spawnCommand(command, args, folder, { TMPDIR: this.#scratch, ...env });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => (this.output += text));
    }
    this.#child.once('close', (code) => (this.exitCode = code));
  }

  /** Runs a command until it has printed the address, or has ended. */
  static async start(
    command: string,
    args: string[],
    folder: string,
    env: NodeJS.ProcessEnv = {},
  ): Promise<ClusterProcess> {
    const cluster = new ClusterProcess(command, args, folder, env);
    try {
      await until(
        'all run',
        () => /Ctrl\+C ends/.test(cluster.output) || cluster.exitCode !== undefined,
        () => cluster.output,
      );
    } catch (error) {
      await cluster.clear();
      throw error;
    }
    return cluster;
  }

  get pid(): number {
    return this.#child.pid!;
  }

  /** Without a path: `http://127.0.0.1:12345`. */
  get url(): string {
    return `http://127.0.0.1:${/Open http:\/\/localhost:(\d+)/.exec(this.output)?.[1]}`;
  }

  /** The port of a member: `Redis`, `PostgreSQL`, `nginx`, `A`; where it runs for the second time, the same. */
  portOf(name: string): number {
    return Number(this.#lines(name).at(-1)?.port);
  }

  /** The processes that have served as a member, in their order. */
  processesOf(name: string): number[] {
    return this.#lines(name).map(({ pid }) => Number(pid));
  }

  #lines(name: string): Record<string, string>[] {
    const pattern = new RegExp(`^${name}: +process (?<pid>\\d+) serves \\S+:(?<port>\\d+)$`, 'gm');
    return [...this.output.matchAll(pattern)].map(({ groups }) => groups!);
  }

  /** It, and all that was started by it, by what that has started, and so on. */
  tree(): SystemProcess[] {
    const all = processes();
    const tree = all.filter(({ pid }) => pid === this.pid);
    // It grows while it is walked.
    for (const { pid } of tree) {
      tree.push(...all.filter(({ parent }) => parent === pid));
    }
    return tree;
  }

  /** What a terminal does with Ctrl+C: a signal for each process of the group in its foreground. */
  pressCtrlC(): void {
    const tree = this.tree();
    for (const { pid, group } of tree) {
      if (group === tree[0]!.group) {
        process.kill(pid, 'SIGINT');
      }
    }
  }

  /** Resolves when none of these processes is left, nor a file. */
  async untilNothingIsLeft(tree: readonly SystemProcess[]): Promise<void> {
    const left = () => {
      const running = new Set(processes().map(({ pid }) => pid));
      return tree.filter(({ pid }) => running.has(pid));
    };
    await until(
      'no process is left',
      () => left().length === 0,
      () => JSON.stringify(left()),
    );
    await until('it has told so', () => this.exitCode !== undefined);
    const files = () => readdirSync(this.#scratch).filter((name) => name.startsWith('sse-sample-'));
    await until(
      'no file is left',
      () => files().length === 0,
      () => files().join(),
    );
  }

  /** For `afterEach`: ends whatever a test has left. */
  async clear(): Promise<void> {
    const tree = this.tree();
    if (this.exitCode === undefined) {
      this.pressCtrlC();
    }
    try {
      await this.untilNothingIsLeft(tree);
    } finally {
      rmSync(this.#scratch, { recursive: true, force: true });
    }
  }
}

/** Those that run; one that has ended, and that nobody has asked about, does not. */
function processes(): SystemProcess[] {
  const text = execFileSync('ps', ['-A', '-o', 'pid=,ppid=,pgid=,stat='], { encoding: 'utf8' });
  return text
    .trim()
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(([, , , state]) => !state!.startsWith('Z'))
    .map(([pid, parent, group]) => ({ pid: Number(pid), parent: Number(parent), group: Number(group) }));
}
