import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';

interface Balancer {
  /** Where it listens: host and port. */
  listen: string;
  /** The ports of the instances, which it asks in turn. */
  instances: readonly number[];
}

/** Writes a configuration for `nginx -p <folder>`, and returns its path. */
export async function configureNginx(
  folder: string,
  { listen, instances }: Balancer,
): Promise<string> {
  // One that has died refuses connections, so the next one is asked at once.
  // Without max_fails=0 nginx would leave it alone for ten seconds.
  const servers = instances
    .map((port) => `server 127.0.0.1:${port} max_fails=0;`)
    .join('\n    ');
  const path = join(folder, 'nginx.conf');
  await writeFile(
    path,
    `daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr crit;
events {}

http {
  access_log off;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  # Its workers may be another user, to whom this folder is closed.
  proxy_max_temp_file_size 0;

  upstream app {
    ${servers}
    keepalive 32;
  }

  server {
    listen ${listen};

    location / {
      proxy_pass http://app;

      # nginx speaks HTTP/1.0 to its upstreams unless it is told otherwise, and
      # there a stream that was cut looks like one that is complete.
      proxy_http_version 1.1;
      proxy_set_header Connection "";

      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;

      # Longer than heartbeatMs, by far: 15 s by default.
      proxy_read_timeout 60s;
    }
  }
}
`,
  );
  return path;
}
