import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';

/** A proxy that a test runs: what differs from one program to the other. */
export interface ProxyProgram {
  readonly name: string;
  /** The whole configuration; what it names beside the port lies in `folder`. */
  configure(port: number, folder: string): string;
  /** For a process that stays in the foreground and logs to stderr. */
  args(configuration: string, folder: string): string[];
  /** What it logs once its port is bound. */
  readonly ready: RegExp;
}

/** A proxy that runs. */
export interface ProxyServer {
  readonly url: string;
  /** What it has logged so far. */
  log(): string;
  /** Resolves when its processes and its files are gone. */
  stop(): Promise<void>;
}

const ATTEMPTS = 10;
const START_MS = 20_000;

/** Starts a proxy on a free port of 127.0.0.1, without privileges, with all its files in a folder of its own. */
export async function startProxy(program: ProxyProgram): Promise<ProxyServer> {
  const folder = await mkdtemp(join(tmpdir(), `${program.name}-`));
  try {
    for (let attempt = 1; ; attempt += 1) {
      const server = await tryPort(program, folder, await findPort());
      if (server !== 'taken') return server;
      if (attempt === ATTEMPTS) throw new Error(`${program.name} found ${ATTEMPTS} free ports taken.`);
    }
  } catch (error) {
    await rm(folder, { recursive: true });
    throw error;
  }
}

/** A free port, which somebody else may take before the proxy does. */
async function findPort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

async function tryPort(program: ProxyProgram, folder: string, port: number): Promise<ProxyServer | 'taken'> {
  const configuration = join(folder, 'proxy.conf');
  await writeFile(configuration, program.configure(port, folder));
  const child = spawn(program.name, program.args(configuration, folder), {
    cwd: folder,
    stdio: ['ignore', 'ignore', 'pipe'],
    // Debian keeps both where an ordinary user's PATH does not look.
    env: { ...process.env, PATH: [process.env['PATH'], '/usr/sbin', '/usr/local/sbin'].join(delimiter) },
  });
  const gone = once(child, 'close');
  // A test process that dies leaves no proxy behind.
  const onExit = () => child.kill('SIGKILL');
  process.once('exit', onExit);
  void gone.then(() => process.removeListener('exit', onExit));
  const stop = async () => {
    child.kill('SIGTERM');
    const giveUp = setTimeout(() => child.kill('SIGKILL'), START_MS);
    await gone;
    clearTimeout(giveUp);
    await rm(folder, { recursive: true });
  };
  const { log, outcome } = watchStart(child, program.ready);
  switch (await outcome) {
    case 'ready':
      return { url: `http://127.0.0.1:${port}`, log, stop };
    case 'taken':
      await gone;
      return 'taken';
    case 'failed':
      child.kill('SIGKILL');
      await gone;
      throw new Error(`${program.name} did not start:\n${log()}`);
  }
}

type Outcome = 'ready' | 'taken' | 'failed';

function watchStart(child: ChildProcess, ready: RegExp): { log: () => string; outcome: Promise<Outcome> } {
  let text = '';
  const outcome = new Promise<Outcome>((resolve) => {
    const giveUp = setTimeout(resolve, START_MS, 'failed');
    const settle = (result: Outcome) => {
      clearTimeout(giveUp);
      resolve(result);
    };
    child.stderr!.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
      if (ready.test(text)) settle('ready');
    });
    child.on('error', (error) => {
      text += String(error);
      settle('failed');
    });
    child.on('close', () => settle(/address already in use/i.test(text) ? 'taken' : 'failed'));
  });
  return { log: () => text, outcome };
}
