import { askApp } from './ask-app.js';
import { failure } from './client.error.js';
import type { SseClientError } from './client.error.js';
import type { Resume } from './feed.types.js';

interface Saved<State> {
  readonly identity: string | null;
  readonly url: string;
  readonly place: string;
  readonly state: State;
}

/**
 * State and place, kept in one write as the page goes, and taken out as the next one comes: what is read from it
 * belongs together, and a tab that is duplicated finds nothing: it begins with the state.
 */
export class SavedPlace<State> {
  readonly #resume: Resume<State>;
  readonly #identity: string | null;
  readonly #report: (error: SseClientError) => void;

  constructor(resume: Resume<State>, identity: string | undefined, report: (error: SseClientError) => void) {
    this.#resume = resume;
    this.#identity = identity ?? null;
    this.#report = report;
  }

  /** What was kept, of this identity and URL; it is there no more. Never rejects. */
  async take(url: string): Promise<Saved<State> | undefined> {
    const text = await this.#try('load', () => this.#resume.load());
    // A place that cannot be removed is not used: it could be loaded a second time.
    return text && (await this.clear()) ? this.#read(text, url) : undefined;
  }

  /** @returns whether nothing is kept any more */
  async clear(): Promise<boolean> {
    return (await this.#try('save', async () => (await this.#resume.save(undefined), true))) === true;
  }

  async save(url: string, place: string): Promise<void> {
    await this.#try('save', () => {
      const saved: Saved<State> = { identity: this.#identity, url, place, state: this.#resume.state() };
      return this.#resume.save(JSON.stringify(saved));
    });
  }

  /** @returns undefined for what fails, or does not settle */
  async #try<T>(what: 'save' | 'load', call: () => T | Promise<T>): Promise<T | undefined> {
    try {
      return await askApp(call);
    } catch (cause) {
      this.#report(failure('storage-failed', `${what}() of resume failed`, cause));
      return undefined;
    }
  }

  #read(text: string, url: string): Saved<State> | undefined {
    try {
      const saved = JSON.parse(text) as Saved<State>;
      const isOurs =
        saved.identity === this.#identity && saved.url === url && typeof saved.place === 'string';
      return isOurs ? saved : undefined;
    } catch {
      // Cut off, or of something else.
      return undefined;
    }
  }
}
