import { HttpAgent } from '@ag-ui/client';
import type { AgentStateMutation } from '@ag-ui/client';
import Anthropic from '@anthropic-ai/sdk';
import { AbstractChat, DefaultChatTransport } from 'ai';
import type { ChatState, ChatStatus, ChatTransport, UIMessage } from 'ai';
import { EventSourceParserStream } from 'eventsource-parser/stream';
import OpenAI from 'openai';
import type { StreamFormatName } from 'nestjs-event-stream';
import { anthropicProtocol, openaiProtocol } from '../support/servers/model-server.js';
import { RUN } from './answer-app.js';

/** What an SDK tells its user of an answer. */
export interface Answer {
  /** The text, as far as the user got it. */
  text: string;
  /** Absent where the SDK takes the answer for complete. */
  error?: Error;
}

/** Where and how an SDK asks. */
export interface Question {
  /** Of the app, without a path. */
  base: string;
  fetch: (input: string | URL | Request, init?: RequestInit) => Promise<Response>;
  signal?: AbortSignal;
}

/** An SDK as a client, and what a source yields for it. */
export interface SdkClient {
  readonly name: string;
  readonly format: StreamFormatName;
  /** What comes before the text. */
  readonly first: readonly object[];
  /** A piece of the text. */
  delta(text: string): unknown;
  /** What comes after the text, the protocol's last event left out. */
  readonly last: readonly object[];
  /** The last event, of a protocol whose sources send one themselves. */
  readonly end?: object;
  /** The frame of the end. */
  readonly endFrame: string;
  /** The frames of a failure. */
  errorFrames(message: string): string;
  /** Whether an answer that the app has stopped is an error to the SDK. */
  readonly failsOnAbort: boolean;
  /** Whether it reads an answer whose beginning it is not given. */
  readonly takesRest: boolean;
  ask(question: Question): Promise<Answer>;
  /** What it does after a reload, where it does not ask again: it resumes the answer to what it has asked. */
  resume?(question: Question): Promise<Answer>;
}

const QUESTION = { role: 'user' as const, content: 'Why?' };

const openai: SdkClient = {
  name: 'openai',
  format: 'openai',
  ...openaiProtocol,
  endFrame: 'data: [DONE]\n\n',
  errorFrames: (message) => `data: {"error":{"message":${JSON.stringify(message)},`,
  failsOnAbort: true,
  takesRest: true,
  async ask({ base, fetch, signal }) {
    const client = new OpenAI({ apiKey: 'none', baseURL: `${base}/answer`, maxRetries: 0, fetch });
    return gather(async (add) => {
      const chunks = await client.chat.completions.create(
        { model: 'm', messages: [QUESTION], stream: true },
        { signal },
      );
      for await (const { choices } of chunks) {
        add(choices[0]?.delta.content ?? '');
      }
    });
  },
};

const anthropic: SdkClient = {
  name: '@anthropic-ai/sdk',
  format: 'anthropic',
  ...anthropicProtocol,
  end: { type: 'message_stop' },
  endFrame: 'event: message_stop\ndata: {"type":"message_stop"}\n\n',
  errorFrames: (message) =>
    `event: error\ndata: {"type":"error","error":{"type":"api_error","message":${JSON.stringify(message)}}}\n\n`,
  failsOnAbort: true,
  takesRest: false,
  async ask({ base, fetch, signal }) {
    const client = new Anthropic({ apiKey: 'none', baseURL: `${base}/answer`, maxRetries: 0, fetch });
    return gather(async (add) => {
      const stream = client.messages.stream({ model: 'm', max_tokens: 9, messages: [QUESTION] }, { signal });
      stream.on('text', add);
      await stream.finalMessage();
    });
  },
};

const aiSdk: SdkClient = {
  name: 'ai',
  format: 'ai-sdk',
  first: [{ type: 'start', messageId: 'a' }, { type: 'start-step' }, { type: 'text-start', id: 't' }],
  delta: (delta) => ({ type: 'text-delta', id: 't', delta }),
  last: [{ type: 'text-end', id: 't' }, { type: 'finish-step' }, { type: 'finish' }],
  endFrame: 'data: [DONE]\n\n',
  errorFrames: (message) =>
    `data: {"type":"error","errorText":${JSON.stringify(message)}}\n\ndata: [DONE]\n\n`,
  failsOnAbort: false,
  takesRest: false,
  ask: (question) => chatWith(question, (chat) => chat.sendMessage({ text: QUESTION.content })),
  resume: (question) => chatWith(question, (chat) => chat.resumeStream()),
};

async function chatWith({ base, fetch, signal }: Question, act: (chat: Chat) => Promise<void>) {
  const chat = new Chat(new DefaultChatTransport({ api: `${base}/answer/chat`, fetch }));
  signal?.addEventListener('abort', () => void chat.stop());
  await act(chat);
  const parts = chat.lastMessage?.role === 'assistant' ? chat.lastMessage.parts : [];
  const text = parts.map((part) => (part.type === 'text' ? part.text : '')).join('');
  return chat.error ? { text, error: chat.error } : { text };
}

/** What `useChat` of the SDK is for React, without React. */
export class Chat extends AbstractChat<UIMessage> {
  constructor(transport: ChatTransport<UIMessage>, messages: UIMessage[] = []) {
    super({ id: RUN, transport, state: new PlainState(messages) });
  }
}

class PlainState implements ChatState<UIMessage> {
  status: ChatStatus = 'ready';
  error: Error | undefined;
  messages: UIMessage[];

  constructor(messages: UIMessage[]) {
    this.messages = messages;
  }

  pushMessage = (message: UIMessage) => void this.messages.push(message);
  popMessage = () => void this.messages.pop();
  replaceMessage = (index: number, message: UIMessage) => void (this.messages[index] = message);
  snapshot = <T>(value: T): T => structuredClone(value);
}

// Otherwise a failure is printed as well.
const HANDLED: AgentStateMutation = { stopPropagation: true };

const agUi: SdkClient = {
  name: '@ag-ui/client',
  format: 'ag-ui',
  first: [
    { type: 'RUN_STARTED', threadId: 'thread', runId: 'run' },
    { type: 'TEXT_MESSAGE_START', messageId: 'm', role: 'assistant' },
  ],
  delta: (delta) => ({ type: 'TEXT_MESSAGE_CONTENT', messageId: 'm', delta }),
  last: [{ type: 'TEXT_MESSAGE_END', messageId: 'm' }],
  end: { type: 'RUN_FINISHED', threadId: 'thread', runId: 'run' },
  endFrame: 'data: {"type":"RUN_FINISHED","threadId":"thread","runId":"run"}\n\n',
  errorFrames: (message) => `data: {"type":"RUN_ERROR","message":${JSON.stringify(message)},`,
  failsOnAbort: true,
  takesRest: false,
  async ask({ base, fetch, signal }) {
    const agent = new HttpAgent({ url: `${base}/answer/agent`, threadId: 'thread', fetch });
    signal?.addEventListener('abort', () => agent.abortRun());
    const failures: Error[] = [];
    const answer = await gather(async (add) => {
      await agent.runAgent(
        { runId: 'run' },
        {
          onTextMessageContentEvent: ({ event }) => add(event.delta),
          onRunErrorEvent: ({ event }) => void failures.push(new Error(event.message)),
          onRunFailed({ error }) {
            failures.push(error);
            return HANDLED;
          },
        },
      );
    });
    const [failure] = failures;
    return failure ? { ...answer, error: failure } : answer;
  },
};

const json: SdkClient = {
  name: 'eventsource-parser',
  format: 'json',
  first: [],
  delta: (text) => text,
  last: [],
  endFrame: 'event: done\ndata: null\n\n',
  errorFrames: (message) => `event: error\ndata: {"message":${JSON.stringify(message)},`,
  failsOnAbort: true,
  takesRest: true,
  // As the guide shows it.
  async ask({ base, fetch, signal }) {
    return gather(async (add) => {
      const response = await fetch(`${base}/answer/json`, { method: 'POST', signal });
      if (!response.ok) {
        throw new Error(`HTTP ${response.status}`);
      }
      const events = response
        .body!.pipeThrough(new TextDecoderStream() as TransformStream<Uint8Array, string>)
        .pipeThrough(new EventSourceParserStream())
        .getReader();
      for (;;) {
        const { done, value } = await events.read();
        if (done) {
          throw new Error('The answer has no end.');
        }
        const data: unknown = JSON.parse(value.data);
        if (value.event === 'error') {
          throw new Error((data as { message: string }).message);
        }
        if (value.event === 'done') {
          return;
        }
        add(data as string);
      }
    });
  },
};

async function gather(read: (add: (text: string) => void) => Promise<void>): Promise<Answer> {
  const answer: Answer = { text: '' };
  try {
    await read((text) => (answer.text += text));
  } catch (error) {
    answer.error = error as Error;
  }
  return answer;
}

export const sdkClients: SdkClient[] = [openai, anthropic, aiSdk, agUi, json];
