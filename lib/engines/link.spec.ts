import { describe, expect, it } from '@jest/globals';
import { EngineLink } from './link.js';

class Connection {
  isDestroyed = false;

  destroy(): void {
    this.isDestroyed = true;
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
      expect(connection.isDestroyed).toBe(true);
      expect(link.current).toBeUndefined();
    },
  );
});
