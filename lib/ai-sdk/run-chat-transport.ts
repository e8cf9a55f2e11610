import type { ChatTransport, HttpChatTransportInitOptions, UIMessage, UIMessageChunk } from 'ai' with {
  'resolution-mode': 'import',
};
import { openAnswer, reasonOf } from '../client/answer-stream.js';
import { unlessAborted } from '../client/ask-app.js';
import { SseClientError } from '../client/client.error.js';
import type { RunAnswer } from '../client/run-answer.js';
import { runForSdk, stopAndLeave } from '../client/sdk-run.js';
import type { SseClientOptions } from '../client/settings.js';
import type { StreamStatus } from '../client/stream-loop.js';
import { ChatRequests } from './chat-requests.js';
import type { ChatCall, ChatRequest, ChatRequestOptions } from './chat-requests.js';

/** Options of {@link RunChatTransport}: those of `DefaultChatTransport`, and how it comes back. */
export interface RunChatTransportOptions<Message extends UIMessage = UIMessage>
  extends
    ChatRequestOptions<Message>,
    Pick<HttpChatTransportInitOptions<Message>, 'fetch'>,
    Pick<SseClientOptions, 'baseUrl' | 'silenceMs' | 'retry'> {
  /** After how many milliseconds in which nothing but failures came an answer fails. @defaultValue 120_000 */
  giveUpMs?: number;
  /** How the connection of an answer stands. */
  onStatus?: (status: StreamStatus, chat: { chatId: string }) => void;
  /** Something failed that is tried again, or a run could not be stopped. */
  onError?: (error: SseClientError, chat: { chatId: string }) => void;
}

/** The requests of an answer. */
interface Requests {
  readonly start?: ChatRequest;
  readonly attach: ChatRequest;
  readonly stop: ChatRequest;
}

/** A chat that has answers open here. */
interface OpenChat {
  readonly answers: Set<RunAnswer<UIMessageChunk>>;
  /** Calls and answers that are not over. */
  users: number;
  /** How often the chat has asked to be reconnected. */
  reconnects: number;
  /** Resolves when no answer is about to be stopped. Never rejects. */
  stopping: Promise<unknown>;
}

type SendCall<Message extends UIMessage> = Parameters<ChatTransport<Message>['sendMessages']>[0];
type ReconnectCall<Message extends UIMessage> = Parameters<ChatTransport<Message>['reconnectToStream']>[0] & {
  abortSignal?: AbortSignal;
};

type OpenCall<Message extends UIMessage> = ChatCall<Message> & { abortSignal?: AbortSignal | undefined };

/**
 * A transport for `useChat` of the AI SDK whose answers are runs. An answer comes back by itself when its connection is
 * lost, without a character lost or doubled, and is resumed after a reload. `stop()` stops the run; to close the tab, or
 * to {@link leave}, does not.
 *
 * The id of the chat is the id of the run. Each question has an `idempotencyKey` in its body: with
 * `runs.start(id, source, { idempotencyKey })` a question whose POST was lost is answered once.
 *
 * @example
 * ```ts
 * const transport = new RunChatTransport({ api: '/api/chat' });
 * const chat = new Chat({ id, messages, transport });
 * const { sendMessage, stop } = useChat({ chat, resume: true });
 * ```
 */
export class RunChatTransport<Message extends UIMessage = UIMessage> implements ChatTransport<Message> {
  /** An answer that is resumed comes from its beginning. */
  readonly resumeStreamIsReplay = true;
  readonly #options: RunChatTransportOptions<Message>;
  readonly #requests: ChatRequests<Message>;
  readonly #chats = new Map<string, OpenChat>();

  constructor(options: RunChatTransportOptions<Message> = {}) {
    this.#options = options;
    this.#requests = new ChatRequests(options);
  }

  /**
   * Sends a question, and gives the chunks of its answer.
   *
   * @throws SseClientError if the question is refused, or its answer cannot be had
   */
  async sendMessages(call: SendCall<Message>): Promise<ReadableStream<UIMessageChunk>> {
    const stream = await this.#open(call, () => this.#requests.start(call, newKey()));
    if (!stream) {
      throw new SseClientError('no-body', `The question was answered 204: there is no run ${call.chatId}.`);
    }
    return stream;
  }

  /**
   * Attaches to the answer that a chat is given, if there is one.
   *
   * @returns its chunks from the beginning; null if no answer is being made
   * @throws SseClientError if the server refuses, or cannot be reached
   */
  reconnectToStream(call: ReconnectCall<Message>): Promise<ReadableStream<UIMessageChunk> | null> {
    return this.#open(call);
  }

  /**
   * Leaves answers, which go on at the server. Call it before a chat is unmounted that must not be stopped.
   *
   * @param chatId - the chat whose answer to leave; absent for all chats
   */
  leave(chatId?: string): void {
    for (const [id, { answers }] of this.#chats) {
      if (chatId === undefined || chatId === id) {
        answers.forEach((answer) => answer.leave());
      }
    }
  }

  /** @param prepare - makes the request that starts the answer; absent to attach to one */
  async #open(
    call: OpenCall<Message>,
    prepare?: () => Promise<ChatRequest>,
  ): Promise<ReadableStream<UIMessageChunk> | null> {
    const { chatId, abortSignal: signal } = call;
    const chat = this.#enter(chatId);
    if (!prepare) {
      chat.reconnects += 1;
    }
    let answer: RunAnswer<UIMessageChunk>;
    try {
      const preparing = this.#prepare(call, chat, prepare);
      const requests = await unlessAborted(preparing, signal ?? new AbortController().signal);
      if (signal?.aborted) {
        throw reasonOf(signal);
      }
      answer = this.#run(chatId, requests);
    } catch (error) {
      this.#exit(chatId, chat);
      throw signal?.aborted ? reasonOf(signal) : error;
    }
    chat.answers.add(answer);
    void answer.outcome.then(async () => {
      chat.answers.delete(answer);
      await chat.stopping;
      this.#exit(chatId, chat);
    });
    return openAnswer(answer, { signal, onAbort: () => this.#onAbort(chatId, chat, answer) });
  }

  async #prepare(
    call: OpenCall<Message>,
    chat: OpenChat,
    prepare?: () => Promise<ChatRequest>,
  ): Promise<Requests> {
    // Until it is stopped, the answer to the question before would be taken for that to this one.
    await chat.stopping;
    const start = await prepare?.();
    const [attach, stop] = await Promise.all([this.#requests.attach(call), this.#requests.stop(call)]);
    return { ...(start && { start }), attach, stop };
  }

  #run(chatId: string, requests: Requests): RunAnswer<UIMessageChunk> {
    const { baseUrl, fetch, silenceMs, retry, giveUpMs } = this.#options;
    const { credentials } = requests.start ?? requests.attach;
    return runForSdk<UIMessageChunk>(
      { baseUrl, fetch, silenceMs, retry, credentials },
      { id: chatId, ...requests },
      {
        format: 'ai-sdk',
        giveUpMs,
        onStatus: (status) => this.#options.onStatus?.(status, { chatId }),
        onError: (error) => this.#options.onError?.(error, { chatId }),
      },
    );
  }

  /**
   * The signal of a call aborts by `stop()`, and when a second reconnect takes the place of the first, as in React's
   * StrictMode. The second reconnect comes in the same turn.
   */
  #onAbort(chatId: string, chat: OpenChat, answer: RunAnswer): void {
    const { reconnects, stopping } = chat;
    const decide = async (): Promise<void> => {
      await Promise.resolve();
      if (chat.reconnects === reconnects) {
        await stopAndLeave(answer, (error) => this.#options.onError?.(error, { chatId }));
      } else {
        answer.leave();
      }
    };
    chat.stopping = Promise.all([stopping, decide()]);
  }

  #enter(chatId: string): OpenChat {
    const chat = this.#chats.get(chatId) ?? {
      answers: new Set(),
      users: 0,
      reconnects: 0,
      stopping: Promise.resolve(),
    };
    this.#chats.set(chatId, chat);
    chat.users += 1;
    return chat;
  }

  #exit(chatId: string, chat: OpenChat): void {
    chat.users -= 1;
    if (chat.users === 0) {
      this.#chats.delete(chatId);
    }
  }
}

/** Unique among the questions of a chat, and no secret. */
function newKey(): string {
  return `${Date.now().toString(36)}-${Math.random().toString(36).slice(2)}`;
}
