import { setTimeout as pause } from 'node:timers/promises';
import { FaultProxy } from '../support/faults/fault-proxy.js';
import type { Random } from '../support/random.js';
import { startPostgres } from '../support/servers/postgres-server.js';
import type { PostgresServer } from '../support/servers/postgres-server.js';
import type { Engine } from './engine.js';
import { AWAY } from './ground.js';
import type { Fault, Ground, Stage } from './ground.js';
import { INSTANCE_FAULTS } from './instance-faults.js';
import { connectionsLeft, loseAnswer, networkFaults } from './network-faults.js';
import { INSTANCES } from './topics/chaos.js';
import { PostgresRecorder } from './topics/postgres-recorder.js';

const CONNECTIONS_OF_INSTANCE = 2;
const FOREIGN_TIMES = 5;
const LOG = "log = 'topics' and name = ''";
const LOG_ID = `(select id from sse.logs where ${LOG})`;
/** An event that another program puts after the head. */
const FOREIGN_EVENT = `
  insert into sse.events (log_id, sequence, "time", kind, nonce, previous, topic, data)
  select id, sequence + 1, 1, 1, 'ffffffff', nonce, 'a b', 'no JSON' from sse.logs where ${LOG}`;
const FOREIGN_HEAD = `update sse.logs set sequence = sequence + 1, nonce = 'ffffffff' where ${LOG}`;

/** One PostgreSQL, with a network that fails before each instance. */
export class SinglePostgres implements Ground {
  readonly recorder: PostgresRecorder;
  readonly #proxies: readonly FaultProxy[];
  readonly #isLong: boolean;
  #server: PostgresServer;

  private constructor(server: PostgresServer, proxies: readonly FaultProxy[], isLong: boolean) {
    this.#server = server;
    this.#proxies = proxies;
    this.#isLong = isLong;
    this.recorder = new PostgresRecorder(server);
  }

  /** @param options.isLong - whether all happens that can: also what takes long, or is alike on all engines */
  static async start({ isLong }: { isLong: boolean }): Promise<SinglePostgres> {
    const server = await startPostgres();
    const proxies = Array.from({ length: INSTANCES }, () => FaultProxy.start(server.port));
    return new SinglePostgres(server, await Promise.all(proxies), isLong);
  }

  engineOf(slot: number): Engine {
    return { kind: 'postgres', port: this.#proxies[slot]!.port };
  }

  get faults(): Readonly<Record<string, Fault>> {
    const all = {
      ...INSTANCE_FAULTS,
      ...this.#faults,
      ...this.#longFaults,
      ...networkFaults(() => this.#proxies),
    };
    return this.#isLong ? all : this.#faults;
  }

  leftovers(instances: number): Promise<string[]> {
    return connectionsLeft(this.#proxies, instances > 0 ? CONNECTIONS_OF_INSTANCE : 0);
  }

  async stop(): Promise<void> {
    await this.recorder.stop();
    await Promise.all(this.#proxies.map((proxy) => proxy.stop()));
    await this.#server.stop();
  }

  readonly #faults: Readonly<Record<string, Fault>> = {
    'PostgreSQL is killed, and has kept all': async ({ random }) => {
      await this.#server.kill();
      await pause(random.between(0, 300));
      await this.#server.restart();
    },
    'all connections are killed': async ({ random }) => {
      for (let times = 0; times < 3; times += 1) {
        await this.#server.endConnections();
        await pause(random.between(10, 150));
      }
    },
    'an answer to an append is lost': async (stage) => {
      await loseAnswer(this.#proxyOf(stage), isAppend, 'cut');
    },
    'a backup is restored': (stage) => this.#restore(stage, { onNewTimeline: false }),
    'a standby is promoted that lacks the last events': async (stage) => {
      const link = await FaultProxy.start(this.#server.port);
      const standby = await startPostgres({ standbyOf: link.port });
      link.blackHole('both');
      await this.#lose(stage, async () => {
        await this.#server.stop();
        await link.stop();
        await standby.promote();
        this.#moveTo(standby);
      });
    },
    'all tables are truncated': () =>
      this.recorder.look(['truncate sse.logs, sse.events, sse.outbox, sse.commits, sse.leases, sse.claims']),
    'the last events are deleted, and the row is set back': async ({ random }) => {
      const count = random.between(1, 50);
      await this.recorder.look([
        `update sse.logs l set sequence = e.sequence, nonce = e.nonce from sse.events e
         where l.${LOG} and e.log_id = l.id and e.sequence = l.sequence - ${count}`,
        `delete from sse.events where log_id = ${LOG_ID} and
           sequence > (select sequence from sse.logs where ${LOG})`,
      ]);
    },
  };

  readonly #longFaults: Readonly<Record<string, Fault>> = {
    'PostgreSQL stands still for longer than a publish waits': async () => {
      await this.#server.pause();
      await pause(2_500);
      this.#server.resume();
    },
    'a backup is restored, on a timeline of its own': (stage) =>
      this.#restore(stage, { onNewTimeline: true }),
    'the database is copied to another server, which takes its place': async (stage) => {
      const other = await startPostgres();
      await other.copyDatabase(this.#server);
      await this.#lose(stage, async () => {
        await this.#server.stop();
        this.#moveTo(other);
      });
    },
    'an answer to an append is lost, and nothing more comes': async (stage) => {
      await loseAnswer(this.#proxyOf(stage), isAppend, 'black hole');
    },
    'the events are truncated': () => this.recorder.look(['truncate sse.events']),
    'the row of the log is deleted': () => this.recorder.look([`delete from sse.logs where ${LOG}`]),
    'the next event is gone before it is read': async () => {
      await this.recorder.look([
        `update sse.logs set sequence = sequence + 2, nonce = '00000007' where ${LOG}`,
      ]);
      await this.recorder.look();
    },
    'another program writes what cannot be an event': async ({ random }) => {
      for (let times = 0; times < FOREIGN_TIMES; times += 1) {
        await this.recorder.look([FOREIGN_EVENT, FOREIGN_HEAD]);
        await pause(random.between(5, 50));
      }
    },
    'another program writes past the head': () => this.recorder.look([FOREIGN_EVENT]),
  };

  async #restore(stage: Stage, how: { onNewTimeline: boolean }): Promise<void> {
    await this.#server.saveBackup();
    await this.#lose(stage, () => this.#server.restoreBackup(how));
  }

  /**
   * Has data go back to those that are kept elsewhere.
   *
   * @param goBack - has the kept data take the place of those that instances use
   */
  async #lose(stage: Stage, goBack: () => Promise<void>): Promise<void> {
    const lost = stage.random.between(1, 100);
    await stage.untilPublished('acknowledged', lost);
    const bringBack = stage.sendAway(AWAY);
    await this.recorder.lookLast();
    await goBack();
    // Others stand in the places of those that they had seen.
    await stage.burst(2 * lost);
    bringBack();
  }

  #moveTo(server: PostgresServer): void {
    this.#server = server;
    this.recorder.server = server;
    this.#proxies.forEach((proxy) => (proxy.targetPort = server.port));
  }

  #proxyOf({ random }: { random: Random }): FaultProxy {
    return random.pick(this.#proxies);
  }
}

const isAppend = (request: string) => request.includes('"sse".append(');
