import { setTimeout as pause } from 'node:timers/promises';
import { postgresSchema } from 'nestjs-event-stream/postgres';
import { FaultProxy } from '../../support/faults/fault-proxy.js';
import { startPostgres } from '../../support/servers/postgres-server.js';
import type { PostgresServer } from '../../support/servers/postgres-server.js';
import type { Engine } from '../engine.js';
import { LEASE_MS, wayFaults } from './faults.js';
import type { RunsFault } from './faults.js';
import type { RunsGround } from './ground.js';
import { PostgresRunRecorder, WRITES_DOWN } from './postgres-run-recorder.js';

/** One PostgreSQL, with a network that fails before each instance. */
export class PostgresRuns implements RunsGround {
  readonly recorder: PostgresRunRecorder;
  readonly ways: readonly FaultProxy[];
  readonly isSlowToReturn = true;
  readonly #server: PostgresServer;

  private constructor(server: PostgresServer, ways: readonly FaultProxy[]) {
    this.#server = server;
    this.ways = ways;
    this.recorder = new PostgresRunRecorder(server);
  }

  static async start(instances: number): Promise<PostgresRuns> {
    const server = await startPostgres();
    await server.query(postgresSchema());
    await server.query(WRITES_DOWN);
    const ways = Array.from({ length: instances }, () => FaultProxy.start(server.port));
    return new PostgresRuns(server, await Promise.all(ways));
  }

  engineOf(slot: number): Engine {
    return { kind: 'postgres', port: this.ways[slot]!.port };
  }

  async stop(): Promise<void> {
    await Promise.all(this.ways.map((way) => way.stop()));
    await this.#server.stop();
  }

  get logFaults(): Readonly<Record<string, RunsFault>> {
    return { ...wayFaults(this.ways), ...this.#serverFaults };
  }

  readonly #serverFaults: Readonly<Record<string, RunsFault>> = {
    'PostgreSQL is killed, and has kept all': async (_stage, random) => {
      await this.#server.kill();
      await pause(random.between(50, 300));
      await this.#server.restart();
    },
    'all connections are killed': () => this.#server.endConnections(),
    'PostgreSQL stands still for longer than leases': async (_stage, random) => {
      await this.#server.pause();
      await pause(random.between(1.3 * LEASE_MS, 2.5 * LEASE_MS));
      this.#server.resume();
    },
  };
}
