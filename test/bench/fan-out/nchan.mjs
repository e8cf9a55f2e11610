/** nginx with its module nchan, from the distribution, with one worker. It is published to over one connection. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const MODULE = '/usr/lib/nginx/modules/ngx_nchan_module.so';

export function isNchanThere() {
  return existsSync(MODULE);
}

/** Answers the same questions as a server of Node's. */
export async function startNchan({ topics }) {
  const folder = mkdtempSync(join(tmpdir(), 'bench-nchan-'));
  const port = await freePort();
  writeFileSync(join(folder, 'nginx.conf'), configuration(port));
  const nginx = spawn('nginx', ['-p', folder, '-e', 'stderr', '-c', join(folder, 'nginx.conf')], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/usr/local/sbin` },
  });
  const kill = () => nginx.kill('SIGTERM');
  process.on('exit', kill);
  const publisher = await connectPublisher(port);
  const worker = await workerOf(nginx.pid);
  let published = 0;

  const tasks = {
    /** Microseconds, of the worker: the kernel counts it in nanoseconds. */
    cpu: () => Number(readFileSync(`/proc/${worker}/schedstat`, 'utf8').split(' ')[0]) / 1_000,
    async publish({ turns, burst, bytes, everyMs }) {
      const begin = performance.now();
      for (let turn = 0; turn < turns; turn += 1) {
        const requests = Array.from({ length: burst }, () => {
          const request = publishRequest((published * 7_919) % topics, published, bytes);
          published += 1;
          return request;
        });
        await publisher.send(requests);
        if (everyMs !== undefined) {
          await until(begin + (turn + 1) * everyMs);
        }
      }
    },
  };
  return {
    port,
    ask: async (task) => (typeof task === 'string' ? tasks[task]() : tasks[task.task](task)),
    async end() {
      process.off('exit', kill);
      publisher.destroy();
      const exited = once(nginx, 'exit');
      nginx.kill('SIGKILL');
      // The master's end is not the worker's.
      process.kill(worker, 'SIGKILL');
      await exited;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** As its documentation sets it up, with a short buffer of messages for clients that come back. */
function configuration(port) {
  return `
    load_module ${MODULE};
    daemon off;
    worker_processes 1;
    worker_rlimit_nofile ${maxFiles()};
    pid nginx.pid;
    error_log stderr error;
    events { worker_connections ${maxFiles() - 20}; }
    http {
      access_log off;
      client_body_temp_path body;
      proxy_temp_path proxy;
      fastcgi_temp_path fastcgi;
      uwsgi_temp_path uwsgi;
      scgi_temp_path scgi;
      keepalive_requests 1000000000;
      nchan_max_reserved_memory 256M;
      nchan_message_buffer_length 100;
      server {
        listen 127.0.0.1:${port} backlog=4096;
        location = /publish {
          nchan_publisher;
          nchan_channel_id $arg_topic;
        }
        location = /follow {
          nchan_subscriber eventsource;
          nchan_channel_id_split_delimiter ",";
          nchan_channel_id $arg_topics;
          nchan_subscriber_first_message newest;
        }
      }
    }`;
}

function publishRequest(topic, count, bytes) {
  const event = { at: `~${process.hrtime.bigint() / 1_000n} `, n: count, text: '' };
  event.text = 'x'.repeat(bytes - JSON.stringify(event).length);
  const data = JSON.stringify(event);
  return `POST /publish?topic=${topic} HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${bytes}\r\n\r\n${data}`;
}

async function connectPublisher(port) {
  const socket = await connected(port);
  let answers = '';
  let wanted = 0;
  let onAnswered;
  socket.setEncoding('latin1').on('data', (text) => {
    answers += text;
    const statuses = answers.match(/HTTP\/1\.1 \d+/g) ?? [];
    if (statuses.length < wanted) {
      return;
    }
    const bad = statuses.find((status) => !/ 20[012]$/.test(status));
    onAnswered(bad);
  });
  return {
    async send(requests) {
      answers = '';
      wanted = requests.length;
      const answered = new Promise((resolve) => (onAnswered = resolve));
      // All of a burst at once: nginx reads them from the socket one after the other.
      socket.write(requests.join(''));
      const bad = await answered;
      if (bad) {
        throw new Error(`nchan did not take an event: ${bad}`);
      }
    },
    destroy: () => socket.destroy(),
  };
}

async function connected(port) {
  for (let attempts = 0; ; attempts += 1) {
    const socket = connect(port, '127.0.0.1');
    try {
      await once(socket, 'connect');
      return socket;
    } catch (error) {
      if (attempts === 100) {
        throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

function until(time) {
  return new Promise((resolve) => {
    setTimeout(resolve, time - performance.now());
  });
}

/** It may come later than the socket that it serves. */
async function workerOf(master) {
  for (let looks = 0; looks < 200; looks += 1) {
    const pid = Number.parseInt(readFileSync(`/proc/${master}/task/${master}/children`, 'utf8'), 10);
    if (pid > 0) {
      return pid;
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error('nginx has started no worker');
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  return port;
}

/** How many files, and so sockets, a process may have open here. */
export function maxFiles() {
  const [, limit] = /^Max open files +\d+ +(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'));
  return Number(limit);
}
