import { randomBytes } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import { CONNECTION_SETTINGS, createRegistry } from '../../test/support/apps/stream-server.js';
import { ScriptedResponse, turns } from '../../test/support/clients/twin-responses.js';
import { toPlatform } from '../http/index.js';
import type { Compression } from './response-host.js';

const MAX_BUFFERED_BYTES = 20_000;
const MAX_EVENT_BYTES = 200_000;

/** A response that says how many bytes wait while its client does not read. */
class WaitingResponse extends ScriptedResponse {
  override get writableLength(): number {
    return this.reads ? 0 : this.bytes.length;
  }
}

const openStream = (compression: Compression) => {
  const response = new WaitingResponse({ 'accept-encoding': 'gzip' });
  const connection = createRegistry().admit({
    platform: toPlatform(response),
    settings: {
      ...CONNECTION_SETTINGS,
      compression,
      maxBufferedBytes: MAX_BUFFERED_BYTES,
      maxEventBytes: MAX_EVENT_BYTES,
    },
    finite: false,
  });
  connection.commit();
  return { response, connection };
};

/** What other code does to a response. */
interface Writable {
  write(...args: unknown[]): boolean;
  end(...args: unknown[]): unknown;
}

describe('a compressed response', () => {
  // Base64 is deflated to three quarters, so the noise does not matter.
  const event = () => randomBytes(1_500).toString('base64');

  it.each([
    [false, 9],
    ['events', 12],
  ] as const)(
    'counts what waits as it will leave: with %s, at least %i events fit',
    async (compression, least) => {
      const { response, connection } = openStream(compression);
      response.reads = false;
      connection.send('the socket is full');
      let sent = 0;
      for (; !connection.isClosed; sent += 1) {
        await turns(1);
        connection.send(event());
      }
      expect(await connection.closed).toBe('slow');
      expect(sent).toBeGreaterThan(least);
      expect(sent).toBeLessThan(least + 3);
      expect(response.bytes.length).toBeLessThanOrEqual(MAX_BUFFERED_BYTES);
    },
  );

  it('takes an event that is over the bound before compression alone', async () => {
    const outcomes: boolean[] = [];
    for (const compression of ['events', false] as const) {
      const { response, connection } = openStream(compression);
      response.reads = false;
      connection.send('the socket is full');
      await turns(1);
      connection.send('long '.repeat(MAX_BUFFERED_BYTES));
      outcomes.push(connection.isClosed);
      response.destroy();
    }
    expect(outcomes).toEqual([false, true]);
  });

  it('refuses an event by its bytes before compression', () => {
    const { response, connection } = openStream('events');
    expect(connection.send('a'.repeat(MAX_EVENT_BYTES))).toBe(false);
    expect(connection.send('a'.repeat(MAX_EVENT_BYTES / 2))).toBe(true);
    expect(response.text).toBe(`retry: 3000\ndata: ${'a'.repeat(MAX_EVENT_BYTES / 2)}\n\n`);
  });

  it("has what other code writes, such as Nest's line feed and its probe of a socket that is not read", async () => {
    const { response, connection } = openStream('events');
    const other = response as unknown as Writable;
    connection.send(1);
    expect(other.write('\n')).toBe(true);
    await new Promise((resolve) => void other.write(': \n\n', 'utf8', resolve));
    expect(other.write(Buffer.from(': bytes\n'))).toBe(true);
    expect(other.write('3a20c3a90a', 'hex')).toBe(true);
    connection.send(2);
    response.reads = false;
    expect(other.write(': full\n')).toBe(false);
    other.end(': the last\n');
    expect(response.text).toBe(
      'retry: 3000\ndata: 1\n\n\n: \n\n: bytes\n: é\ndata: 2\n\n: full\n: the last\n',
    );
    expect(response.writableEnded).toBe(true);
  });
});
