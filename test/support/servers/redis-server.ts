import { once } from 'node:events';
import { copyFile, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { waitFor } from 'nestjs-event-stream/testing';
import { LocalServer } from './local-server.js';
import { clockAhead } from '../faults/other-clock.js';

/** Options of {@link startRedis}. */
export interface RedisServerOptions {
  /** Further arguments: `['--appendonly', 'yes']`. */
  arguments?: readonly string[];
  /** How far its clock is ahead of the machine's, in seconds; behind it, if negative. */
  clockSeconds?: number;
}

/** A command with its arguments. */
export type RedisCommand = readonly [name: string, ...args: (string | number)[]];

const DUMP = 'dump.rdb';
const SAVED = 'saved.rdb';
const DEADLINE_MS = 20_000;

/** Starts a Redis that keeps nothing on disk, unless it is told to. */
export async function startRedis(options: RedisServerOptions = {}): Promise<RedisServer> {
  const further = [...(options.arguments ?? [])];
  const server = await LocalServer.start({
    name: 'redis-server',
    ready: /Ready to accept connections/,
    endSignal: 'SIGKILL',
    env: options.clockSeconds === undefined ? {} : await clockAhead(options.clockSeconds),
    args: (port, folder) => {
      // A master would otherwise wait for five seconds, in case more replicas come.
      const own = `--port ${port} --bind 127.0.0.1 --dir ${folder} --repl-diskless-sync-delay 0`;
      return [...own.split(' '), '--save', '', ...further];
    },
  });
  return new RedisServer(server, further);
}

/** Starts a replica of a server, and resolves when it has its data. */
export async function startReplica(
  of: RedisServer,
  { throughPort = of.port, ...options }: RedisServerOptions & { throughPort?: number } = {},
): Promise<RedisServer> {
  const replica = await startRedis(options);
  await replica.follow(throughPort);
  return replica;
}

/** A Redis that runs, and can be made to fail. */
export class RedisServer {
  readonly #server: LocalServer;
  /** What it is started with the next time, beside its own. */
  readonly #arguments: string[];

  constructor(server: LocalServer, args: string[]) {
    this.#server = server;
    this.#arguments = args;
  }

  get port(): number {
    return this.#server.port;
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  get isRunning(): boolean {
    return this.#server.isRunning;
  }

  log(): string {
    return this.#server.log();
  }

  /** One command on a connection of its own; rejects where the server answers with an error. */
  command(name: string, ...args: (string | number)[]): Promise<unknown> {
    return this.#onConnection((connection) => connection.call(name, ...args));
  }

  /**
   * Several commands that nothing comes between; rejects where one of them fails.
   *
   * @param afterwards - what comes next, each a command of its own, and before those of anybody else
   */
  transaction(
    commands: readonly RedisCommand[],
    afterwards: readonly RedisCommand[] = [],
  ): Promise<unknown[]> {
    return this.#onConnection(async (connection) => {
      const pipeline = connection.pipeline();
      const all: RedisCommand[] = [['MULTI'], ...commands, ['EXEC'], ...afterwards];
      all.forEach(([name, ...args]) => pipeline.call(name, ...args));
      const results = (await pipeline.exec()) ?? [];
      for (const [error] of results) {
        if (error) {
          throw error;
        }
      }
      return results[commands.length + 1]![1] as unknown[];
    });
  }

  /** `INFO` as fields. */
  async info(section: string): Promise<Record<string, string>> {
    const text = (await this.command('INFO', section)) as string;
    return Object.fromEntries(text.split('\r\n').map((line) => line.split(/:(.*)/s, 2)));
  }

  kill(): Promise<void> {
    return this.#server.kill();
  }

  /**
   * Starts it again, on its port; kills it first where it runs.
   *
   * @param options.keepData - writes everything to disk first; without it, what its own persistence wrote comes back
   * @param options.arguments - further arguments, for this start
   */
  async restart({
    keepData = false,
    arguments: further = [],
  }: { keepData?: boolean } & RedisServerOptions = {}): Promise<void> {
    if (keepData) {
      await this.command('SAVE');
    }
    await this.kill();
    // A dump of before, which replication leaves behind, too, must not come back.
    if (!keepData) {
      await this.#remove(DUMP);
    }
    await this.#start(further);
  }

  /** Sends bytes as they are, on a connection of its own, and resolves with what is answered first. */
  async sendRaw(request: Buffer): Promise<string> {
    const socket = connect(this.port, '127.0.0.1');
    try {
      socket.write(request);
      const [reply] = (await once(socket, 'data')) as [Buffer];
      return reply.toString();
    } finally {
      socket.destroy();
    }
  }

  /** Keeps its data as they are now, for {@link restoreDump}. */
  async saveDump(name = SAVED): Promise<void> {
    await this.command('SAVE');
    await copyFile(this.#path(DUMP), this.#path(name));
  }

  /** Rolls it back to what {@link saveDump} kept. */
  async restoreDump(name = SAVED): Promise<void> {
    await this.kill();
    await copyFile(this.#path(name), this.#path(DUMP));
    await this.#start();
  }

  /** Makes it a replica of the server on that port, or behind it, and resolves when it has its data. */
  async follow(port: number): Promise<void> {
    await this.command('REPLICAOF', '127.0.0.1', port);
    const isUp = async () => (await this.info('replication'))['master_link_status'] === 'up';
    await waitFor(isUp, { timeoutMs: DEADLINE_MS, describe: () => `a replica; it logged ${this.log()}` });
  }

  /** Makes it a master with the data that it has. */
  async promote(): Promise<void> {
    await this.command('REPLICAOF', 'NO', 'ONE');
  }

  pause(): void {
    this.#server.pause();
  }

  resume(): void {
    this.#server.resume();
  }

  /** Resolves when its process and its files are gone. */
  stop(): Promise<void> {
    return this.#server.stop();
  }

  async #onConnection<T>(use: (connection: Redis) => Promise<T>): Promise<T> {
    const connection = new Redis(this.port, '127.0.0.1', {
      lazyConnect: true,
      enableReadyCheck: false,
      retryStrategy: () => null,
      maxRetriesPerRequest: 0,
      protocol: 2,
    });
    // What fails, fails the command.
    connection.on('error', () => undefined);
    try {
      await connection.connect();
      return await use(connection);
    } finally {
      // Of one that has ended already, ioredis would wait two seconds for the end.
      if (connection.status !== 'end') {
        connection.disconnect();
      }
    }
  }

  async #start(further: readonly string[] = []): Promise<void> {
    this.#arguments.push(...further);
    await this.#server.restart();
    this.#arguments.splice(this.#arguments.length - further.length);
  }

  #path(name: string): string {
    return join(this.#server.folder, name);
  }

  async #remove(name: string): Promise<void> {
    await rm(this.#path(name), { force: true });
  }
}
