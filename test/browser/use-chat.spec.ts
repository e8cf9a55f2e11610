import 'reflect-metadata';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { Body, Controller, Get, Header, Module, Param, Post, Res } from '@nestjs/common';
import type { INestApplication } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import type { UIMessageChunk } from 'ai';
import { build } from 'esbuild';
import { SseModule, SseService } from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';
import type { Browser } from 'playwright-core';
import { launchChromium } from '../support/clients/chromium.js';
import { FaultProxy } from '../support/faults/fault-proxy.js';
import { Gate } from '../support/gate.js';
import { guideExample } from '../suites/guide-blocks.js';
import { DEADLINE_MS } from './sample-process.js';
import { visit } from './visit.js';

jest.setTimeout(3 * DEADLINE_MS);

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const PAGE = `
import { createRoot } from 'react-dom/client';
function Page() {
  const { messages, status, sendMessage } = useChatOfThePage({ id: 'chat', messages: [] });
  const text = messages.map(({ role, parts }) => role + ': ' + parts.map(({ text = '' }) => text).join(''));
  return <>
    <button onClick={() => sendMessage({ text: 'Why?' })}>ask</button>
    <output id="status">{status}</output>
    <pre id="text">{text.join('\\n')}</pre>
  </>;
}
createRoot(document.body.appendChild(document.createElement('main'))).render(<Page />);
`;

const pages = {
  'the guide': `${guideExample('export function useResumedChat')}\nconst useChatOfThePage = useResumedChat;`,
  'useChat alone': `
    import { useChat } from '@ai-sdk/react';
    import { useEffect } from 'react';
    function useChatOfThePage(options) {
      const chat = useChat({ ...options, resume: true });
      useEffect(() => {
        if (!(chat.error instanceof TypeError)) return;
        const timer = setTimeout(chat.resumeStream, 1000);
        return () => clearTimeout(timer);
      }, [chat.error, chat.resumeStream]);
      return chat;
    }`,
};

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

async function startApp(script: string, rest: Gate): Promise<INestApplication> {
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
    async ask(@Body('id') id: string, @Res() res: object) {
      await this.sse.runs.start(id, answer, { format: 'ai-sdk' });
      return this.sse.runs.attach(res, id);
    }

    @Get('api/chat/:id/stream')
    resume(@Param('id') id: string, @Res() res: object) {
      return this.sse.runs.attach(res, id);
    }
  }

  @Module({ imports: [SseModule.forRoot()], controllers: [ChatController] })
  class ChatModule {}

  const module = await Test.createTestingModule({ imports: [ChatModule] }).compile();
  const started = module.createNestApplication({ logger: false });
  await started.listen(0, '127.0.0.1');
  return started;
}

describe('a page with useChat, whose network goes away in the middle of an answer', () => {
  async function answerAcrossAnOutage(code: string): Promise<string> {
    const rest = new Gate();
    app = await startApp(await bundle(code), rest);
    proxy = await FaultProxy.start(Number(new URL(await app.getUrl()).port));
    const { page, leave } = await visit(browser);
    const has = (id: string, text: string) =>
      waitFor(async () => (await page.textContent(`#${id}`))?.endsWith(text), { timeoutMs: DEADLINE_MS });
    // The page looks for an answer to resume first. A question asked meanwhile would be read twice.
    const nothingToResume = page.waitForResponse(/\/stream$/);
    await page.goto(`http://127.0.0.1:${proxy.port}/`);
    await nothingToResume;
    await has('status', 'ready');

    await page.click('button');
    await has('text', 'Because');
    proxy.refuse();
    proxy.drop();
    await has('status', 'error');
    await proxy.accept();
    await has('status', 'streaming');
    rest.open();
    await has('status', 'ready');

    const text = (await page.textContent('#text'))!;
    await leave();
    return text;
  }

  it("has the whole answer once, with the guide's chat", async () => {
    expect(await answerAcrossAnOutage(pages['the guide'])).toBe('user: Why?\nassistant: Because of');
  });

  it('has its beginning twice, with the chat that useChat of AI SDK 6 makes', async () => {
    expect(await answerAcrossAnOutage(pages['useChat alone'])).toBe(
      'user: Why?\nassistant: BecauseBecause of',
    );
  });
});
