import type { ChatTransport, HttpChatTransportInitOptions, UIMessage } from 'ai' with {
  'resolution-mode': 'import',
};
import { SseClientError } from '../client/client.error.js';

type Send<Message extends UIMessage> = Parameters<ChatTransport<Message>['sendMessages']>[0];
type Init<Message extends UIMessage> = HttpChatTransportInitOptions<Message>;
type PrepareSend<Message extends UIMessage> = NonNullable<Init<Message>['prepareSendMessagesRequest']>;
type Given = RequestInit['headers'] | Record<string, string | undefined>;

/** What a `prepare…Request` function of the transport is given, beside what belongs to a question. */
export interface ChatRequestInfo {
  /** Of the chat. It is the id of the run as well. */
  id: string;
  requestMetadata: unknown;
  body: Record<string, unknown> | undefined;
  credentials: RequestInit['credentials'];
  headers: RequestInit['headers'];
  api: string;
}

/** What a `prepareStopRequest` function gives. */
export interface PreparedChatRequest {
  /** @defaultValue `'DELETE'` */
  method?: string;
  headers?: RequestInit['headers'];
  api?: string;
}

/** The options of a transport that say what its requests look like. */
export interface ChatRequestOptions<Message extends UIMessage> extends Pick<
  Init<Message>,
  'api' | 'credentials' | 'headers' | 'body' | 'prepareReconnectToStreamRequest'
> {
  /**
   * Makes the request of a question, as with `DefaultChatTransport`. It is given the `idempotencyKey` of the question as
   * well: put it into the body. Called once for a question, and again for its headers when it is sent again.
   */
  prepareSendMessagesRequest?: (
    options: Parameters<PrepareSend<Message>>[0] & { idempotencyKey: string },
  ) => ReturnType<PrepareSend<Message>>;
  /**
   * Makes the request that stops the answer of a chat.
   * @defaultValue `DELETE ${api}/${id}`, with the transport's headers
   */
  prepareStopRequest?: (options: ChatRequestInfo) => PreparedChatRequest | PromiseLike<PreparedChatRequest>;
}

/** One request of a chat, whose headers are asked for at each attempt. */
export interface ChatRequest {
  readonly url: string;
  readonly method?: string;
  readonly headers: () => Promise<Record<string, string>>;
  readonly body?: object;
  readonly credentials?: RequestInit['credentials'];
}

/** What an answer needs to know of a chat that asks for it. */
export type ChatCall<Message extends UIMessage> = Pick<
  Send<Message>,
  'chatId' | 'headers' | 'body' | 'metadata'
>;

interface Prepared {
  api?: string;
  method?: string;
  headers?: RequestInit['headers'];
  body?: object;
  credentials?: RequestInit['credentials'];
}

/** Makes the requests of a chat out of the options of a transport. */
export class ChatRequests<Message extends UIMessage> {
  readonly #options: ChatRequestOptions<Message>;
  readonly #api: string;

  constructor(options: ChatRequestOptions<Message>) {
    this.#options = options;
    this.#api = options.api ?? '/api/chat';
  }

  /** The POST of a question. */
  async start(call: Send<Message>, idempotencyKey: string): Promise<ChatRequest> {
    const { trigger, messageId, messages, chatId: id } = call;
    const { prepareSendMessagesRequest: prepare } = this.#options;
    const question = { messages, trigger, messageId, idempotencyKey };
    const request = await this.#make(call, this.#api, (info) => prepare?.({ ...info, ...question }));
    const { body = { ...(await this.#bodyOf(call)), id, ...question } } = request;
    return { ...request, body };
  }

  /** The GET that attaches to the answer of a chat. */
  attach(call: ChatCall<Message>): Promise<ChatRequest> {
    const { prepareReconnectToStreamRequest: prepare } = this.#options;
    return this.#make(call, pathUnder(this.#api, call.chatId, '/stream'), (info) =>
      prepare?.({ ...info, api: this.#api }),
    );
  }

  /** The DELETE that stops the answer of a chat. */
  stop(call: ChatCall<Message>): Promise<ChatRequest> {
    return this.#make(call, pathUnder(this.#api, call.chatId, ''), (info) =>
      this.#options.prepareStopRequest?.({ ...info, api: this.#api }),
    );
  }

  async #make(
    call: ChatCall<Message>,
    url: string,
    prepare: (info: ChatRequestInfo) => Prepared | PromiseLike<Prepared> | undefined,
  ): Promise<ChatRequest> {
    const ask = async () => {
      const headers = { ...plain(await valueOf(this.#options.headers)), ...plain(call.headers) };
      const credentials = await valueOf(this.#options.credentials);
      const info = {
        id: call.chatId,
        api: this.#api,
        requestMetadata: call.metadata,
        body: await this.#bodyOf(call),
        headers,
        credentials,
      };
      const prepared = await prepare(info);
      return {
        ...prepared,
        credentials: prepared?.credentials ?? credentials,
        headers: prepared?.headers ? plain(prepared.headers) : headers,
      };
    };
    let first: Awaited<ReturnType<typeof ask>> | undefined = await ask();
    const { api = url, method, body, credentials } = first;
    return {
      url: api,
      ...(method && { method }),
      ...(body && { body }),
      ...(credentials && { credentials }),
      headers: async () => {
        const { headers } = first ?? (await ask());
        first = undefined;
        return headers;
      },
    };
  }

  async #bodyOf({ body }: ChatCall<Message>): Promise<Record<string, unknown>> {
    return { ...(await valueOf(this.#options.body)), ...body };
  }
}

async function valueOf<T>(given: T | (() => T | PromiseLike<T>) | PromiseLike<T>): Promise<T> {
  return typeof given === 'function' ? (given as () => T | PromiseLike<T>)() : given;
}

/** Headers as names and values. Those without a value are left out, as in the AI SDK. */
function plain(given: Given): Record<string, string> {
  const entries = given instanceof Headers || Array.isArray(given) ? given : Object.entries(given ?? {});
  const named = Array.from(entries as Iterable<[string, string | undefined]>, ([name, value]) => {
    return [name.toLowerCase(), value] as const;
  });
  return Object.fromEntries(named.filter(([, value]) => value !== undefined)) as Record<string, string>;
}

/** @throws SseClientError for an id that a URL cannot hold */
function pathUnder(api: string, id: string, end: string): string {
  if (id === '.' || id === '..') {
    throw new SseClientError('options-invalid', `The id of a chat cannot be "${id}": no URL holds it.`);
  }
  const [, path, rest] = /^([^?#]*)(.*)$/s.exec(api)!;
  return `${path!.replace(/\/$/, '')}/${encodeURIComponent(id)}${end}${rest}`;
}
