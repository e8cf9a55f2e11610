import { waitFor } from 'nestjs-event-stream/testing';
import { RecordingFetch } from './recording-fetch.js';
import type { Answer, SdkClient } from './sdk-clients.js';

/** A page on which an SDK runs. */
export class Tab {
  readonly recording: RecordingFetch;
  answer: Promise<Answer> = Promise.resolve({ text: '' });
  readonly #client: SdkClient;
  readonly #base: string;
  readonly #abort = new AbortController();

  constructor(client: SdkClient, base: string, lastEventId?: string) {
    this.#client = client;
    this.#base = base;
    this.recording = new RecordingFetch(lastEventId ? { 'last-event-id': lastEventId } : {});
  }

  /** Asks, and resolves when a piece of the answer is there. */
  async ask(awaited: string): Promise<void> {
    this.answer = this.#client.ask(this.#question);
    await this.has(awaited);
  }

  /** Asks for the answer to what another has asked. */
  async askAgain(awaited: string): Promise<void> {
    this.answer = this.#client.resume?.(this.#question) ?? this.#client.ask(this.#question);
    await this.has(awaited);
  }

  leave(): void {
    this.#abort.abort();
  }

  get #question() {
    return { base: this.#base, fetch: this.recording.fetch, signal: this.#abort.signal };
  }

  /** Resolves when it has had a piece of the answer. */
  has(piece: string): Promise<unknown> {
    return waitFor(() => this.recording.text.includes(JSON.stringify(piece)), {
      timeoutMs: 15_000,
      describe: () => `${JSON.stringify(piece)} in ${JSON.stringify(this.recording.text)}`,
    });
  }
}
