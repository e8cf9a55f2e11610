import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));
export const SAMPLE = join(ROOT, 'sample');

/** How long anything here may take, on a machine that is busy with other things. */
export const DEADLINE_MS = 120_000;

const HOST = { HOST: '127.0.0.1', PORT: '0' };

/** The sample as a process of its own. */
export class SampleProcess {
  /** Everything that it has printed, without colours. */
  output = '';
  readonly #child: ChildProcess;
  #hasEnded = false;

  private constructor(child: ChildProcess) {
    this.#child = child;
    // Not 'exit': what it printed last may still be on its way then.
    child.once('close', () => {
      this.#hasEnded = true;
    });
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => (this.output += text));
    }
  }

  /** Runs the sample as it was built before all tests, on a free port unless told otherwise. */
  static start(env: NodeJS.ProcessEnv = {}): Promise<SampleProcess> {
    return SampleProcess.#untilOpen(
      spawnCommand(process.execPath, ['dist/main.js'], SAMPLE, { ...HOST, ...env }),
    );
  }

  /** Runs `npm start` in a folder, as the README says, on a free port unless told otherwise. */
  static startByNpm(folder: string, port = '0'): Promise<SampleProcess> {
    return SampleProcess.#untilOpen(spawnNpm(['start'], folder, { ...HOST, PORT: port }));
  }

  static async #untilOpen(child: ChildProcess): Promise<SampleProcess> {
    const sample = new SampleProcess(child);
    await sample.waitFor(/Open http:\/\/localhost:\d+/);
    return sample;
  }

  /** The address that it printed. It listens on 127.0.0.1 alone, whatever `localhost` is first. */
  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  get port(): string {
    return this.#read(/Open http:\/\/localhost:(\d+)/);
  }

  /** Waits until it has printed something, anywhere after the first `from` characters of its output. */
  async waitFor(pattern: RegExp, from = 0): Promise<void> {
    await until(`the sample prints ${pattern}`, () => {
      if (pattern.test(this.output.slice(from))) {
        return true;
      }
      if (this.#hasEnded) {
        throw new Error(
          `It ended with the exit code ${this.#child.exitCode}, and never printed ${pattern}:\n${this.output}`,
        );
      }
      return false;
    });
  }

  /** How many streams it holds open, whoever has opened them. */
  async openStreams(): Promise<number> {
    const answer = await fetch(`${this.url}/connections`);
    const { all } = (await answer.json()) as { all: number };
    return all;
  }

  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** Ends it as a deploy does, and waits until it is gone, and the npm around it. */
  async stop(): Promise<void> {
    if (this.#hasEnded) {
      return;
    }
    // Nest prints its process id: npm, and the shells it starts, do not hand every signal on.
    const pid = Number(this.#read(/\[Nest\] (\d+)/));
    process.kill(pid, 'SIGTERM');
    try {
      await until('the sample has ended', () => this.#hasEnded);
    } catch (error) {
      // One that outlived its test would keep the whole run from ending.
      process.kill(pid, 'SIGKILL');
      throw error;
    }
  }

  #read(pattern: RegExp): string {
    const found = pattern.exec(this.output)?.[1];
    if (found === undefined) {
      throw new Error(`The sample has not printed ${pattern}:\n${this.output}`);
    }
    return found;
  }
}

/** Runs npm to its end. */
export async function npm(args: string[], folder: string): Promise<string> {
  const child = spawnNpm(args, folder);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => (output += text));
  }
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) {
    throw new Error(`npm ${args.join(' ')} in ${folder} exited with ${code}:\n${output}`);
  }
  return output;
}

/** Looks again and again, as long as the deadline allows. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  describe: () => string = () => '',
): Promise<void> {
  const deadline = Date.now() + DEADLINE_MS;
  while (!(await condition())) {
    if (Date.now() > deadline) {
      throw new Error(`Waited ${DEADLINE_MS} ms, in vain, until ${what}. ${describe()}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

function spawnNpm(args: string[], folder: string, env?: NodeJS.ProcessEnv): ChildProcess {
  return spawnCommand('npm', args, folder, env);
}

export function spawnCommand(
  command: string,
  args: string[],
  folder: string,
  env: NodeJS.ProcessEnv = {},
): ChildProcess {
  // npm's own variables would make the npm inside act on the project of the npm outside, which runs these tests.
  const outer = Object.entries(process.env).filter(([name]) => !name.startsWith('npm_'));
  return spawn(command, args, {
    cwd: folder,
    env: { ...Object.fromEntries(outer), NO_COLOR: '1', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}
