import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chown, mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Client } from 'pg';
import { LocalServer } from './local-server.js';

const run = promisify(execFile);

/** Options of {@link startPostgres}. */
export interface PostgresServerOptions {
  /** Settings of the server: `{ max_connections: '5' }`. */
  settings?: Readonly<Record<string, string>>;
}

/** The user that a server runs as: PostgreSQL refuses root. */
const UNPRIVILEGED = 'nobody';
/** The name of connections of the tests' own, which are not ended with the others. */
const OWN = 'nestjs-event-stream tests';
/** Where Debian keeps the programs of each version, on no PATH. */
const DEBIAN = '/usr/lib/postgresql';
const SETTINGS = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  // A process that is killed leaves no memory of the machine's behind.
  dynamic_shared_memory_type: 'mmap',
  shared_buffers: '16MB',
  max_connections: '60',
  // What is on disk outlives the process, and no test takes the power away.
  fsync: 'off',
};

/** Starts a PostgreSQL with an empty database `postgres`, whose owner needs no password. */
export async function startPostgres({ settings = {} }: PostgresServerOptions = {}): Promise<PostgresServer> {
  const programs = await programFolder();
  const own: Record<string, string> = { ...SETTINGS, ...settings };
  const asUser = process.getuid?.() === 0 ? await privilegesOf(UNPRIVILEGED) : undefined;
  const command = (program: string, args: string[]) =>
    asUser ? [...asUser.command, join(programs, program), ...args] : [join(programs, program), ...args];
  let isMade = false;
  const [name, ...before] = command('postgres', []) as [string, ...string[]];
  const server = await LocalServer.start({
    name,
    ready: /database system is ready to accept connections/,
    // Its processes end at once, without a last checkpoint: as in a crash.
    endSignal: 'SIGQUIT',
    killSignal: 'SIGQUIT',
    args: async (port, folder) => {
      const data = join(folder, 'data');
      if (!isMade) {
        await mkdir(data, { mode: 0o700, recursive: true });
        if (asUser) {
          await Promise.all([folder, data].map((path) => chown(path, asUser.uid, asUser.gid)));
        }
        const [initdb, ...args] = command('initdb', [
          '-D',
          data,
          '-U',
          'postgres',
          '-A',
          'trust',
          '-E',
          'UTF8',
        ]);
        await run(initdb!, [...args, '--locale=C', '--no-sync', '--no-instructions'], { cwd: folder });
        isMade = true;
      }
      const options = Object.entries(own).flatMap(([key, value]) => ['-c', `${key}=${value}`]);
      return [...before, '-D', data, '-p', String(port), ...options];
    },
  });
  return new PostgresServer(server, own);
}

/** Returns the folder of the newest server; empty if it is on the PATH. */
async function programFolder(): Promise<string> {
  const versions = (await readdir(DEBIAN).catch(() => [])).map(Number).filter(Boolean);
  const folders = versions.sort((a, b) => b - a).map((version) => join(DEBIAN, String(version), 'bin'));
  // Packages with the client alone make a folder, too.
  return folders.find((folder) => existsSync(join(folder, 'initdb'))) ?? '';
}

/** How a program is run as another user, by util-linux. */
async function privilegesOf(user: string): Promise<{ command: string[]; uid: number; gid: number }> {
  const [uid, gid] = await Promise.all(
    ['-u', '-g'].map(async (flag) => Number((await run('id', [flag, user])).stdout)),
  );
  return {
    command: ['setpriv', `--reuid=${uid}`, `--regid=${gid}`, '--clear-groups', '--'],
    uid: uid!,
    gid: gid!,
  };
}

/** A PostgreSQL that runs, and can be made to fail. */
export class PostgresServer {
  readonly #server: LocalServer;
  readonly #settings: Record<string, string>;

  constructor(server: LocalServer, settings: Record<string, string>) {
    this.#server = server;
    this.#settings = settings;
  }

  get port(): number {
    return this.#server.port;
  }

  get url(): string {
    return postgresUrl(this.port);
  }

  log(): string {
    return this.#server.log();
  }

  /** One statement, or several, on a connection of its own. @returns the rows of the last one that has any */
  async query(text: string, values?: unknown[]): Promise<Record<string, unknown>[]> {
    const client = new Client({ connectionString: this.url, application_name: OWN });
    await client.connect();
    try {
      const results = [await client.query(text, values)].flat();
      return (results.at(-1)?.rows ?? []) as Record<string, unknown>[];
    } finally {
      await client.end();
    }
  }

  /** Ends all connections of others. */
  async endConnections(): Promise<void> {
    await this.query(
      'select pg_terminate_backend(pid) from pg_stat_activity where application_name <> $1 and datname is not null',
      [OWN],
    );
  }

  kill(): Promise<void> {
    return this.#server.kill();
  }

  /** Starts it again with its data; kills it first where it runs. @param settings - further ones from now on */
  async restart(settings: Readonly<Record<string, string>> = {}): Promise<void> {
    Object.assign(this.#settings, settings);
    await this.#server.restart();
  }

  /** Resolves when its process and its files are gone. */
  stop(): Promise<void> {
    return this.#server.stop();
  }
}

/** @param user - the owner of the database by default */
export function postgresUrl(port: number, user = 'postgres'): string {
  return `postgres://${user}@127.0.0.1:${port}/postgres`;
}
