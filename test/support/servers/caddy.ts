import { startProxy, type ProxyServer } from './proxy-server.js';
import { guideBlock, replaceOnce } from '../../suites/guide-blocks.js';

/** Starts Caddy with the guide's configuration, in front of an origin on this machine. */
export function startCaddy(originPort: number): Promise<ProxyServer> {
  return startProxy({
    name: 'caddy',
    ready: /server running/,
    args: (configuration) => ['run', '--config', configuration, '--adapter', 'caddyfile'],
    configure: (port, folder) => {
      const upstream = replaceOnce(guideBlock('caddy'), '127.0.0.1:3000', `127.0.0.1:${originPort}`);
      const site = replaceOnce(upstream, ':80 {', `http://127.0.0.1:${port} {`);
      return `{\n  admin off\n  auto_https off\n  storage file_system ${folder}\n}\n${site}\n`;
    },
  });
}
