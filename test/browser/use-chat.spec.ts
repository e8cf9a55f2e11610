import 'reflect-metadata';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { Body, Controller, Delete, Get, Header, Module, Param, Post, Res } from '@nestjs/common';
import type { INestApplication } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import type { UIMessageChunk } from 'ai';
import { build } from 'esbuild';
import { SseModule, SseService } from 'nestjs-event-stream';
import type { RunEnd } from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';
import type { Browser } from 'playwright-core';
import { launchChromium } from '../support/clients/chromium.js';
import { FaultProxy } from '../support/faults/fault-proxy.js';
import { Gate } from '../support/gate.js';
import { guideExample, replaceOnce } from '../suites/guide-blocks.js';
import { DEADLINE_MS } from './sample-process.js';
import { visit } from './visit.js';

jest.setTimeout(3 * DEADLINE_MS);

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const PAGE = `
import * as React from 'react';
import { createRoot } from 'react-dom/client';
function Conversation() {
  const { messages, status, sendMessage, stop } = useRunChat({ id: 'chat', messages: [] });
  const text = messages.map(({ role, parts }) => role + ': ' + parts.map(({ text = '' }) => text).join(''));
  return <>
    <button id="ask" onClick={() => sendMessage({ text: 'Why?' })}>ask</button>
    <button id="stop" onClick={stop}>stop</button>
    <output id="status">{status}</output>
    <pre id="text">{text.join('\\n')}</pre>
  </>;
}
function Page() {
  const [isShown, show] = React.useState(true);
  return <>
    <button id="mount" onClick={() => show(!isShown)}>mount</button>
    {isShown && <Conversation />}
  </>;
}
const main = document.body.appendChild(document.createElement('main'));
createRoot(main).render(<React.StrictMode><Page /></React.StrictMode>);
`;

/** The chat of the guide, as a page of this app has it. */
function pageOf(sdk: string): string {
  const hook = guideExample('export function useRunChat');
  const transport = `
    import { RunChatTransport } from 'nestjs-event-stream/ai-sdk';
    const transport = new RunChatTransport({ retry: { minMs: 10 } });`;
  return replaceOnce(
    replaceOnce(hook, "'@ai-sdk/react'", `'${sdk}'`),
    "import { transport } from './transport';",
    transport,
  );
}

let browser: Browser;
let app: INestApplication | undefined;
let proxy: FaultProxy | undefined;

beforeAll(async () => {
  browser = await launchChromium();
});
afterAll(() => browser?.close());
afterEach(async () => {
  await proxy?.stop();
  await app?.close();
});

async function bundle(code: string): Promise<string> {
  const { outputFiles } = await build({
    stdin: { contents: `${code}\n${PAGE}`, resolveDir: ROOT, loader: 'jsx' },
    bundle: true,
    write: false,
    format: 'esm',
    jsx: 'automatic',
    define: { 'process.env.NODE_ENV': '"production"' },
  });
  return outputFiles[0]!.text;
}

async function startApp(script: string, rest: Gate, ends: string[]): Promise<INestApplication> {
  async function* answer({ signal }: { signal: AbortSignal }): AsyncGenerator<UIMessageChunk> {
    yield { type: 'start', messageId: 'answer' };
    yield { type: 'text-start', id: 't' };
    yield { type: 'text-delta', id: 't', delta: 'Because' };
    await Promise.race([rest.opened, new Promise((resolve) => signal.addEventListener('abort', resolve))]);
    yield { type: 'text-delta', id: 't', delta: ' of' };
    yield { type: 'text-end', id: 't' };
    yield { type: 'finish' };
  }

  @Controller()
  class ChatController {
    constructor(private readonly sse: SseService) {}

    @Get()
    @Header('Content-Type', 'text/html')
    page(): string {
      return '<!doctype html><title>chat</title><link rel="icon" href="data:,"><body><script type="module" src="/page.js"></script>';
    }

    @Get('page.js')
    @Header('Content-Type', 'text/javascript')
    script(): string {
      return script;
    }

    @Post('api/chat')
    async ask(@Body() { id, idempotencyKey }: { id: string; idempotencyKey: string }, @Res() res: object) {
      const onEnd = (end: RunEnd) => ends.push(end.reason);
      await this.sse.runs.start(id, answer, { format: 'ai-sdk', idempotencyKey, onEnd });
      return this.sse.runs.attach(res, id);
    }

    @Get('api/chat/:id/stream')
    resume(@Param('id') id: string, @Res() res: object) {
      return this.sse.runs.attach(res, id);
    }

    @Delete('api/chat/:id')
    async stop(@Param('id') id: string) {
      return { wasLive: await this.sse.runs.stop(id) };
    }
  }

  @Module({ imports: [SseModule.forRoot({ retryMs: 10 })], controllers: [ChatController] })
  class ChatModule {}

  const module = await Test.createTestingModule({ imports: [ChatModule] }).compile();
  const started = module.createNestApplication({ logger: false });
  await started.listen(0, '127.0.0.1');
  return started;
}

describe.each([
  ['6', '@ai-sdk/react'],
  ['7', 'ai-sdk-react-4'],
])('a page with useChat of AI SDK %s, as the guide has it', (_version, sdk) => {
  async function openPage() {
    const rest = new Gate();
    const ends: string[] = [];
    app = await startApp(await bundle(pageOf(sdk)), rest, ends);
    const network = await FaultProxy.start(Number(new URL(await app.getUrl()).port));
    proxy = network;
    const { page, leave, complaints } = await visit(browser);
    const has = (id: string, text: string) =>
      waitFor(async () => (await page.textContent(`#${id}`))?.endsWith(text), { timeoutMs: DEADLINE_MS });
    // The page looks for an answer to resume first. A question asked meanwhile would be read twice.
    const nothingToResume = page.waitForResponse(/\/stream$/);
    await page.goto(`http://127.0.0.1:${network.port}/`);
    await nothingToResume;
    await has('status', 'ready');
    await page.click('#ask');
    await has('text', 'Because');
    return { network, rest, ends, page, leave, has, complaints };
  }

  it('has the whole answer once, though the network goes away in the middle', async () => {
    const { network, rest, ends, page, leave, has } = await openPage();
    network.refuse();
    network.drop();
    // It asks for the rest, and finds no network.
    await page.waitForEvent('requestfailed');
    expect(await page.textContent('#status')).toBe('streaming');
    await network.accept();
    rest.open();
    await has('status', 'ready');

    expect(await page.textContent('#text')).toBe('user: Why?\nassistant: Because of');
    expect(ends).toEqual(['done']);
    await leave();
  });

  it('goes on over a reload and an unmount, and stops by stop()', async () => {
    const { ends, page, leave, has, complaints } = await openPage();
    await page.reload();
    await has('text', 'assistant: Because');
    await page.click('#mount');
    await page.waitForSelector('#text', { state: 'detached' });
    await page.click('#mount');
    await has('text', 'assistant: Because');
    expect(await page.textContent('#text')).toBe('assistant: Because');
    expect(ends).toEqual([]);
    await page.click('#stop');
    await has('status', 'ready');
    await waitFor(() => ends.length > 0);

    expect(ends).toEqual(['stop']);
    expect(await page.textContent('#text')).toBe('assistant: Because');
    expect(complaints).toEqual([]);
    await leave();
  });
});
