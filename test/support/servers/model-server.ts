import { once } from 'node:events';
import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { waitFor } from 'nestjs-event-stream/testing';

/** What a provider's stream is made of, in the order in which it is sent. */
export interface ModelProtocol {
  /** What comes before the text. */
  readonly first: readonly object[];
  /** A piece of the text. */
  delta(text: string): object;
  /** What comes after the text. */
  readonly last: readonly object[];
}

/** Chat completions. */
export const openaiProtocol: ModelProtocol = {
  first: [chunk({ role: 'assistant', content: '' })],
  delta: (content) => chunk({ content }),
  last: [chunk({}, 'stop')],
};

/** Messages; `message_stop`, which comes after these, is what they end with. */
export const anthropicProtocol: ModelProtocol = {
  first: [
    {
      type: 'message_start',
      message: {
        id: 'm',
        type: 'message',
        role: 'assistant',
        content: [],
        model: 'm',
        stop_reason: null,
        stop_sequence: null,
        usage: { input_tokens: 1, output_tokens: 1 },
      },
    },
    { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } },
  ],
  delta: (text) => ({ type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text } }),
  last: [
    { type: 'content_block_stop', index: 0 },
    {
      type: 'message_delta',
      delta: { stop_reason: 'end_turn', stop_sequence: null },
      usage: { output_tokens: 9 },
    },
  ],
};

function chunk(delta: object, finish_reason: string | null = null) {
  return {
    id: 'c',
    object: 'chat.completion.chunk',
    created: 1,
    model: 'm',
    choices: [{ index: 0, delta, finish_reason }],
  };
}

/** A protocol as bytes, and what the provider says where there is no answer. */
interface Dialect {
  readonly protocol: ModelProtocol;
  frame(item: object): string;
  readonly end: string;
  error(type: string, message: string): object;
}

const frameOf = (data: object | string, event?: string) =>
  `${event ? `event: ${event}\n` : ''}data: ${typeof data === 'string' ? data : JSON.stringify(data)}\n\n`;

/** By the path that the provider's own package asks at. */
const DIALECTS: Readonly<Record<string, Dialect>> = {
  '/chat/completions': {
    protocol: openaiProtocol,
    frame: (item) => frameOf(item),
    end: frameOf('[DONE]'),
    error: (type, message) => ({ error: { message, type, param: null, code: null } }),
  },
  '/v1/messages': {
    protocol: anthropicProtocol,
    frame: (item) => frameOf(item, (item as { type: string }).type),
    end: frameOf({ type: 'message_stop' }, 'message_stop'),
    error: (type, message) => ({ type: 'error', error: { type, message } }),
  },
};

/** What a provider refuses with. */
export interface Refusal {
  readonly status: number;
  readonly message: string;
}

/** For an answer that must come, on a machine that is busy with other things. */
const DEADLINE_MS = 15_000;

/**
 * The provider of a model, on this machine: it answers the `openai` package (chat completions) and
 * `@anthropic-ai/sdk` (messages) with streams, and makes a token when a test says so.
 */
export class ModelServer {
  /** What it refuses every request with, where there is one. */
  refusal: Refusal | undefined;
  /** How often it was asked, refusals included. */
  requests = 0;
  /** The answers that were asked for, in order. */
  readonly generations: Generation[] = [];
  readonly #server: Server;

  private constructor() {
    this.#server = createServer((request, response) => this.#answer(request, response));
  }

  static async start(): Promise<ModelServer> {
    const model = new ModelServer();
    model.#server.listen(0, '127.0.0.1');
    await once(model.#server, 'listening');
    return model;
  }

  /** For the `baseURL` of a provider's package. */
  get base(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Resolves to the answer to the first request, once that has come. */
  generation(): Promise<Generation> {
    return waitFor(() => this.generations[0], {
      timeoutMs: DEADLINE_MS,
      describe: () => `a request to the model, which has had ${this.requests}`,
    });
  }

  async stop(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    this.requests += 1;
    request.resume();
    const dialect = DIALECTS[request.url ?? ''];
    if (!dialect) {
      response.writeHead(404).end();
    } else if (this.refusal) {
      const { status, message } = this.refusal;
      // The packages would otherwise ask again, after a while.
      response.writeHead(status, { 'content-type': 'application/json', 'x-should-retry': 'false' });
      response.end(JSON.stringify(dialect.error(`error_${status}`, message)));
    } else {
      this.generations.push(new Generation(response, dialect));
    }
  }
}

/** One answer in the making. None of it is sent, the head included, until a test asks for it. */
export class Generation {
  /** Tokens made. As with a provider, they are made until the request is closed, read or not. */
  tokens = 0;
  /** When the client closed its request before the end of the answer, by `performance.now()`. */
  closedAt: number | undefined;
  readonly #response: ServerResponse;
  readonly #dialect: Dialect;
  #pace: NodeJS.Timeout | undefined;
  #isOver = false;

  constructor(response: ServerResponse, dialect: Dialect) {
    this.#response = response;
    this.#dialect = dialect;
    response.on('close', () => {
      if (!this.#isOver) {
        this.closedAt = performance.now();
      }
      this.#end();
    });
  }

  /** Resolves to the time, once the client has closed its request. */
  closed(): Promise<number> {
    return waitFor(() => this.closedAt, {
      timeoutMs: DEADLINE_MS,
      describe: () => `the client of the model to close its request, after ${this.tokens} tokens`,
    });
  }

  /** Makes tokens: `word 1 `, `word 2 ` and so on. */
  give(count = 1): void {
    for (let given = 0; given < count && !this.#isOver; given += 1) {
      this.tokens += 1;
      this.#write(this.#dialect.frame(this.#dialect.protocol.delta(wordAt(this.tokens))));
    }
  }

  /** Makes a token every so often from now on. */
  giveEvery(ms: number): void {
    this.#pace = setInterval(() => this.give(), ms);
  }

  /** The answer comes to its end. */
  finish(): void {
    const { protocol, frame, end } = this.#dialect;
    this.#write(protocol.last.map(frame).join('') + end);
    this.#end();
    this.#response.end();
  }

  /** The provider fails in the middle, and says so. */
  fail(message: string): void {
    const { frame, error } = this.#dialect;
    this.#write(frame(error('server_error', message)));
    this.#end();
    this.#response.end();
  }

  /** The connection to the provider breaks in the middle. */
  cut(): void {
    this.#end();
    this.#response.destroy();
  }

  #write(frames: string): void {
    const { protocol, frame } = this.#dialect;
    if (!this.#response.headersSent) {
      this.#response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' });
      this.#response.write(protocol.first.map(frame).join(''));
    }
    this.#response.write(frames);
  }

  #end(): void {
    this.#isOver = true;
    clearInterval(this.#pace);
  }
}

/** The first tokens of every answer, joined. */
export function textOf(tokens: number): string {
  return Array.from({ length: tokens }, (_, index) => wordAt(index + 1)).join('');
}

function wordAt(token: number): string {
  return `word ${token} `;
}
