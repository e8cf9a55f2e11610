/** What a scripted fetch was asked. */
export interface ScriptedRequest {
  readonly url: string;
  readonly method: string;
  readonly headers: Headers;
  readonly body: unknown;
  readonly signal: AbortSignal;
}

type Script = Response | Error | (() => Response | Error | Promise<Response>);

/** A stream that a test writes. */
export class ScriptedStream {
  #controller!: ReadableStreamDefaultController<Uint8Array>;
  isCanceled = false;
  readonly response: Response;

  constructor(headers: Record<string, string> = {}) {
    const body = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#controller = controller;
        },
        cancel: () => {
          this.isCanceled = true;
        },
      },
      { highWaterMark: 0 },
    );
    this.response = new Response(body, { headers: { 'content-type': 'text/event-stream', ...headers } });
  }

  /** Chunks that were written and have not been read. */
  get unread(): number {
    return -this.#controller.desiredSize!;
  }

  write(text: string): this {
    return this.writeBytes(new TextEncoder().encode(text));
  }

  writeBytes(bytes: Uint8Array): this {
    this.#controller.enqueue(bytes);
    return this;
  }

  end(): this {
    this.#controller.close();
    return this;
  }

  fail(error: unknown): this {
    this.#controller.error(error);
    return this;
  }
}

/** A fetch whose answers a test gives in advance. */
export class ScriptedFetch {
  readonly requests: ScriptedRequest[] = [];
  /** What comes past the last answer; nothing if it is not given. */
  otherwise: (() => Response | Error) | undefined;
  readonly #scripts: Script[] = [];

  answer(...scripts: Script[]): this {
    this.#scripts.push(...scripts);
    return this;
  }

  readonly fetch = (input: unknown, init: RequestInit = {}): Promise<Response> => {
    const { method = 'GET', headers, body, signal } = init;
    this.requests.push({
      url: String(input),
      method,
      headers: new Headers(headers),
      body,
      signal: signal!,
    });
    const script = this.#scripts.shift() ?? this.otherwise;
    const answer = typeof script === 'function' ? script() : script;
    if (answer instanceof Error) {
      return Promise.reject(answer);
    }
    return answer
      ? Promise.resolve(answer)
      : new Promise((_, reject) =>
          signal!.addEventListener('abort', () => reject((signal!.reason as Error) ?? new Error('aborted'))),
        );
  };
}

/** Resolves once the streams and promises of a client have done what they can without time passing. */
export async function settled(): Promise<void> {
  for (let turns = 0; turns < 20; turns += 1) {
    await new Promise((resolve) => setImmediate(resolve));
  }
}
