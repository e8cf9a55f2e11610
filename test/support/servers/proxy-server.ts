import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { LocalServer } from './local-server.js';

/** A proxy that a test runs: what differs from one program to the other. */
export interface ProxyProgram {
  readonly name: string;
  /** The whole configuration; what it names beside the port lies in `folder`. */
  configure(port: number, folder: string): string | Promise<string>;
  /** For a process that stays in the foreground and logs to stderr. */
  args(configuration: string, folder: string, port: number): string[];
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

/** Starts a proxy on a free port of 127.0.0.1. */
export async function startProxy({ name, configure, args, ready }: ProxyProgram): Promise<ProxyServer> {
  const server = await LocalServer.start({
    name,
    ready,
    endSignal: 'SIGTERM',
    args: async (port, folder) => {
      const configuration = join(folder, 'proxy.conf');
      await writeFile(configuration, await configure(port, folder));
      return args(configuration, folder, port);
    },
  });
  return {
    url: `http://127.0.0.1:${server.port}`,
    log: () => server.log(),
    stop: () => server.stop(),
  };
}
