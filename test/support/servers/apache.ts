import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { startProxy, type ProxyServer } from './proxy-server.js';
import { guideBlock, replaceOnce } from '../../suites/guide-blocks.js';

const MODULES = ['mpm_event', 'authz_core', 'alias', 'asis', 'proxy', 'proxy_http'];

/** Starts Apache with the guide's configuration, in front of an origin on this machine. */
export function startApache(originPort: number): Promise<ProxyServer> {
  return startProxy({
    name: 'apache2',
    ready: /resuming normal operations/,
    args: (configuration) => ['-D', 'FOREGROUND', '-f', configuration],
    configure: async (port, folder) => {
      const away = join(folder, 'away.asis');
      // Started by root, it serves as another user.
      await chmod(folder, 0o755);
      await writeFile(away, `${guideBlock('asis')}\n`);
      const upstream = replaceOnce(guideBlock('apache'), '127.0.0.1:3000', `127.0.0.1:${originPort}`);
      const host = replaceOnce(upstream, '<VirtualHost *:80>', '<VirtualHost *>');
      return `
        ServerRoot ${folder}
        ServerName localhost
        PidFile ${folder}/pid
        # Node gives it a socket, which cannot be opened as /dev/stderr.
        ErrorLog "|/bin/cat"
        LogLevel notice
        ${MODULES.map((name) => `LoadModule ${name}_module /usr/lib/apache2/modules/mod_${name}.so`).join('\n')}
        User www-data
        Group www-data
        Listen 127.0.0.1:${port}
        ${replaceOnce(host, '"/etc/apache2/away.asis"', `"${away}"`)}
      `;
    },
  });
}
