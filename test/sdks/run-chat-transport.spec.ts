import { afterEach, describe, expect, it } from '@jest/globals';
import { Chat as Chat6 } from '@ai-sdk/react';
import { Chat as Chat7 } from 'ai-sdk-react-4';
import type { UIMessage } from 'ai';
import { RunChatTransport } from 'nestjs-event-stream/ai-sdk';
import type { RunChatTransportOptions } from 'nestjs-event-stream/ai-sdk';
import { waitFor } from 'nestjs-event-stream/testing';
import { baseOf, closeAll } from '../support/apps/platforms.js';
import { FaultProxy } from '../support/faults/fault-proxy.js';
import { Gate } from '../support/gate.js';
import { Random } from '../support/random.js';
import { chatAnswer, textOf } from './answers.js';
import { createChatApp } from './chat-app.js';
import type { ChatApp } from './chat-app.js';

const ID = 'chat 1';
const QUESTION: UIMessage = { id: 'q', role: 'user', parts: [{ type: 'text', text: 'Why?' }] };
const PIECES = textOf(1);
const TEXT = PIECES.join('');

/** What of a chat both versions of the AI SDK have. */
type Chat = Pick<
  Chat6<UIMessage>,
  'messages' | 'status' | 'error' | 'sendMessage' | 'resumeStream' | 'stop' | 'lastMessage'
>;
const chats = {
  6: (transport: RunChatTransport, messages: UIMessage[] = []): Chat =>
    new Chat6({ id: ID, transport, messages }),
  7: (transport: RunChatTransport, messages: UIMessage[] = []): Chat =>
    new Chat7({ id: ID, transport, messages }),
};

const textIn = (chat: Chat) =>
  chat.lastMessage?.role === 'assistant'
    ? chat.lastMessage.parts.map((part) => (part.type === 'text' ? part.text : '')).join('')
    : undefined;

let proxy: FaultProxy | undefined;
const transports: RunChatTransport[] = [];

afterEach(async () => {
  transports.splice(0).forEach((transport) => transport.leave());
  await proxy?.stop();
  proxy = undefined;
  await closeAll();
});

/** A page that has just been loaded. */
function transportOf(base: string, options: RunChatTransportOptions = {}): RunChatTransport {
  const transport = new RunChatTransport({ api: `${base}/chat`, retry: { minMs: 1 }, ...options });
  transports.push(transport);
  return transport;
}

const noMoreConnections = ({ sse }: ChatApp) =>
  waitFor(() => sse.connections.size === 0, { timeoutMs: 15_000 });

describe.each([6, 7] as const)('RunChatTransport, with a chat of AI SDK %s', (version) => {
  const newChat = chats[version];

  it.each([1, 2, 3])(
    'has each character once over connections that are cut at any byte (%s)',
    async (seed) => {
      const context = await createChatApp(() => chatAnswer(PIECES, 'a'));
      const random = new Random(seed);
      const cutAfter = () => ({ bytes: random.between(100, 3_000), byReset: random.next() < 0.5 });
      proxy = await FaultProxy.start(Number(new URL(baseOf(context.app)).port), { cutAfter });
      const chat = newChat(transportOf(`http://127.0.0.1:${proxy.port}`));
      await chat.sendMessage({ text: 'Why?' });

      expect(chat.error).toBeUndefined();
      expect(textIn(chat)).toBe(TEXT);
      expect(chat.status).toBe('ready');
      expect(chat.messages).toHaveLength(2);
      expect(context.controller.asked).toHaveLength(1);
      expect(proxy.cuts).toBeGreaterThan(3);
    },
  );

  it('has the whole answer after a reload in the middle', async () => {
    const gate = new Gate();
    const context = await createChatApp(() => chatAnswer(PIECES, 'a', { after: 50, gate }));
    const before = transportOf(baseOf(context.app));
    const first = newChat(before);
    const asking = first.sendMessage({ text: 'Why?' });
    await waitFor(() => textIn(first) === PIECES.slice(0, 50).join(''));
    before.leave();
    await asking;
    await noMoreConnections(context);
    expect(first.status).toBe('ready');

    const chat = newChat(transportOf(baseOf(context.app)), [QUESTION]);
    const resuming = chat.resumeStream();
    await waitFor(() => textIn(chat) === PIECES.slice(0, 50).join(''));
    gate.open();
    await resuming;

    expect(textIn(chat)).toBe(TEXT);
    expect(chat.messages).toHaveLength(2);
    expect(context.controller.asked).toHaveLength(1);
    expect(context.controller.requests).toEqual(['POST', 'GET']);
    const later = newChat(transportOf(baseOf(context.app)), chat.messages);
    await later.resumeStream();
    expect(later.messages).toEqual(chat.messages);
    expect(later.status).toBe('ready');
  });

  it('stops the run by stop(), and has the next question answered at once', async () => {
    const gate = new Gate();
    const texts = [PIECES, ['Another ', 'answer']];
    const context = await createChatApp(() => {
      const n = context.controller.asked.length - 1;
      return chatAnswer(texts[n]!, `a${n}`, n === 0 ? { after: 50, gate } : undefined);
    });
    const chat = newChat(transportOf(baseOf(context.app)));
    const asking = chat.sendMessage({ text: 'Why?' });
    await waitFor(() => textIn(chat) === PIECES.slice(0, 50).join(''));
    await chat.stop();
    await asking;
    expect(chat.status).toBe('ready');
    expect(textIn(chat)).toBe(PIECES.slice(0, 50).join(''));
    await chat.sendMessage({ text: 'And?' });

    expect(textIn(chat)).toBe('Another answer');
    expect(context.controller.requests).toEqual(['POST', 'DELETE', 'POST']);
    await waitFor(() => context.controller.ends.length === 2);
    expect(context.controller.ends.map(({ reason }) => reason)).toEqual(['stop', 'done']);
  });

  it('stops no run if a second reconnect takes the place of the first, as in StrictMode', async () => {
    const gate = new Gate();
    const context = await createChatApp(() => chatAnswer(PIECES, 'a', { after: 50, gate }));
    const before = transportOf(baseOf(context.app));
    const asking = newChat(before).sendMessage({ text: 'Why?' });
    await waitFor(() => context.controller.asked.length === 1);
    before.leave();
    await asking;

    const chat = newChat(transportOf(baseOf(context.app)), [QUESTION]);
    const first = chat.resumeStream();
    // The first has its request on the way.
    await waitFor(() => context.controller.requests.includes('GET'));
    const second = chat.resumeStream();
    await first;
    gate.open();
    await second;
    expect(textIn(chat)).toBe(TEXT);
    expect(context.controller.requests).toEqual(['POST', 'GET', 'GET']);
    expect(context.controller.ends.map(({ reason }) => reason)).toEqual(['done']);
  });

  it('shows an error that the server has framed, and no answer that has no last frame', async () => {
    const context = await createChatApp(({ body }) => {
      const isSecond = (body['messages'] as unknown[]).length > 1;
      return async function* () {
        yield* [
          { type: 'start', messageId: isSecond ? 'b' : 'a' },
          { type: 'text-start', id: 't' },
        ];
        yield { type: 'text-delta', id: 't', delta: 'Because' };
        throw Object.assign(new Error('secret'), { isSecond });
      };
    });
    const chat = newChat(transportOf(baseOf(context.app)));
    await chat.sendMessage({ text: 'Why?' });
    expect(chat.status).toBe('error');
    expect(chat.error!.message).toBe('Internal server error');
    expect(textIn(chat)).toBe('Because');

    // The answer ends in order, and no run is there any more.
    let isCut = false;
    const cutting: typeof fetch = async (input, init) => {
      if (isCut) {
        return new Response(null, { status: 204 });
      }
      isCut = true;
      const whole = await (await fetch(input, init)).text();
      const headers = { 'content-type': 'text/event-stream' };
      return new Response(whole.slice(0, whole.indexOf('data: {"type":"error"')), { headers });
    };
    const other = newChat(transportOf(baseOf(context.app), { fetch: cutting }));
    await other.sendMessage({ text: 'Why?' });
    expect(other.status).toBe('error');
    expect(other.error).toMatchObject({ name: 'SseClientError', code: 'run-lost' });
    expect(textIn(other)).toBe('Because');
  });

  it.each([
    [429, 1],
    [403, 1],
    [500, 3],
  ])('shows that a question is answered %s, asked %s times', async (status, times) => {
    let asked = 0;
    const refusing: typeof fetch = async (_input, init) => {
      if (init!.method === 'GET') {
        return new Response(null, { status: 204 });
      }
      asked += 1;
      return Response.json({ message: 'no' }, { status });
    };
    const chat = newChat(transportOf('http://127.0.0.1:1', { fetch: refusing }));
    await chat.sendMessage({ text: 'Why?' });
    expect(chat.status).toBe('error');
    expect(chat.error).toMatchObject({ code: 'status', status, body: '{"message":"no"}' });
    expect(asked).toBe(times);
  });
});

describe('RunChatTransport', () => {
  const newChat = chats[6];

  it.each<[string, (send: () => Promise<Response>) => Promise<unknown>, string[]]>([
    ['its POST never came', () => Promise.resolve(), ['GET', 'POST']],
    [
      'the answer to its POST was lost, and it is complete',
      async (send) => (await send()).text(),
      ['POST', 'GET', 'POST'],
    ],
  ])('has a question answered once if %s', async (_what, lose, requests) => {
    const context = await createChatApp(() => chatAnswer(PIECES, `a${context.controller.asked.length}`));
    let isFirst = true;
    const losing: typeof fetch = async (input, init) => {
      if (!isFirst) {
        return fetch(input, init);
      }
      isFirst = false;
      await lose(() => fetch(input, init));
      throw new TypeError('network error');
    };
    const chat = newChat(transportOf(baseOf(context.app)));
    await chat.sendMessage({ text: 'Why?' });
    const before = context.controller.requests.splice(0);
    expect(before).toEqual(['POST']);

    const next = newChat(transportOf(baseOf(context.app), { fetch: losing }), chat.messages);
    await next.sendMessage({ text: 'And?' });
    expect(textIn(next)).toBe(TEXT);
    expect(next.lastMessage!.id).toBe('a2');
    expect(context.controller.asked).toHaveLength(2);
    expect(context.controller.requests).toEqual(requests);
  });

  it('sends what DefaultChatTransport does, and asks for headers at each attempt', async () => {
    const context = await createChatApp(() => chatAnswer(['yes'], 'a'));
    let tokens = 0;
    const seen: unknown[] = [];
    const failingOnce: typeof fetch = async (input, init) => {
      const { method, credentials } = init!;
      const headers = new Headers(init!.headers);
      seen.push([method, headers.get('authorization'), headers.get('x-own'), credentials]);
      return seen.length === 1 ? new Response('', { status: 401 }) : fetch(input, init);
    };
    const options: RunChatTransportOptions = {
      fetch: failingOnce,
      credentials: () => 'include',
      headers: async () => ({ Authorization: `Bearer ${(tokens += 1)}` }),
      body: () => ({ model: 'm' }),
    };
    const chat = newChat(transportOf(baseOf(context.app), options));
    await chat.sendMessage({ text: 'Why?' }, { headers: { 'X-Own': '1' }, body: { extra: true } });
    expect(textIn(chat)).toBe('yes');
    expect(seen).toEqual([
      ['POST', 'Bearer 1', '1', 'include'],
      ['GET', expect.any(String), '1', 'include'],
      ['POST', expect.not.stringContaining('Bearer 1'), '1', 'include'],
    ]);
    expect(context.controller.asked[0]!.body).toMatchObject({
      id: ID,
      model: 'm',
      extra: true,
      trigger: 'submit-message',
      messages: [{ role: 'user' }],
      idempotencyKey: expect.stringMatching(/^.{10,}$/),
    });
  });

  it('sends what prepareSendMessagesRequest and its like make', async () => {
    const context = await createChatApp(() => chatAnswer(PIECES, 'a'));
    const base = baseOf(context.app);
    const prepared: unknown[] = [];
    const transport = transportOf('http://127.0.0.1:1', {
      headers: { 'x-base': 'base' },
      prepareSendMessagesRequest: ({ id, idempotencyKey, messages, headers, trigger }) => {
        prepared.push([id, headers, trigger]);
        return {
          api: `${base}/chat?model=m`,
          headers: { 'x-own': 'own' },
          body: { id, idempotencyKey, last: messages.at(-1) },
        };
      },
      prepareReconnectToStreamRequest: ({ id }) => ({
        api: `${base}/chat/${encodeURIComponent(id)}/stream`,
      }),
      prepareStopRequest: ({ id }) => ({ api: `${base}/chat/${encodeURIComponent(id)}` }),
    });
    const chat = newChat(transport);
    await chat.sendMessage({ text: 'Why?' });
    expect(textIn(chat)).toBe(TEXT);
    expect(prepared).toEqual([[ID, { 'x-base': 'base' }, 'submit-message']]);
    const [{ body, headers }] = context.controller.asked as [
      { body: object; headers: Record<string, string> },
    ];
    expect(Object.keys(body)).toEqual(['id', 'idempotencyKey', 'last']);
    expect([headers['x-own'], headers['x-base']]).toEqual(['own', undefined]);
  });

  it('leaves the run if its stream is cancelled, or before it is unmounted', async () => {
    const gate = new Gate();
    const context = await createChatApp(() => chatAnswer(PIECES, 'a', { after: 50, gate }));
    const transport = transportOf(baseOf(context.app));
    const call = {
      trigger: 'submit-message',
      chatId: ID,
      messageId: undefined,
      messages: [QUESTION],
    } as const;
    const stopping = new AbortController();
    const stream = await transport.sendMessages({ ...call, messages: [QUESTION], abortSignal: undefined });
    await stream.cancel();
    await noMoreConnections(context);
    const again = (await transport.reconnectToStream({ chatId: ID, abortSignal: stopping.signal }))!;
    transport.leave(ID);
    stopping.abort();
    await expect(again.getReader().read()).rejects.toMatchObject({ name: 'AbortError' });
    await noMoreConnections(context);
    expect(context.controller.ends).toEqual([]);
    expect(context.controller.requests).toEqual(['POST', 'GET']);
    gate.open();
    await waitFor(() => context.controller.ends.length === 1);
    expect(await transport.reconnectToStream({ chatId: ID })).toBeNull();
  });

  it.each(['.', '..'])('refuses the id %s, which no URL holds', async (chatId) => {
    const transport = transportOf('http://127.0.0.1:1');
    await expect(transport.reconnectToStream({ chatId })).rejects.toMatchObject({ code: 'options-invalid' });
  });

  it('is told 400 for an idempotencyKey that is none', async () => {
    const context = await createChatApp(() => chatAnswer(PIECES, 'a'));
    const transport = transportOf(baseOf(context.app), {
      body: {},
      fetch: (input, init) => fetch(input, { ...init, body: JSON.stringify({ id: ID, idempotencyKey: 5 }) }),
    });
    const chat = newChat(transport);
    await chat.sendMessage({ text: 'Why?' });
    expect(chat.error).toMatchObject({ status: 400 });
  });
});
