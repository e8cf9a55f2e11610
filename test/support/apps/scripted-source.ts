import type { RunSource } from 'nestjs-event-stream';
import { waitFor } from 'nestjs-event-stream/testing';

type Step = { item: unknown } | { error: unknown } | 'end';

/** A source whose items come when a test says so, and which tells what became of it. */
export class ScriptedSource {
  /** How often it was asked for. */
  starts = 0;
  /** When its signal aborted, by `performance.now()`. */
  abortedAt: number | undefined;
  recorded: readonly unknown[] = [];
  /** Items that were taken from it. */
  taken = 0;
  #steps: Step[] = [];
  #wake: (() => void) | undefined;

  push(...items: unknown[]): this {
    return this.#add(...items.map((item) => ({ item })));
  }

  fail(error: unknown): this {
    return this.#add({ error });
  }

  end(): this {
    return this.#add('end');
  }

  get isAborted(): boolean {
    return this.abortedAt !== undefined;
  }

  untilAborted(timeoutMs = 10_000): Promise<unknown> {
    return waitFor(() => this.isAborted, { timeoutMs });
  }

  readonly source: RunSource = ({ signal, recorded }) => {
    this.starts += 1;
    this.recorded = recorded;
    signal.addEventListener('abort', () => {
      this.abortedAt = performance.now();
      this.#wake?.();
    });
    return this.#items(signal);
  };

  async *#items(signal: AbortSignal): AsyncGenerator<unknown, void> {
    for (;;) {
      const step = this.#steps.shift();
      if (step === 'end') {
        return;
      }
      if (step === undefined) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      } else if ('error' in step) {
        throw step.error;
      } else {
        this.taken += 1;
        yield step.item;
      }
      if (signal.aborted) {
        throw new Error('The source was aborted.');
      }
    }
  }

  #add(...steps: Step[]): this {
    this.#steps.push(...steps);
    this.#wake?.();
    return this;
  }
}
