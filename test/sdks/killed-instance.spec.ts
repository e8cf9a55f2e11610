import { afterAll, afterEach, beforeAll, expect, it, jest } from '@jest/globals';
import { Chat } from '@ai-sdk/react';
import type { UIMessage } from 'ai';
import { RunHttpAgent } from 'nestjs-event-stream/ag-ui';
import { RunChatTransport } from 'nestjs-event-stream/ai-sdk';
import { redis } from 'nestjs-event-stream/redis';
import { waitFor } from 'nestjs-event-stream/testing';
import { AppProcess, endProcesses } from '../support/apps/app-process.js';
import { baseOf, closeAll } from '../support/apps/platforms.js';
import { FaultProxy } from '../support/faults/fault-proxy.js';
import { Gate } from '../support/gate.js';
import { startRedis } from '../support/servers/redis-server.js';
import type { RedisServer } from '../support/servers/redis-server.js';
import { agentAnswer, chatAnswer, textOf } from './answers.js';
import { createChatApp } from './chat-app.js';

// A process of its own takes long to start where the machine is busy.
jest.setTimeout(90_000);

const PIECES = textOf(7);
const HALF = PIECES.slice(0, 50).join('');
const QUESTION: UIMessage = { id: 'q', role: 'user', parts: [{ type: 'text', text: 'Why?' }] };

let server: RedisServer;
let proxy: FaultProxy | undefined;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.stop());
afterEach(async () => {
  await proxy?.stop();
  await closeAll();
  await endProcesses();
});

it('gives useChat and AG-UI each character once though the instance that serves them is killed', async () => {
  const gate = new Gate();
  const log = `log-${Math.random()}`;
  const pause = { after: 50, gate };
  const context = await createChatApp(
    ({ body }, protocol) =>
      protocol === 'chat' ? chatAnswer(PIECES, 'a', pause) : agentAnswer(PIECES, 'a', body, pause),
    { log: redis({ url: server.url, log }) },
  );
  const other = await AppProcess.start(new URL('chat-instance.ts', import.meta.url), server.url, log);
  const here = Number(new URL(baseOf(context.app)).port);
  const network = (proxy = await FaultProxy.start(here));
  const base = `http://127.0.0.1:${network.port}`;
  const retry = { minMs: 1 };
  const openPage = () => {
    const transport = new RunChatTransport({ api: `${base}/chat`, retry });
    const chat = new Chat<UIMessage>({ id: 'chat 1', transport, messages: [QUESTION] });
    const agent = new RunHttpAgent({ url: `${base}/agent`, threadId: 'thread 1', retry });
    return {
      transport,
      chat,
      agent,
      texts: () => [
        chat.messages[1]?.parts.map((part) => (part.type === 'text' ? part.text : '')).join(''),
        agent.messages[0]?.content,
      ],
    };
  };
  // Both answers are made here, and read from the other.
  const before = openPage();
  const asking = [before.chat.sendMessage(), before.agent.runAgent()];
  await waitFor(() => context.controller.asked.length === 2);
  before.transport.leave();
  await before.agent.detachActiveRun();
  await Promise.all(asking);
  network.targetPort = Number(new URL(other.base).port);
  const page = openPage();
  const reading = [page.chat.resumeStream(), page.agent.connectAgent()];
  await waitFor(() => page.texts().every((text) => text === HALF), { timeoutMs: 15_000 });

  await other.end();
  network.targetPort = here;
  gate.open();
  await Promise.all(reading);
  expect(page.texts()).toEqual([PIECES.join(''), PIECES.join('')]);
  expect(page.chat.status).toBe('ready');
  expect(context.controller.asked).toHaveLength(2);
});
