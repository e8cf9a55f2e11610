import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { guideBlock, replaceOnce } from '../../suites/guide-blocks.js';
import { startProxy, type ProxyServer } from './proxy-server.js';

/** What a test changes of the configuration that the guide prints. */
export interface HaproxyOptions {
  /** As printed: with `defaults`, and a backend with the server 127.0.0.1:3000 at its end. */
  block: string;
  originPort: number;
  /** Speak HTTP/2 with its clients, in clear text. */
  http2?: boolean;
  /** Further lines for the backend. */
  backend?: string;
}

/** Starts HAProxy with the guide's configuration, in front of an origin on this machine. */
export function startHaproxy({
  block,
  originPort,
  http2 = false,
  backend = '',
}: HaproxyOptions): Promise<ProxyServer> {
  return startProxy({
    name: 'haproxy',
    ready: /Loading success/,
    // A master and a worker: the master says when the worker has bound its port, and the worker dies with it.
    args: (configuration) => ['-W', '-db', '-f', configuration],
    configure: async (port, folder) => {
      const away = join(folder, 'away.http');
      await writeFile(away, `${guideBlock('http')}\n`);
      const upstream = block
        .replaceAll(' 127.0.0.1:3000', ` 127.0.0.1:${originPort}`)
        .replaceAll('/etc/haproxy/away.http', away);
      const listening = replaceOnce(
        upstream,
        'bind :80',
        `bind 127.0.0.1:${port}${http2 ? ' proto h2' : ''}`,
      );
      return `${listening}\n${backend}\n`;
    },
  });
}
