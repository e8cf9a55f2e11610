import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout } from 'node:timers/promises';
import { isServed } from './ports.js';

/** A program that serves a port. */
export interface Member {
  name: string;
  command: string;
  args: readonly string[];
  /** Beside the environment of this process. */
  env?: Record<string, string>;
  /** The user that runs it; by default the one that runs this process. */
  user?: { uid: number; gid: number };
  /** The folder that it runs in; by default that of this process. */
  cwd?: string;
  host?: string;
  port: number;
}

const START_MS = 30_000;
const LOOK_MS = 50;
const AGAIN_MS = 3_000;
const END_MS = 8_000;
const KEPT_LINES = 20;

// Reads the ids of the processes that run, all of them each time. Its input
// ends with this process, and be it by SIGKILL: then it ends what is left. One
// that still writes would leave files behind: it waits for them, 8 s at most.
const GUARD = `
while read -r pids; do running=$pids; done
[ -z "$running" ] || kill -TERM $running
[ -z "$running" ] || kill -CONT $running
looks=80
for pid in $running; do
  while [ $looks -gt 0 ] && kill -0 $pid 2> /dev/null; do
    sleep 0.1
    looks=$((looks - 1))
  done
done
rm -rf "$0"
`;

/**
 * Processes that run together. One that dies is started again, and all of them
 * end with this one, whatever ends it.
 */
export class Fleet {
  /** In the order in which they were started; undefined while one is down. */
  private readonly members = new Map<Member, ChildProcess | undefined>();
  private readonly guards: ChildProcess[] = [];
  private ending?: Promise<void>;

  get isEnding(): boolean {
    return this.ending !== undefined;
  }

  /** A folder that is gone when the fleet is. */
  async makeFolder(): Promise<string> {
    const folder = await mkdtemp(join(tmpdir(), 'sse-sample-'));
    const guard = spawn('/bin/sh', ['-c', GUARD, folder], {
      stdio: ['pipe', 'ignore', 'ignore'],
      // Out of the terminal's reach: Ctrl+C is for this process, which ends all.
      detached: true,
    });
    // If the guard was killed, writing to it fails. Nothing is guarded then.
    guard.stdin.on('error', () => undefined);
    this.guards.push(guard);
    return folder;
  }

  /** Resolves when it serves its port. */
  async start(member: Member): Promise<void> {
    void this.keep(member, await this.launch(member));
  }

  /** Ends all, the one that was started last first. */
  end(): Promise<void> {
    this.ending ??= this.endAll();
    return this.ending;
  }

  private async keep(member: Member, child: ChildProcess): Promise<void> {
    while (!this.isEnding) {
      await gone(child);
      if (this.isEnding) {
        return;
      }
      this.setChild(member, undefined);
      // What it had started itself would keep its port.
      killGroup(child);
      console.log(
        `${member.name}: process ${child.pid} has died (${child.signalCode ?? child.exitCode}). Another one is started in ${AGAIN_MS / 1000} s.`,
      );
      // No reason to stay, where all end meanwhile.
      await setTimeout(AGAIN_MS, undefined, { ref: false });
      try {
        child = await this.launch(member);
      } catch (error) {
        if (!this.isEnding) {
          console.error((error as Error).message);
        }
      }
    }
  }

  private async launch(member: Member): Promise<ChildProcess> {
    const { name, command, args, env, user, cwd, port } = member;
    const { host = '127.0.0.1' } = member;
    if (this.isEnding) {
      throw new Error('The end has begun.');
    }
    const child = spawn(command, args, {
      env: { ...process.env, ...env },
      ...user,
      cwd,
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    const printed: string[] = [];
    for (const output of [child.stdout, child.stderr]) {
      createInterface(output).on('line', (line) => {
        // What an instance prints is shown. What the others print is shown
        // only if they do not start.
        if (env) {
          console.log(`${name}: ${line}`);
        } else {
          printed.splice(0, printed.push(line) - KEPT_LINES);
        }
      });
    }
    child.on('error', ({ message }) => printed.push(message));
    this.setChild(member, child);

    const deadline = Date.now() + START_MS;
    while (!(await isServed(port, host))) {
      if (this.isEnding || hasEnded(child) || Date.now() > deadline) {
        killGroup(child);
        throw new Error([`${name} does not start.`, ...printed].join('\n'));
      }
      await setTimeout(LOOK_MS);
    }
    console.log(
      `${`${name}:`.padEnd(6)} process ${child.pid} serves ${host}:${port}`,
    );
    return child;
  }

  private async endAll(): Promise<void> {
    const children = [...this.members.values()];
    while (children.length > 0) {
      const child = children.pop();
      if (child) {
        await endChild(child);
      }
    }
    this.members.clear();
    await Promise.all(
      this.guards.map(async (guard) => {
        const exit = once(guard, 'exit');
        guard.stdin?.end('\n');
        await exit;
      }),
    );
  }

  private setChild(member: Member, child: ChildProcess | undefined): void {
    this.members.set(member, child);
    const pids = [...this.members.values()].flatMap(
      (child) => child?.pid ?? [],
    );
    for (const { stdin } of this.guards) {
      stdin?.write(`${pids.join(' ')}\n`);
    }
  }
}

async function endChild(child: ChildProcess): Promise<void> {
  const killing = new AbortController();
  child.kill('SIGTERM');
  // For one that somebody has stopped to see what happens.
  child.kill('SIGCONT');
  void setTimeout(END_MS, undefined, { signal: killing.signal }).then(
    () => child.kill('SIGKILL'),
    () => undefined,
  );
  await gone(child);
  killing.abort();
}

function hasEnded(child: ChildProcess): boolean {
  const { pid, exitCode, signalCode } = child;
  return pid === undefined || exitCode !== null || signalCode !== null;
}

async function gone(child: ChildProcess): Promise<void> {
  if (!hasEnded(child)) {
    await once(child, 'exit');
  }
}

function killGroup({ pid }: ChildProcess): void {
  try {
    if (pid) {
      process.kill(-pid, 'SIGKILL');
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') {
      throw error;
    }
  }
}
