import { afterEach, describe, expect, it } from '@jest/globals';
import { DefaultChatTransport } from 'ai';
import type { UIMessage, UIMessageChunk } from 'ai';
import type { RunSource } from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';
import { FaultProxy } from '../support/faults/fault-proxy.js';
import { Gate } from '../support/gate.js';
import { baseOf, closeAll, platforms } from '../support/apps/platforms.js';
import { createAnswerApp, RUN } from './answer-app.js';
import { Chat } from './sdk-clients.js';

const QUESTION: UIMessage = { id: 'q', role: 'user', parts: [{ type: 'text', text: 'Why?' }] };
const beginning = (answer: number) => [
  { type: 'start', messageId: `answer ${answer}` },
  { type: 'start-step' },
  { type: 'text-start', id: 't' },
  { type: 'text-delta', id: 't', delta: 'Because' },
];
const REST = [
  { type: 'text-delta', id: 't', delta: ' of' },
  { type: 'text-end', id: 't' },
  { type: 'finish-step' },
  { type: 'finish' },
] satisfies UIMessageChunk[];

describe.each(platforms.filter(({ http2 }) => !http2))('useChat({ resume: true }) on $name', (platform) => {
  let proxy: FaultProxy | undefined;

  afterEach(async () => {
    await proxy?.stop();
    proxy = undefined;
    await closeAll();
  });

  async function startApp() {
    const rest = new Gate();
    const signals: AbortSignal[] = [];
    const source: RunSource = async function* ({ signal }) {
      signals.push(signal);
      yield* beginning(signals.length);
      await Promise.race([rest.opened, new Promise((resolve) => signal.addEventListener('abort', resolve))]);
      yield* REST;
    };
    const context = await createAnswerApp(platform, source, { format: 'ai-sdk', run: {} });
    const api = `${baseOf(context.app)}/answer/chat`;
    return {
      ...context,
      transport: () => new DefaultChatTransport<UIMessage>({ api }),
      stop: () => fetch(`${baseOf(context.app)}/answer/${RUN}`, { method: 'DELETE' }),
      goOn: rest.open,
      signals,
    };
  }

  const send = (transport: DefaultChatTransport<UIMessage>, abortSignal?: AbortSignal) =>
    transport.sendMessages({
      trigger: 'submit-message',
      chatId: RUN,
      messageId: undefined,
      messages: [QUESTION],
      abortSignal,
    });
  const textOf = (chat: Chat) =>
    chat.lastMessage?.parts.map((part) => (part.type === 'text' ? part.text : '')).join('');
  const hasBeginning = (chat: Chat) => waitFor(() => textOf(chat) === 'Because', { timeoutMs: 15_000 });

  it('finds nothing to resume before the first question', async () => {
    const { transport, signals } = await startApp();

    expect(await transport().reconnectToStream({ chatId: RUN })).toBeNull();
    const chat = new Chat(transport());
    await chat.resumeStream();

    expect(chat.status).toBe('ready');
    expect(chat.messages).toEqual([]);
    expect(signals).toEqual([]);
  });

  it('is sent the chunks as they are, and the same again', async () => {
    const { transport, goOn } = await startApp();
    const sent = await send(transport());
    const resumed = (await transport().reconnectToStream({ chatId: RUN }))!;
    goOn();

    expect(await chunksOf(sent)).toEqual([...beginning(1), ...REST]);
    expect(await chunksOf(resumed)).toEqual([...beginning(1), ...REST]);
  });

  it('has the whole answer after a reload in the middle', async () => {
    const { transport, goOn, signals, sse } = await startApp();
    const page = new AbortController();
    const sent = await send(transport(), page.signal);
    await sent.getReader().read();
    page.abort();
    await waitFor(() => sse.connections.size === 0);
    const chat = new Chat(transport(), [QUESTION]);
    const resuming = chat.resumeStream();
    await hasBeginning(chat);

    expect(chat.status).toBe('streaming');
    goOn();
    await resuming;

    expect(chat.status).toBe('ready');
    expect(textOf(chat)).toBe('Because of');
    expect(chat.messages).toHaveLength(2);
    expect(signals).toHaveLength(1);
  });

  it.each(['as Chromium tells it', 'as Node tells it'])(
    'has it after its connection broke, %s',
    async (how) => {
      const { app, goOn, signals } = await startApp();
      proxy = await FaultProxy.start(Number(new URL(baseOf(app)).port));
      const api = `http://127.0.0.1:${proxy.port}/answer/chat`;
      const chat = new Chat(
        new DefaultChatTransport({ api, fetch: how === 'as Node tells it' ? fetch : fetchAsInChromium }),
      );
      const asking = chat.sendMessage({ text: 'Why?' });
      await hasBeginning(chat);
      proxy.drop();
      await asking;
      expect(chat.status).toBe('error');
      const resuming = chat.resumeStream();
      await waitFor(() => chat.status === 'streaming');
      goOn();
      await resuming;
      await proxy.stop();

      expect(chat.status).toBe('ready');
      expect(chat.messages.map(({ role }) => role)).toEqual(['user', 'assistant']);
      expect(textOf(chat)).toBe('Because of');
      expect(signals).toHaveLength(1);
    },
  );

  it('keeps what it has where the answer has ended', async () => {
    const { transport, goOn, end } = await startApp();
    goOn();
    const before = new Chat(transport());
    await before.sendMessage({ text: 'Why?' });
    await end();

    const chat = new Chat(transport(), before.messages);
    await chat.resumeStream();

    expect(chat.status).toBe('ready');
    expect(chat.messages).toEqual(before.messages);
    expect(await transport().reconnectToStream({ chatId: RUN })).toBeNull();
  });

  it('asks the next question of the same chat', async () => {
    const { transport, goOn, signals } = await startApp();
    goOn();
    const chat = new Chat(transport());
    await chat.sendMessage({ text: 'Why?' });
    await chat.sendMessage({ text: 'And why that?' });

    expect(chat.messages.map(({ role }) => role)).toEqual(['user', 'assistant', 'user', 'assistant']);
    expect(textOf(chat)).toBe('Because of');
    expect(signals).toHaveLength(2);
  });

  it('stops reading by stop(), and the model by a request of its own', async () => {
    const { transport, stop, signals, sse, end, nothingLeft } = await startApp();
    const [chat, otherTab] = [new Chat(transport()), new Chat(transport())];
    const asking = chat.sendMessage({ text: 'Why?' });
    await hasBeginning(chat);
    const resuming = otherTab.resumeStream();
    await hasBeginning(otherTab);

    await chat.stop();
    await asking;
    await waitFor(() => sse.connections.size === 1);
    expect(signals[0]!.aborted).toBe(false);

    expect((await stop()).status).toBe(200);
    await resuming;
    expect(signals[0]!.aborted).toBe(true);
    expect(otherTab.status).toBe('ready');
    expect(textOf(otherTab)).toBe('Because');
    expect(await end()).toMatchObject({ reason: 'stop' });
    await nothingLeft();
  });

  it('has the next question answered at once after it was stopped', async () => {
    const { transport, stop, goOn, signals, controller } = await startApp();
    const chat = new Chat(transport());
    const asking = chat.sendMessage({ text: 'Why?' });
    await hasBeginning(chat);
    await Promise.all([chat.stop(), stop(), asking]);
    goOn();
    await chat.sendMessage({ text: 'And why that?' });

    expect(chat.messages.map(({ role }) => role)).toEqual(['user', 'assistant', 'user', 'assistant']);
    expect(textOf(chat)).toBe('Because of');
    expect(signals).toHaveLength(2);
    await waitFor(() => controller.ends.length === 2);
    expect(controller.ends.map(({ reason }) => reason)).toEqual(['stop', 'done']);
  });
});

async function chunksOf(stream: ReadableStream<UIMessageChunk>): Promise<UIMessageChunk[]> {
  const chunks: UIMessageChunk[] = [];
  const reader = stream.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) {
      return chunks;
    }
    chunks.push(value);
  }
}

/** A connection that breaks is a network error there, which the SDK knows from others. */
const fetchAsInChromium: typeof fetch = async (input, init) => {
  const response = await fetch(input, init);
  const reader = response.body!.getReader();
  const body = new ReadableStream({
    async pull(controller) {
      try {
        const { done, value } = await reader.read();
        if (done) {
          controller.close();
        } else {
          controller.enqueue(value);
        }
      } catch {
        controller.error(new TypeError('network error'));
      }
    },
    cancel: (reason) => reader.cancel(reason),
  });
  return new Response(body, response);
};
