import { describe, expect, it } from '@jest/globals';
import { FollowedLog, LogKnowledge, RecordCheck } from '../index.js';
import { NO_APP } from '../../log/index.js';
import type { PostgresConnection, PostgresRow } from './connections.js';
import type { PostgresLink } from './link.js';
import type { Notifications } from './notifications.js';
import { PostgresReader } from './reader.js';

/** A server by hand, with the head of each log at sequence 1, and the connections that were opened to it. */
class ScriptedPostgres {
  opened = 0;
  current: PostgresConnection | undefined;
  readonly reader: PostgresReader;

  constructor() {
    const link = {
      connection: async () => {
        await new Promise(setImmediate);
        return (this.current ??= this.#open());
      },
      drop: () => (this.current = undefined),
      close: () => undefined,
      pause: () => new Promise(setImmediate),
      rowsOn: (_connection: PostgresConnection, _name: string, [places]: [string]) =>
        Promise.resolve((JSON.parse(places) as unknown[]).map((_place, index) => headRow(index))),
    };
    Object.defineProperty(link, 'current', { get: () => this.current });
    this.reader = new PostgresReader(link as unknown as PostgresLink, {
      listener: { onReading: () => undefined, onFailure: () => undefined },
      knowledge: new LogKnowledge(),
      notifications: { listen: () => Promise.resolve(false) } as unknown as Notifications,
      pollMs: 1,
      look: () => Promise.reject(new Error('no log of the app')),
      replaceEpoch: () => Promise.reject(new Error('no log of the app')),
    });
  }

  #open(): PostgresConnection {
    this.opened += 1;
    return { number: this.opened } as unknown as PostgresConnection;
  }
}

function headRow(index: number): PostgresRow {
  const head = JSON.stringify(['e1', '1', '0000000a', '', '0000000a']);
  return { n: String(index + 1), head };
}

describe('the reader of the logs on PostgreSQL', () => {
  it('resets a log that lacks what was acknowledged, also if it follows more than one request can ask for', async () => {
    const postgres = new ScriptedPostgres();
    const { reader } = postgres;
    const rules = { check: new RecordCheck('PostgreSQL', NO_APP), maxEventBytes: 1_000, key: 'log' };
    const head = { epoch: 'e1', sequence: 1, nonce: '0000000a' };
    const resets: string[] = [];
    for (let n = 1; n <= 501; n += 1) {
      const log = new FollowedLog({ id: String(n), name: `run-${n}` }, true, { head, rules });
      log.listeners
        .add({
          onRecords: () => undefined,
          onReset: (_head, reason) => void resets.push(`${n} ${reason}`),
        })
        .begin(1);
      if (n === 501) {
        log.acknowledge({ epoch: 'e1', sequence: 2, nonce: '0000000b' });
      }
      reader.add(log);
    }
    while (resets.length === 0 && postgres.opened < 4) {
      await new Promise(setImmediate);
    }
    reader.close();
    expect([resets, postgres.opened]).toEqual([['501 regressed'], 1]);
  });
});
