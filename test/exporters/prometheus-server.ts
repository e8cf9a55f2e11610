import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { LocalServer } from '../support/servers/local-server.js';

/** A time series in an answer, with its newest value. */
export interface Series {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

interface Answer {
  readonly status: string;
  readonly error?: string;
  readonly data: { readonly result: { metric: Record<string, string>; value: [number, string] }[] };
}

/** The Prometheus of the distribution, which scrapes one app. */
export class PrometheusServer {
  readonly #server: LocalServer;

  private constructor(server: LocalServer) {
    this.#server = server;
  }

  /** Resolves when it answers queries. */
  static async start(target: string): Promise<PrometheusServer> {
    const server = await LocalServer.start({
      name: 'prometheus',
      ready: /Server is ready to receive web requests/,
      endSignal: 'SIGKILL',
      args: async (port, folder) => {
        const file = join(folder, 'prometheus.yml');
        await writeFile(file, configuration(target));
        return [
          `--config.file=${file}`,
          `--storage.tsdb.path=${join(folder, 'data')}`,
          `--web.listen-address=127.0.0.1:${port}`,
        ];
      },
    });
    return new PrometheusServer(server);
  }

  /** @throws if the query is none */
  async query(expression: string): Promise<Series[]> {
    const url = `http://127.0.0.1:${this.#server.port}/api/v1/query?query=${encodeURIComponent(expression)}`;
    const { status, error, data } = (await (await fetch(url)).json()) as Answer;
    if (status !== 'success') {
      throw new Error(`${expression}: ${error}`);
    }
    return data.result.map(({ metric, value: [, value] }) => ({ labels: metric, value: Number(value) }));
  }

  stop(): Promise<void> {
    return this.#server.stop();
  }
}

function configuration(target: string): string {
  return `
global: { scrape_interval: 1s, scrape_timeout: 1s }
scrape_configs:
  - job_name: app
    static_configs: [{ targets: ['${target}'] }]
`;
}
