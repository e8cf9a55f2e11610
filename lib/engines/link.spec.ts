import { describe, expect, it } from '@jest/globals';
import { EngineLink } from './link.js';

class Connection {
  destroyed = 0;

  destroy(): void {
    this.destroyed += 1;
  }
}

class Failure extends Error {
  readonly isOfConnection = true;
}

class Link extends EngineLink<Connection, Failure> {
  protected override failure(message: string): Failure {
    return new Failure(message);
  }

  protected override failureOf(error: unknown): Failure {
    return error instanceof Failure ? error : new Failure(String(error));
  }

  request(connection: Connection, send: () => Promise<unknown>): Promise<unknown> {
    return this.answerOn(connection, send, 'No answer', 60_000).catch((error: Error) => error.message);
  }
}

describe('a link that is closed while it connects', () => {
  it.each(Array.from({ length: 12 }, (_, turns) => turns))(
    'leaves no connection open, %i microtasks after the connection has opened',
    async (turns) => {
      const connection = new Connection();
      let hasOpened: () => void = () => undefined;
      const opening = new Promise<Connection>((resolve) => {
        hasOpened = () => resolve(connection);
      });
      const link = new Link('Engine', () => opening, 60_000);
      const connecting = link.connection().catch((error: Error) => error);
      await Promise.resolve();
      hasOpened();
      for (let turn = 0; turn < turns; turn += 1) {
        await Promise.resolve();
      }
      link.close();
      await connecting;
      expect(connection.destroyed).toBe(1);
      expect(link.current).toBeUndefined();
    },
  );
});

describe('a connection on which many requests are pending', () => {
  it('is destroyed once if it fails, and leaves the next one alone', async () => {
    const connections: Connection[] = [];
    const open = () => Promise.resolve(connections[connections.push(new Connection()) - 1]!);
    const link = new Link('Engine', open, 60_000);
    const connection = await link.connection();
    let lose: (error: Error) => void = () => undefined;
    const lost = new Promise((_resolve, reject) => (lose = reject));

    const requests = Array.from({ length: 20 }, () => link.request(connection, () => lost));
    lose(new Error('lost'));
    await Promise.all(requests);
    await link.connection();
    await link.request(connection, () => Promise.reject(new Error('late')));

    expect(connections.map(({ destroyed }) => destroyed)).toEqual([1, 0]);
    link.close();
  });
});
