/** The clients of one server: as many processes as their sockets need, asked as if they were one. */
import { startCountingClients } from '../processes.mjs';

const SOCKETS_PER_PROCESS = 10_000;

export class Followers {
  #processes;
  #count;

  constructor(processes, count) {
    this.#processes = processes;
    this.#count = count;
  }

  static async start(count) {
    const starting = Array.from({ length: Math.ceil(count / SOCKETS_PER_PROCESS) }, startCountingClients);
    return new Followers(await Promise.all(starting), count);
  }

  static async open({ count, ...options }) {
    const followers = await Followers.start(count);
    await followers.open(options);
    return followers;
  }

  /**
   * Opens their streams.
   *
   * @param options.client - what all of them call themselves; each has a number of its own by default
   * @param options.stall - whether they stop to read once the stream has begun
   * @param options.lastEventId - what they bring back
   */
  async open({ port, contestant, layout, client, stall = false, lastEventId }) {
    await this.#each((first, count) => ({
      task: 'open',
      port,
      path: contestant.path,
      topics: contestant.listsTopics ? layout : undefined,
      decodes: contestant.decodes,
      client,
      first,
      count,
      stall,
      lastEventId,
    }));
  }

  /**
   * Waits until every client has had `each` events since the last time, or all together `total`: none less, none more.
   */
  async reached({ each, total }) {
    const answers = await this.#each((_, count) => ({
      task: 'reached',
      events: total ?? each * count,
      each,
    }));
    for (const { wrong } of answers) {
      if (wrong) {
        throw new Error(`Client ${wrong.client} has had ${wrong.count} events, not ${each}.`);
      }
    }
  }

  /** CPU time of the clients, in microseconds. */
  async cpu() {
    const each = await this.all('cpu');
    return each.reduce((sum, cpu) => sum + cpu, 0);
  }

  /** Bytes that all of them have had, with what belongs to HTTP. */
  async bytes() {
    const each = await this.all('bytes');
    return each.reduce((sum, bytes) => sum + bytes, 0);
  }

  /** Has every process do something. */
  all(task) {
    return Promise.all(this.#processes.map((clients) => clients.ask(task)));
  }

  #each(taskOf) {
    return Promise.all(
      this.#processes.map((clients, n) => {
        const first = n * SOCKETS_PER_PROCESS;
        return clients.ask(taskOf(first, Math.min(SOCKETS_PER_PROCESS, this.#count - first)));
      }),
    );
  }

  get processes() {
    return this.#processes.length;
  }

  async end() {
    await Promise.all(this.#processes.map((clients) => clients.end()));
  }
}
