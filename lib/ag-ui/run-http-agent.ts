import { HttpAgent } from '@ag-ui/client';
import type { HttpAgentConfig, RunAgentInput } from '@ag-ui/client';
import { openAnswer, reasonOf } from '../client/answer-stream.js';
import { SseClientError } from '../client/client.error.js';
import type { RunAnswer, RunRequest } from '../client/run-answer.js';
import { runForSdk, stopAndLeave } from '../client/sdk-run.js';
import type { SseClientOptions } from '../client/settings.js';
import type { StreamStatus } from '../client/stream-loop.js';
import { replayOver } from './replay-over.js';
import type { AgentEvent } from './replay-over.js';

type Events = ReturnType<HttpAgent['run']>;
type RunNames = Pick<RunAgentInput, 'threadId' | 'runId'>;

/** Options of {@link RunHttpAgent}: those of `HttpAgent`, and how it comes back. */
export interface RunHttpAgentConfig
  extends HttpAgentConfig, Pick<SseClientOptions, 'baseUrl' | 'credentials' | 'silenceMs' | 'retry'> {
  /**
   * Where an answer is attached to, with GET.
   * @defaultValue `${url}/${threadId}/stream`
   */
  attachUrl?: (names: RunNames) => string;
  /**
   * Where an answer is stopped, with DELETE.
   * @defaultValue `${url}/${threadId}`
   */
  stopUrl?: (names: RunNames) => string;
  /** After how many milliseconds in which nothing but failures came an answer fails. @defaultValue 120_000 */
  giveUpMs?: number;
  /** How the connection of an answer stands. */
  onStatus?: (status: StreamStatus) => void;
  /** Something failed that is tried again, or a run could not be stopped. */
  onError?: (error: SseClientError) => void;
}

/**
 * An `HttpAgent` whose answers are runs. An answer comes back by itself when its connection is lost, without a character
 * lost or doubled; `connectAgent()` resumes it after a reload. `abortRun()` stops the run. `detachActiveRun()`, an
 * `abortController` of your own, and closing the tab leave it, and it goes on.
 *
 * The id of the thread is the id of the run, and each question has its own `runId`: with
 * `runs.start(threadId, source, { idempotencyKey: runId })` a POST that was lost is answered once.
 *
 * @example
 * ```ts
 * const agent = new RunHttpAgent({ url: '/api/agent', threadId, initialMessages });
 * await agent.connectAgent(); // to what is being answered, if the page was reloaded
 * ```
 */
export class RunHttpAgent extends HttpAgent {
  // No #fields: HttpAgent.clone() makes an object that no constructor has seen.
  private config: RunHttpAgentConfig;
  private answer: RunAnswer<AgentEvent> | undefined;
  private isStopping = false;
  /** Resolves when no answer is about to be stopped. Never rejects. */
  private stopping: Promise<unknown> = Promise.resolve();

  constructor(config: RunHttpAgentConfig) {
    super(config);
    this.config = config;
  }

  override run(input: RunAgentInput): Events {
    return this.runWith(input, async (init) => {
      const { signal, method } = init;
      const body = init.body as string;
      const start = { url: this.url, body, headers: () => this.headersOf(input), ...(method && { method }) };
      const events = await this.open(input, signal, start);
      if (!events) {
        throw new SseClientError('no-body', `The POST was answered 204: there is no run ${input.threadId}.`);
      }
      return events;
    });
  }

  /** Attaches to the answer of the thread, if there is one. */
  protected override connect(input: RunAgentInput): Events {
    return this.runWith(input, async ({ signal }) => {
      const events = await this.open(input, signal);
      return (
        events?.pipeThrough(replayOver(this.messages)) ??
        new ReadableStream({ start: (none) => none.close() })
      );
    });
  }

  override connectAgent(
    ...parameters: Parameters<HttpAgent['connectAgent']>
  ): ReturnType<HttpAgent['connectAgent']> {
    // That of the run before may have aborted.
    this.abortController = new AbortController();
    return super.connectAgent(...parameters);
  }

  /** Stops the run for all clients. */
  override abortRun(): void {
    this.isStopping = true;
    super.abortRun();
    this.isStopping = false;
  }

  /** Leaves the run, which goes on at the server. */
  override async detachActiveRun(): Promise<void> {
    const { answer } = this;
    const detached = super.detachActiveRun();
    answer?.leave();
    await detached;
  }

  override clone(): RunHttpAgent {
    const cloned = super.clone() as RunHttpAgent;
    cloned.config = this.config;
    cloned.answer = undefined;
    cloned.isStopping = false;
    cloned.stopping = Promise.resolve();
    return cloned;
  }

  /** Runs as an `HttpAgent` does, with the events of a run in the place of its response. */
  private runWith(
    input: RunAgentInput,
    fetchEvents: (init: RequestInit) => Promise<ReadableStream<AgentEvent>>,
  ): Events {
    const fetch = async (_url: string, init: RequestInit): Promise<Response> => {
      return responseOf(await fetchEvents(init));
    };
    return super.run.call(Object.create(this, { fetch: { value: fetch } }) as this, input);
  }

  private async open(
    input: RunAgentInput,
    signal: AbortSignal | null | undefined,
    start?: RunRequest,
  ): Promise<ReadableStream<AgentEvent> | null> {
    // Until it is stopped, the answer of the run before would be taken for that of this one.
    await this.stopping;
    if (signal?.aborted) {
      throw reasonOf(signal);
    }
    const { attachUrl, stopUrl } = this.config;
    const url = this.url.replace(/\/$/, '');
    const path = `${url}/${encodeURIComponent(input.threadId)}`;
    const headers = (): Headers => {
      const own = this.headersOf(input);
      own.delete('content-type');
      return own;
    };
    const fetch = ((to: string, init: RequestInit) => this.fetch(to, init)) as typeof globalThis.fetch;
    const { baseUrl, credentials, silenceMs, retry, giveUpMs, onStatus, onError } = this.config;
    const answer = runForSdk<AgentEvent>(
      { baseUrl, credentials, silenceMs, retry, fetch },
      {
        id: input.threadId,
        ...(start && { start }),
        attach: { url: attachUrl?.(input) ?? `${path}/stream`, headers },
        stop: { url: stopUrl?.(input) ?? path, headers },
      },
      { format: 'ag-ui', giveUpMs, onStatus, onError },
    );
    this.answer = answer;
    return openAnswer(answer, { signal: signal ?? undefined, onAbort: () => this.onAbort(answer) });
  }

  /** Asked at each attempt, so that a token may be refreshed. */
  private headersOf(input: RunAgentInput): Headers {
    const headers = new Headers(this.requestInit(input).headers);
    // The client names what it accepts itself.
    headers.delete('accept');
    return headers;
  }

  private onAbort(answer: RunAnswer<AgentEvent>): void {
    if (!this.isStopping) {
      answer.leave();
      return;
    }
    this.stopping = Promise.all([this.stopping, stopAndLeave(answer, this.config.onError)]);
  }
}

/** A response as far as an `HttpAgent` reads it. */
function responseOf(events: ReadableStream<AgentEvent>): Response {
  const encoder = new TextEncoder();
  const reader = events.getReader();
  const read = async () => {
    const { done, value } = await reader.read();
    return { done, value: done ? undefined : encoder.encode(`data: ${JSON.stringify(value)}\n\n`) };
  };
  // HttpAgent cancels a reader that has failed, too. That rejects with the error that `read` has thrown already, and
  // HttpAgent throws it again where nothing can catch it, unless it is an AbortError.
  const cancel = () => reader.cancel().catch(() => undefined);
  const headers = new Headers({ 'content-type': 'text/event-stream' });
  return {
    ok: true,
    status: 200,
    headers,
    body: { getReader: () => ({ read, cancel }) },
  } as unknown as Response;
}
