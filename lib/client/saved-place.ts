import { SseClientError } from './client.error.js';
import type { Resume } from './feed.types.js';

type Report = (error: SseClientError) => void;

interface Saved<State> {
  readonly identity: string | null;
  readonly url: string;
  readonly place: string;
  readonly state: State;
}

/**
 * State and place, kept in one write as the page goes, and taken out as the next one comes: what is read from it
 * belongs together, and a tab that is duplicated finds nothing and begins anew.
 */
export class SavedPlace<State> {
  readonly #resume: Resume<State>;
  readonly #identity: string | null;

  constructor(resume: Resume<State>, identity: string | undefined) {
    this.#resume = resume;
    this.#identity = identity ?? null;
  }

  /** What was kept, of this identity and URL; it is there no more. Never rejects. */
  async take(url: string, report: Report): Promise<Saved<State> | undefined> {
    let text: string | null | undefined;
    try {
      text = await this.#resume.load();
    } catch (cause) {
      report(storageError('load', cause));
      return undefined;
    }
    if (!text) {
      return undefined;
    }
    // A place that cannot be removed is not used: it could be loaded a second time.
    return (await this.clear(report)) ? this.#read(text, url) : undefined;
  }

  /** @returns whether nothing is kept any more */
  async clear(report: Report): Promise<boolean> {
    try {
      await this.#resume.save(undefined);
      return true;
    } catch (cause) {
      report(storageError('save', cause));
      return false;
    }
  }

  save(url: string, place: string, report: Report): void {
    const save = async (): Promise<void> => {
      const state = this.#resume.state();
      const saved: Saved<State> = { identity: this.#identity, url, place, state };
      await this.#resume.save(JSON.stringify(saved));
    };
    save().catch((cause: unknown) => report(storageError('save', cause)));
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

function storageError(what: 'save' | 'load', cause: unknown): SseClientError {
  return new SseClientError('storage-failed', `${what}() of resume failed: ${String(cause)}`, { cause });
}
