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

  /**
   * @param options.stall whether they stop to read once the stream has begun
   * @param options.lastEventId what they bring back
   */
  static async open({ port, contestant, layout, count, stall = false, lastEventId }) {
    const processes = [];
    const followers = new Followers(processes, count);
    for (let first = 0; first < count; first += SOCKETS_PER_PROCESS) {
      processes.push(await startCountingClients());
    }
    await Promise.all(
      processes.map((clients, n) => {
        const first = n * SOCKETS_PER_PROCESS;
        return clients.ask({
          task: 'open',
          port,
          path: contestant.path,
          topics: contestant.listsTopics ? layout : undefined,
          first,
          count: Math.min(SOCKETS_PER_PROCESS, count - first),
          stall,
          lastEventId,
        });
      }),
    );
    return followers;
  }

  /**
   * Waits until every client has had `each` events since the last time, or all together `total`: none less, none more.
   */
  async reached({ each, total }) {
    const answers = await Promise.all(
      this.#processes.map((clients, n) => {
        const part = Math.min(SOCKETS_PER_PROCESS, this.#count - n * SOCKETS_PER_PROCESS);
        return clients.ask({ task: 'reached', events: total ?? each * part, each });
      }),
    );
    for (const { wrong } of answers) {
      if (wrong) throw new Error(`Client ${wrong.client} has had ${wrong.count} events, not ${each}.`);
    }
  }

  /** CPU time of the clients, in microseconds. */
  async cpu() {
    const each = await this.all('cpu');
    return each.reduce((sum, cpu) => sum + cpu, 0);
  }

  /** Has every process do something. */
  all(task) {
    return Promise.all(this.#processes.map((clients) => clients.ask(task)));
  }

  get processes() {
    return this.#processes.length;
  }

  async end() {
    await Promise.all(this.#processes.map((clients) => clients.end()));
  }
}
