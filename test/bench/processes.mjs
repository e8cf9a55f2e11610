/** The processes of a benchmark: servers, and clients. */
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const running = new Set();

process.on('exit', endAll);
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1));

/** Starts a server, and resolves when it listens. */
export async function startServer(file, config = {}) {
  const server = new Process(file, [JSON.stringify(config)], ['--expose-gc']);
  server.port = await server.answer();
  return server;
}

export function startClients() {
  return startLoad(new URL('clients.mjs', import.meta.url));
}

export function startCountingClients() {
  return startLoad(new URL('counting-clients.mjs', import.meta.url));
}

async function startLoad(url) {
  const clients = new Process(fileURLToPath(url));
  await clients.answer();
  return clients;
}

export function endAll() {
  running.forEach((child) => child.kill('SIGKILL'));
  running.clear();
}

class Process {
  port;
  #child;
  #answers = [];
  #waiting = [];

  constructor(file, args = [], execArgv = []) {
    this.#child = fork(file, args, { execArgv });
    running.add(this.#child);
    this.#child.on('message', ({ answer }) => {
      const waiting = this.#waiting.shift();
      if (waiting) waiting.resolve(answer);
      else this.#answers.push(answer);
    });
    this.#child.on('exit', (code, signal) => {
      running.delete(this.#child);
      this.#waiting.forEach(({ reject }) => reject(new Error(`${file} has ended: ${code ?? signal}`)));
    });
  }

  get pid() {
    return this.#child.pid;
  }

  /** Asks for a task, by its name or with its options, and resolves with the answer. */
  ask(task) {
    this.#child.send(typeof task === 'string' ? { task } : task);
    return this.answer();
  }

  answer() {
    if (this.#answers.length > 0) return Promise.resolve(this.#answers.shift());
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
    });
  }

  async end() {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.kill('SIGKILL');
    await ended;
  }
}
