/** The processes of a benchmark: servers, and clients. */
import { fork } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** What takes longer has hung: a client waits for an event that never comes. */
const DEADLINE_MS = 300_000;
/** A tick, in which the kernel counts CPU time: see proc(5), `/proc/pid/stat`. */
export const TICK_US = 10_000;

const running = new Set();

process.on('exit', endAll);
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, () => process.exit(1));
}

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

export function startLosingClients() {
  return startLoad(new URL('redis/losing-clients.mjs', import.meta.url));
}

export function startAnswerClients() {
  return startLoad(new URL('runs/answer-clients.mjs', import.meta.url));
}

async function startLoad(url) {
  const clients = new Process(fileURLToPath(url));
  await clients.answer();
  return clients;
}

/** The fields of `/proc/pid/stat` after the name; none of a process that has ended. */
export function statOf(pid) {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1].split(' ');
  } catch {
    return [];
  }
}

export function endAll() {
  running.forEach((child) => child.kill('SIGKILL'));
  running.clear();
}

class Process {
  port;
  #file;
  #child;
  #answers = [];
  #waiting = [];

  constructor(file, args = [], execArgv = []) {
    this.#file = file;
    this.#child = fork(file, args, { execArgv });
    running.add(this.#child);
    this.#child.on('message', ({ answer }) => {
      const waiting = this.#waiting.shift();
      if (waiting) {
        waiting.resolve(answer);
      } else {
        this.#answers.push(answer);
      }
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
  async ask(task) {
    const { promise: late, timer } = deadline(() => `${this.#file} has not done ${JSON.stringify(task)}`);
    this.#child.send(typeof task === 'string' ? { task } : task);
    try {
      return await Promise.race([this.answer(), late]);
    } finally {
      clearTimeout(timer);
    }
  }

  answer() {
    if (this.#answers.length > 0) {
      return Promise.resolve(this.#answers.shift());
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
    });
  }

  async end() {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) {
      return;
    }
    const ended = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.kill('SIGKILL');
    await ended;
  }
}

/** A promise that rejects after the longest that anything takes. */
function deadline(say) {
  let timer;
  const promise = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(say())), DEADLINE_MS);
  });
  return { promise, timer };
}
