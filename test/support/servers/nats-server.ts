import { cp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { findPort, LocalServer } from './local-server.js';

/** Options of {@link startNats}. */
export interface NatsServerOptions {
  /** Further arguments. */
  arguments?: readonly string[];
}

/** Starts a NATS server with JetStream, whose streams live in a folder of its own. */
export async function startNats(options: NatsServerOptions = {}): Promise<NatsServer> {
  const server = await LocalServer.start({
    name: 'nats-server',
    ready: /Server is ready/,
    endSignal: 'SIGKILL',
    args: (port, folder) => [
      '-a',
      '127.0.0.1',
      '-p',
      `${port}`,
      '-js',
      '-sd',
      folder,
      ...(options.arguments ?? []),
    ],
  });
  return new NatsServer(server);
}

/** Starts a server whose files can be kept, and brought back. @param folder - of the caller's, for the files */
export async function startNatsIn(folder: string) {
  const [files, old] = [join(folder, 'files'), join(folder, 'old')];
  const server = await startNats({ arguments: ['-sd', files] });
  return {
    server,
    keep: async () => {
      await server.end();
      await rm(old, { recursive: true, force: true });
      await cp(files, old, { recursive: true });
      await server.restart();
    },
    restore: async () => {
      await server.kill();
      await rm(files, { recursive: true });
      await cp(old, files, { recursive: true });
      await server.restart();
    },
  };
}

/** Starts three servers that are one cluster; streams in it may have three copies. */
export async function startNatsCluster(): Promise<NatsServer[]> {
  const ports = [await findPort(), await findPort(), await findPort()];
  const routes = ports.map((port) => `nats://127.0.0.1:${port}`);
  return Promise.all(
    routes.map((own, index) =>
      startNats({
        arguments: ['--server_name', `server-${index}`, '--cluster_name', 'cluster', '--cluster', own].concat(
          '--routes',
          routes.filter((each) => each !== own).join(),
        ),
      }),
    ),
  );
}

/** A NATS server that runs, and can be made to fail. */
export class NatsServer {
  readonly #server: LocalServer;

  constructor(server: LocalServer) {
    this.#server = server;
  }

  get port(): number {
    return this.#server.port;
  }

  /** Of its process; undefined if it does not run. */
  get pid(): number | undefined {
    return this.#server.pid;
  }

  get url(): string {
    return `nats://127.0.0.1:${this.port}`;
  }

  log(): string {
    return this.#server.log();
  }

  /** @param listener - called with what it has printed when it ends without being told to */
  onCrash(listener: (log: string) => void): void {
    this.#server.onCrash = listener;
  }

  /** Ends it as a crash does. What it has acknowledged a moment ago may not be on disk yet. */
  kill(): Promise<void> {
    return this.#server.kill();
  }

  /** Ends it when all that it has acknowledged is on disk. */
  end(): Promise<void> {
    return this.#server.end();
  }

  /** Starts it again, on its port and with what its streams kept on disk; kills it first where it runs. */
  restart(): Promise<void> {
    return this.#server.restart();
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
}
