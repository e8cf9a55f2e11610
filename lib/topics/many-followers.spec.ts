import { EventEmitter } from 'node:events';
import { Agent, get } from 'node:http';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { waitFor } from 'nestjs-event-stream/testing';
import {
  CONNECTION_SETTINGS,
  createRegistry,
  SILENT,
  StreamServer,
  TOPIC_SETTINGS,
} from '../../test/support/apps/stream-server.js';
import { ConnectionRegistry } from '../connection/index.js';
import { toPlatform } from '../http/index.js';
import type { RawResponse } from '../http/index.js';
import { memory } from '../engines/memory/index.js';
import { Topics } from './topics.js';

const FOLLOWERS = 50_000;
/** What lib/README.md says. */
const WRITES_PER_TURN = 500;

/** To all responses. */
let writes = 0;

/** A response that counts, and costs less than a socket. */
class CountingResponse extends EventEmitter implements RawResponse {
  readonly req = Object.assign(new EventEmitter(), { method: 'GET', url: '/', headers: {}, socket: null });
  readonly socket = null;
  readonly writableLength = 0;
  headersSent = false;
  writableEnded = false;
  statusCode = 200;
  written = '';
  getHeader(): undefined {}
  setHeader(): void {}
  removeHeader(): void {}
  writeHead(): void {
    this.headersSent = true;
  }
  write(chunk: Buffer): boolean {
    writes += 1;
    this.written += chunk.toString();
    return true;
  }
  end(): void {
    this.writableEnded = true;
    this.emit('close');
  }
  destroy(): void {
    this.emit('close');
  }
}

describe('topics with 50,000 followers', () => {
  let topics: Topics;
  let registry: ConnectionRegistry;
  let server: StreamServer;
  let responses: CountingResponse[];
  const agent = new Agent({ keepAlive: true });

  beforeEach(async () => {
    topics = new Topics(memory()(), { ...TOPIC_SETTINGS, ringEvents: 40 }, SILENT);
    await topics.start();
    registry = createRegistry({
      drain: { delayMs: 0, timeoutMs: 10_000, spreadMs: 0 },
      following: topics,
    });
    responses = Array.from({ length: FOLLOWERS }, () => new CountingResponse());
    for (const response of responses) {
      const connection = registry.admit({
        platform: toPlatform(response),
        settings: CONNECTION_SETTINGS,
        finite: false,
      });
      connection.commit();
      connection.forApp.follow('a.*');
    }
    await waitFor(() => responses.every(({ written }) => written.includes('cursor')), { timeoutMs: 25_000 });
    server = await StreamServer.listen((_req, res) => res.end(String(writes)));
  });

  afterEach(async () => {
    agent.destroy();
    await server.close();
    await registry.drain(() => topics.drain());
    expect([registry.size, topics.followers, registry.wheel.size]).toEqual([0, 0, 0]);
    await topics.close();
  });

  /** Asks over the network how many writes there were when the request was served. */
  const ask = async (): Promise<number> => {
    const url = `${server.url}/`;
    return new Promise((resolve, reject) => {
      get(url, { agent }, (answer) => void text(answer).then(Number).then(resolve, reject)).on(
        'error',
        reject,
      );
    });
  };

  /** The writes of each turn of the event loop until a condition holds, and what requests saw meanwhile. */
  const watch = async (isOver: () => boolean) => {
    const turns: number[] = [];
    const asked: number[] = [];
    let before = writes;
    const asking = (async () => {
      while (!isOver()) {
        asked.push(await ask());
      }
    })();
    await new Promise<void>((resolve) => {
      const turn = (): void => {
        turns.push(writes - before);
        before = writes;
        if (isOver()) {
          resolve();
        } else {
          setImmediate(turn);
        }
      };
      setImmediate(turn);
    });
    await asking;
    return { turns, asked };
  };

  it.each([
    ['an event alone in its turn', 1],
    ['ten of one turn, joined,', 10],
  ])('writes %s in slices, and serves requests in between', async (_what, events) => {
    const start = writes;
    const end = start + FOLLOWERS;
    await Promise.all(Array.from({ length: events }, (_, n) => topics.publish(`a.${n}`, n)));
    const { turns, asked } = await watch(() => writes >= end);

    expect(writes).toBe(end);
    expect(Math.max(...turns)).toBeLessThanOrEqual(WRITES_PER_TURN);
    expect(turns.filter((count) => count > 0).length).toBeGreaterThanOrEqual(FOLLOWERS / WRITES_PER_TURN);
    expect(asked.filter((count) => count > start && count < end).length).toBeGreaterThan(5);
    const data = Array.from({ length: events }, (_, n) => `data: ${n}`);
    expect(responses.every(({ written }) => data.every((line) => written.includes(line)))).toBe(true);
  });

  it('tells quiet clients their place in slices as well', async () => {
    const start = writes;
    for (let n = 0; n < 40; n += 1) {
      await topics.publish('other', n);
    }
    const { turns } = await watch(() => writes >= start + FOLLOWERS);

    expect(Math.max(...turns)).toBeLessThanOrEqual(WRITES_PER_TURN);
    expect(responses.every(({ written }) => written.match(/cursor/g)!.length === 2)).toBe(true);
  });
});
