import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import type { NatsConnection } from '@nats-io/transport-node';
import { FaultProxy } from '../../support/faults/fault-proxy.js';
import { startNats } from '../../support/servers/nats-server.js';
import type { NatsServer } from '../../support/servers/nats-server.js';
import type { Engine } from '../engine.js';
import { ifCopies, LEASE_MS, wayFaults } from './faults.js';
import type { RunsFault } from './faults.js';
import type { RunsGround } from './ground.js';
import { NatsRunRecorder } from './nats-run-recorder.js';

const LOGS = 'sse-topics-logs';
const FOREIGN_TIMES = 10;
const ON_ITS_WAY_MS = 200;

/** One NATS server, with a network that fails before each instance. */
export class NatsRuns implements RunsGround {
  readonly recorder: NatsRunRecorder;
  readonly ways: readonly FaultProxy[];
  readonly #server: NatsServer;
  readonly #folder: string;

  private constructor(server: NatsServer, folder: string, ways: readonly FaultProxy[]) {
    this.#server = server;
    this.#folder = folder;
    this.ways = ways;
    this.recorder = new NatsRunRecorder(server.port);
  }

  static async start(instances: number): Promise<NatsRuns> {
    const folder = await mkdtemp(join(tmpdir(), 'nats-runs-chaos-'));
    const server = await startNats({ arguments: ['-sd', join(folder, 'files')] });
    const ways = Array.from({ length: instances }, () => FaultProxy.start(server.port));
    return new NatsRuns(server, folder, await Promise.all(ways));
  }

  engineOf(slot: number): Engine {
    return { kind: 'nats', ports: [this.ways[slot]!.port], replicas: 1, maxEvents: 10_000 };
  }

  async stop(): Promise<void> {
    await this.recorder.stop();
    await Promise.all(this.ways.map((way) => way.stop()));
    await this.#server.stop();
    await rm(this.#folder, { recursive: true, force: true });
  }

  get logFaults(): Readonly<Record<string, RunsFault>> {
    return { ...wayFaults(this.ways), ...this.#serverFaults, ...ifCopies(this.#copyFaults) };
  }

  readonly #serverFaults: Readonly<Record<string, RunsFault>> = {
    'NATS stands still for longer than leases': async (_stage, random) => {
      this.#server.pause();
      await pause(random.between(1.3 * LEASE_MS, 2.5 * LEASE_MS));
      this.#server.resume();
    },
    'consumers are deleted': () =>
      this.#onConnection(async (connection) => {
        const { consumers } = await jetstreamManager(connection);
        for await (const { name } of consumers.list(LOGS)) {
          // Those of instances: what writes down what happens has others.
          if (name.startsWith('sse-')) {
            await consumers.delete(LOGS, name).catch(() => undefined);
          }
        }
      }),
    'another program publishes to the subjects of runs': (_stage, random) =>
      this.#onConnection(async (connection) => {
        const { streams } = await jetstreamManager(connection);
        for (let times = 0; times < FOREIGN_TIMES; times += 1) {
          const { state } = await streams.info(LOGS, { subjects_filter: 'sse.topics.logs.*' });
          const subjects = Object.keys(state.subjects ?? {});
          const payload = random.pick(['', '{"forged":', '5 item 00000001 1 j\nhello']);
          if (subjects.length > 0) {
            await connection.request(random.pick(subjects), payload);
          }
          await pause(random.between(5, 50));
        }
      }),
  };

  readonly #copyFaults: Readonly<Record<string, RunsFault>> = {
    'old files come back': async (_stage, random) => {
      const [files, copy] = [join(this.#folder, 'files'), join(this.#folder, 'copy')];
      await this.#whileEnded(async () => {
        this.recorder.copy();
        await cp(files, copy, { recursive: true });
      });
      await pause(random.between(100, 2_500));
      await this.#whileEnded(async () => {
        this.recorder.goBack();
        await rm(files, { recursive: true });
        await cp(copy, files, { recursive: true });
        await rm(copy, { recursive: true });
      });
    },
  };

  /** Ends the server, once all that it has is written down, and starts it again. */
  async #whileEnded(act: () => Promise<void>): Promise<void> {
    this.ways.forEach((way) => way.refuse());
    this.ways.forEach((way) => way.drop());
    // What was on its way is there, or is not.
    await pause(ON_ITS_WAY_MS);
    await this.recorder.look();
    this.recorder.leave();
    await this.#server.end();
    await act();
    await this.#server.restart();
    await this.recorder.comeBack();
    await Promise.all(this.ways.map((way) => way.accept()));
  }

  async #onConnection(use: (connection: NatsConnection) => Promise<void>): Promise<void> {
    const connection = await connect({ servers: `127.0.0.1:${this.#server.port}` });
    try {
      await use(connection);
    } finally {
      await connection.close();
    }
  }
}
