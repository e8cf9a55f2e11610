import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chown, readdir, readFile, realpath, rename, rm, writeFile } from 'node:fs/promises';
import { delimiter, dirname, isAbsolute, join } from 'node:path';
import { promisify } from 'node:util';
import { waitFor } from 'nestjs-event-stream/testing';
import { Client } from 'pg';
import { LocalServer } from './local-server.js';

const run = promisify(execFile);

/** Options of {@link startPostgres}. */
export interface PostgresServerOptions {
  /** Settings of the server: `{ max_connections: '5' }`. */
  settings?: Readonly<Record<string, string>>;
  /** The port of a server that it follows: it begins with its data, and takes no writes until it is promoted. */
  standbyOf?: number;
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

/** A bound for a server that hangs. */
const RECOVERY_MS = 60_000;

const DATA = 'data';
const BACKUP = 'backup';
const INITDB = '-U postgres -A trust -E UTF8 --locale=C --no-sync'.split(' ');

const backupOf = (port: number) =>
  `-h 127.0.0.1 -p ${port} -U postgres -c fast -X stream --no-sync`.split(' ');

/** How programs are run as another user. */
interface Privileges {
  readonly command: string[];
  readonly uid: number;
  readonly gid: number;
}

/** Starts a PostgreSQL with an empty database `postgres`, whose owner needs no password. */
export async function startPostgres({
  settings = {},
  standbyOf,
}: PostgresServerOptions = {}): Promise<PostgresServer> {
  const programs = await PostgresPrograms.find();
  const own: Record<string, string> = { ...SETTINGS, ...settings };
  const { file, args: before } = programs.command('postgres');
  const server = await LocalServer.start({
    name: file,
    // A standby says so, too.
    ready: /database system is ready to accept (read-only )?connections/,
    // Its processes end at once, without a last checkpoint: as in a crash.
    endSignal: 'SIGQUIT',
    killSignal: 'SIGQUIT',
    args: async (port, folder) => {
      if (!existsSync(join(folder, DATA))) {
        await programs.own(folder);
        const make =
          standbyOf === undefined
            ? programs.run('initdb', ['-D', DATA, ...INITDB], { cwd: folder })
            : programs.run('pg_basebackup', ['-D', DATA, '-R', ...backupOf(standbyOf)], { cwd: folder });
        await make;
      }
      const options = Object.entries(own).flatMap(([key, value]) => ['-c', `${key}=${value}`]);
      return [...before, '-D', join(folder, DATA), '-p', String(port), ...options];
    },
  });
  return new PostgresServer(server, own, programs);
}

/** The programs of one version, run as a user that is not root. */
class PostgresPrograms {
  readonly #folder: string;
  readonly #user: Privileges | undefined;

  private constructor(folder: string, user: Privileges | undefined) {
    this.#folder = folder;
    this.#user = user;
  }

  static async find(): Promise<PostgresPrograms> {
    const user = process.getuid?.() === 0 ? await privilegesOf(UNPRIVILEGED) : undefined;
    return new PostgresPrograms(await programFolder(), user);
  }

  command(program: string): { file: string; args: string[] } {
    const [file, ...args] = [...(this.#user?.command ?? []), join(this.#folder, program)];
    return { file, args };
  }

  /** Gives a folder to the user that the programs run as. */
  async own(folder: string): Promise<void> {
    if (this.#user) {
      await chown(folder, this.#user.uid, this.#user.gid);
    }
  }

  async run(
    program: string,
    args: readonly string[],
    options: { cwd: string; input?: string },
  ): Promise<void> {
    const { file, args: before } = this.command(program);
    const running = run(file, [...before, ...args], { cwd: options.cwd });
    running.child.stdin?.end(options.input ?? '');
    await running;
  }
}

/** Returns the folder of the server on the PATH, else that of the newest that Debian has; empty if there is none. */
async function programFolder(): Promise<string> {
  const versions = (await readdir(DEBIAN).catch(() => [])).map(Number).filter(Boolean);
  const newestFirst = versions.sort((a, b) => b - a).map((version) => join(DEBIAN, String(version), 'bin'));
  const folders = [...(process.env['PATH'] ?? '').split(delimiter).filter(isAbsolute), ...newestFirst];
  // Packages with the client alone make a folder, too.
  const initdb = folders.map((folder) => join(folder, 'initdb')).find(existsSync);
  // A link on the PATH may stand alone: the other programs are beside what it leads to.
  return initdb === undefined ? '' : dirname(await realpath(initdb));
}

/** How a program is run as another user, by util-linux. */
async function privilegesOf(user: string): Promise<Privileges> {
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
  readonly #programs: PostgresPrograms;
  #paused: readonly number[] = [];

  constructor(server: LocalServer, settings: Record<string, string>, programs: PostgresPrograms) {
    this.#server = server;
    this.#settings = settings;
    this.#programs = programs;
  }

  get port(): number {
    return this.#server.port;
  }

  /** Of its first process; undefined if it does not run. */
  get pid(): number | undefined {
    return this.#server.pid;
  }

  get url(): string {
    return postgresUrl(this.port);
  }

  log(): string {
    return this.#server.log();
  }

  /** Opens a connection that {@link endConnections} leaves alone. */
  async connect(): Promise<Client> {
    const client = new Client({ connectionString: this.url, application_name: OWN });
    // Its server may be killed while nothing is under way.
    client.on('error', () => undefined);
    await client.connect();
    return client;
  }

  /** One statement, or several, on a connection of its own. @returns the rows of the last one that has any */
  async query(text: string, values?: unknown[]): Promise<Record<string, unknown>[]> {
    const client = await this.connect();
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

  /** Starts it again without the schema of the log, as a server that has kept nothing; kills it first where it runs. */
  async restartEmpty(): Promise<void> {
    await this.kill();
    await this.#programs.run('postgres', ['--single', '-D', DATA, 'postgres'], {
      cwd: this.#server.folder,
      input: 'drop schema if exists sse cascade\n',
    });
    await this.#server.restart();
  }

  /** Makes a standby the primary. Resolves when it takes writes. */
  async promote(): Promise<void> {
    await this.query('select pg_promote()');
  }

  /** Copies the schema of the log, with all in it, from another server. */
  async copyDatabase(from: PostgresServer): Promise<void> {
    const { folder: cwd } = this.#server;
    const of = ({ port }: PostgresServer) => [
      '-h',
      '127.0.0.1',
      '-p',
      String(port),
      '-U',
      'postgres',
      '-f',
      'dump.sql',
    ];
    await this.#programs.run('pg_dump', [...of(from), '-n', 'sse', 'postgres'], { cwd });
    await this.#programs.run('psql', ['-q', '-v', 'ON_ERROR_STOP=1', ...of(this), 'postgres'], { cwd });
  }

  /** Copies its data as they are, for {@link restoreBackup}, while it goes on. */
  async saveBackup(): Promise<void> {
    await this.#programs.run('pg_basebackup', ['-D', BACKUP, ...backupOf(this.port)], {
      cwd: this.#server.folder,
    });
  }

  /**
   * Kills it, and starts it again with the data of the backup.
   *
   * @param options.onNewTimeline - as a recovery to a point in time does; otherwise as a copy of the files
   */
  async restoreBackup({ onNewTimeline }: { onNewTimeline: boolean }): Promise<void> {
    const { folder } = this.#server;
    await this.kill();
    await rm(join(folder, DATA), { recursive: true });
    await rename(join(folder, BACKUP), join(folder, DATA));
    if (onNewTimeline) {
      const signal = join(folder, DATA, 'recovery.signal');
      await writeFile(signal, '');
      await this.#programs.own(signal);
    }
    // There is no archive. A server that was restarted with this setting does not need it.
    await this.restart({ restore_command: 'false' });
    // It takes connections before its recovery has come to an end, and writes only after it.
    const hasRecovered = async () =>
      (await this.query('select pg_is_in_recovery() as is'))[0]!['is'] === false;
    await waitFor(hasRecovered, { timeoutMs: RECOVERY_MS, describe: 'a server that has recovered' });
  }

  /** Stops all of its processes where they stand: connections stay open, and nothing answers any more. */
  async pause(): Promise<void> {
    this.#server.pause();
    const { pid } = this.#server;
    const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8');
    this.#paused = children.trim().split(' ').map(Number);
    this.#signal('SIGSTOP');
  }

  resume(): void {
    this.#signal('SIGCONT');
    this.#paused = [];
    this.#server.resume();
  }

  /** Resolves when its process and its files are gone. */
  stop(): Promise<void> {
    this.resume();
    return this.#server.stop();
  }

  #signal(signal: 'SIGSTOP' | 'SIGCONT'): void {
    for (const pid of this.#paused) {
      try {
        process.kill(pid, signal);
      } catch {
        // It has ended meanwhile.
      }
    }
  }
}

/** @param user - the owner of the database by default */
export function postgresUrl(port: number, user = 'postgres'): string {
  return `postgres://${user}@127.0.0.1:${port}/postgres`;
}
