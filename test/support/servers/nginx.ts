import { replaceOnce } from '../../suites/guide-blocks.js';
import { startProxy, type ProxyServer } from './proxy-server.js';

/** What a test changes of the configuration that the guide prints. */
export interface NginxOptions {
  /** As printed: it stands within `http { }`, and proxies to 127.0.0.1:3000. */
  block: string;
  originPort: number;
  /** Speak HTTP/2 with its clients, in clear text. */
  http2?: boolean;
  /** Further directives for `http { }`. */
  http?: string;
}

/** Starts nginx with the guide's configuration, in front of an origin on this machine. */
export function startNginx({
  block,
  originPort,
  http2 = false,
  http = '',
}: NginxOptions): Promise<ProxyServer> {
  return startProxy({
    name: 'nginx',
    ready: /start worker process \d/,
    args: (configuration, folder) => ['-p', folder, '-e', 'stderr', '-c', configuration],
    configure: (port) => `
      daemon off;
      worker_processes 1;
      pid nginx.pid;
      error_log stderr notice;
      events {}
      http {
        access_log off;
        client_body_temp_path body;
        proxy_temp_path proxy;
        fastcgi_temp_path fastcgi;
        uwsgi_temp_path uwsgi;
        scgi_temp_path scgi;
        ${http}
        ${replaceOnce(
          replaceOnce(block, 'server 127.0.0.1:3000;', `server 127.0.0.1:${originPort};`),
          'listen 80;',
          `listen 127.0.0.1:${port}${http2 ? ' http2' : ''};`,
        )}
      }`,
  });
}
