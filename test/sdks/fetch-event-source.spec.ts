import type { Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { RunSource } from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';
import { oracles } from '../e2e/clients/oracles.js';
import type { Subscription } from '../e2e/clients/oracles.js';
import { FaultProxy } from '../support/faults/fault-proxy.js';
import { closeAll, platforms } from '../support/apps/platforms.js';
import { createAnswerApp, RUN } from './answer-app.js';
import type { AnswerOptions } from './answer-app.js';

const client = oracles.find(({ name }) => name === '@microsoft/fetch-event-source')!;
const WORDS = Array.from({ length: 6 }, (_, index) => `word ${index}`);

describe.each(platforms.filter(({ http2 }) => !http2))(
  '@microsoft/fetch-event-source, asking for a run on $name',
  (platform) => {
    let proxy: FaultProxy;
    const subscriptions = new Set<Subscription>();

    beforeEach(async () => {
      proxy = await FaultProxy.start(0);
    });
    afterEach(async () => {
      subscriptions.forEach((subscription) => subscription.close());
      subscriptions.clear();
      await proxy.stop();
      await closeAll();
    });

    /** The answer says a word when it is told to. */
    async function startApp(options: AnswerOptions = {}) {
      let said = 0;
      let words = 0;
      let calls = 0;
      const source: RunSource = async function* ({ signal }) {
        calls += 1;
        while (said < WORDS.length) {
          await waitFor(() => words > said || signal.aborted, { timeoutMs: 15_000 });
          if (signal.aborted) {
            return;
          }
          yield WORDS[(said += 1) - 1];
        }
      };
      const context = await createAnswerApp(
        platform,
        source,
        { format: 'json', run: {}, ...options },
        { retryMs: 20 },
      );
      const server = context.app.getHttpServer() as Server;
      proxy.targetPort = (server.address() as AddressInfo).port;
      const sockets: Socket[] = [];
      server.on('connection', (socket: Socket) => sockets.push(socket));
      return {
        ...context,
        say: (count: number) => (words += count),
        calls: () => calls,
        bytesWritten: () => sockets.reduce((sum, socket) => sum + socket.bytesWritten, 0),
        subscribe() {
          const subscription = client.subscribe(`http://127.0.0.1:${proxy.port}/answer/json`, [], {
            method: 'POST',
            body: '{}',
          });
          subscriptions.add(subscription);
          return subscription;
        },
      };
    }

    const wordsOf = ({ messages }: Subscription) =>
      messages.filter(({ type }) => type === 'message').map(({ data }) => JSON.parse(data) as string);
    const has = (subscription: Subscription, count: number) =>
      waitFor(() => wordsOf(subscription).length >= count, { timeoutMs: 15_000 });
    const hasStopped = (subscription: Subscription) =>
      waitFor(() => subscription.hasStopped(), { timeoutMs: 15_000 });

    it('gets the whole answer, over heartbeats, and does not come back', async () => {
      const { subscribe, say, end, bytesWritten } = await startApp({ connection: { heartbeatMs: 10 } });
      const subscription = subscribe();
      for (const count of WORDS.keys()) {
        say(1);
        await has(subscription, count + 1);
        const before = bytesWritten();
        // The last word ends the answer.
        if (count + 1 < WORDS.length) {
          await waitFor(() => bytesWritten() > before);
        }
      }
      await hasStopped(subscription);

      expect(wordsOf(subscription)).toEqual(WORDS);
      expect(subscription.messages.at(-1)).toMatchObject({ type: 'done', data: 'null' });
      expect(subscription.messages).toHaveLength(WORDS.length + 1);
      expect(await end()).toMatchObject({ reason: 'done' });
      expect(proxy.connectionsEver).toBe(1);
    });

    it('comes back for the rest where its connection breaks', async () => {
      const { subscribe, say, calls } = await startApp();
      const subscription = subscribe();
      for (const count of [2, 4]) {
        say(2);
        await has(subscription, count);
        proxy.drop();
        await waitFor(() => proxy.connectionsEver > count / 2, { timeoutMs: 15_000 });
      }
      say(2);
      await hasStopped(subscription);

      expect(wordsOf(subscription)).toEqual(WORDS);
      expect(subscription.messages.at(-1)).toMatchObject({ type: 'done' });
      expect(calls()).toBe(1);
    });

    it('gets the rest also where the answer has ended meanwhile', async () => {
      const { subscribe, say, calls, end } = await startApp();
      const subscription = subscribe();
      say(2);
      await has(subscription, 2);
      proxy.refuse();
      proxy.drop();
      say(4);
      await end();
      await proxy.accept();
      await hasStopped(subscription);

      expect(wordsOf(subscription)).toEqual(WORDS);
      expect(subscription.messages.at(-1)).toMatchObject({ type: 'done' });
      expect(calls()).toBe(1);
    });

    it('gets it from the beginning on a new page', async () => {
      const { subscribe, say, sse, calls } = await startApp();
      const before = subscribe();
      say(3);
      await has(before, 3);
      before.close();
      await waitFor(() => sse.connections.size === 0);
      const after = subscribe();
      await has(after, 3);
      say(3);
      await hasStopped(after);

      expect(wordsOf(after)).toEqual(WORDS);
      expect(calls()).toBe(1);
    });

    it('is told that the answer was stopped, and stays away', async () => {
      const { subscribe, say, sse, end, nothingLeft } = await startApp();
      const subscription = subscribe();
      say(1);
      await has(subscription, 1);

      expect(await sse.runs.stop(RUN)).toBe(true);
      await hasStopped(subscription);

      expect(subscription.messages.at(-1)).toMatchObject({
        type: 'error',
        data: expect.stringContaining('stopped'),
      });
      expect(await end()).toMatchObject({ reason: 'stop', events: 1 });
      expect(proxy.connectionsEver).toBe(1);
      await nothingLeft();
    });
  },
);
