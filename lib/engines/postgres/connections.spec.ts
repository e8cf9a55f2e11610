import { EventEmitter } from 'node:events';
import { describe, expect, it } from '@jest/globals';
import { connectionsOf } from './connections.js';
import type { PostgresConnection } from './connections.js';

interface Statement {
  readonly text: string;
  resolve(result: { rows: object[] }): void;
  reject(error: Error): void;
}

/** A client of `pg` whose statements the test answers. */
class ScriptedClient extends EventEmitter {
  static readonly sent: Statement[] = [];

  connect(): Promise<void> {
    return Promise.resolve();
  }

  query({ text }: { text: string }): Promise<{ rows: object[] }> {
    return new Promise((resolve, reject) => ScriptedClient.sent.push({ text, resolve, reject }));
  }

  end(): Promise<void> {
    return Promise.resolve();
  }
}

async function open(): Promise<{ connection: PostgresConnection; sent: Statement[] }> {
  ScriptedClient.sent.length = 0;
  const pool = { Client: ScriptedClient, options: {}, query: () => Promise.resolve([]) };
  const connection = await connectionsOf(pool)(new AbortController().signal);
  return { connection, sent: ScriptedClient.sent };
}

describe('a connection of pg', () => {
  // Version 8 warns of a third one and puts it into a queue of its own. Version 9 will refuse a second one.
  it('sends a statement when the one before it is answered, or has failed', async () => {
    const { connection, sent } = await open();
    const answers = ['a', 'b', 'c'].map((text) => connection.query(text));
    const settled = Promise.allSettled(answers);
    await Promise.resolve();
    expect(sent.map(({ text }) => text)).toEqual(['a']);

    sent[0]!.resolve({ rows: [{ n: '1' }] });
    expect(await answers[0]).toEqual([{ n: '1' }]);
    expect(sent.map(({ text }) => text)).toEqual(['a', 'b']);

    sent[1]!.reject(new Error('refused'));
    await expect(answers[1]).rejects.toThrow('refused');
    expect(sent.map(({ text }) => text)).toEqual(['a', 'b', 'c']);

    sent[2]!.resolve({ rows: [] });
    expect((await settled).map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
  });
});
