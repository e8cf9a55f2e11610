import { callApp } from '../client/settings.js';
import { SseClientError } from '../client/index.js';
import type { RunAnswer, RunOutcome, SseClient, StreamStatus } from '../client/index.js';
import { storesOf } from './client-stores.js';
import type { Frames } from './frames.js';
import { Newest } from './newest.js';
import type { UseRunOptions, UseRunRequest, UseRunResult, UseRunTarget } from './use-run.types.js';

/** What the latest render of the component has given. */
export interface RunInput<Item, Data> {
  readonly client: SseClient;
  readonly target: UseRunTarget;
  readonly options: UseRunOptions<Item, Data>;
}

type RunSnapshot<Item, Data> = Omit<UseRunResult<Item, Data | undefined>, 'start' | 'stop' | 'leave'>;

const DEFAULT_MAX_ITEMS = 10_000;

/** The run of one component, and the data that its items make. */
export class RunStore<Item, Data> {
  readonly #input: { readonly current: RunInput<Item, Data> };
  readonly #items = new Newest<Item>();
  #frames: Frames;
  #answer: RunAnswer<Item> | undefined;
  /** The id that the component has named. */
  #named: string | undefined;
  #client: SseClient;
  #isMounted = true;
  /** The component was hidden or unmounted in the middle of its run. */
  #wasInterrupted = false;
  #snapshot: RunSnapshot<Item, Data>;
  #listener: (() => void) | undefined;
  #data: Data | undefined;
  #status: 'idle' | StreamStatus = 'idle';
  #outcome: RunOutcome | undefined;
  #error: SseClientError | undefined;

  constructor(input: { readonly current: RunInput<Item, Data> }) {
    this.#input = input;
    this.#client = input.current.client;
    this.#frames = storesOf(this.#client).frames;
    this.#data = this.#initialData();
    this.#snapshot = this.#current();
  }

  /** What is rendered: the same object until the next frame in which something has changed. */
  readonly getSnapshot = (): RunSnapshot<Item, Data> => this.#snapshot;

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listener = listener;
    return () => {
      this.#listener = undefined;
      this.#frames.forget(this.#render);
    };
  };

  /** Attaches to the run that the component names. One that it has started itself goes on until it names another. */
  sync(client: SseClient, named: string | undefined): void {
    const wasInterrupted = this.#wasInterrupted;
    const isRenamed = named !== this.#named;
    this.#isMounted = true;
    this.#wasInterrupted = false;
    this.#named = named;
    if (client !== this.#client) {
      this.#client = client;
      this.#frames.forget(this.#render);
      this.#frames = storesOf(client).frames;
      this.#attach(named);
    } else if (isRenamed && named !== this.#answer?.id) {
      this.#attach(named);
    } else if (wasInterrupted) {
      this.#attach(this.#answer?.id);
    }
  }

  /** The component has unmounted, or is hidden. */
  readonly interrupt = (): void => {
    this.#isMounted = false;
    this.#wasInterrupted = this.#answer !== undefined && this.#outcome === undefined;
    this.#answer?.leave();
  };

  readonly start = ({ id, ...request }: UseRunRequest = {}): string => {
    const { start } = this.#input.current.target;
    if (!start) {
      throw new SseClientError('options-invalid', 'start() needs the option `start` of useRun().');
    }
    if (!this.#isMounted) {
      throw new SseClientError('options-invalid', 'start() was called after its component has unmounted.');
    }
    return this.#begin({ ...(id !== undefined && { id }), start: { ...start, ...request } }).id;
  };

  readonly stop = async (): Promise<boolean> => (this.#answer ? this.#answer.stop() : false);

  readonly leave = (): void => this.#answer?.leave();

  #attach(id: string | undefined): void {
    if (id !== undefined) {
      this.#begin({ id });
      return;
    }
    this.#answer?.leave();
    this.#answer = undefined;
    this.#reset('idle');
  }

  #begin(own: { id?: string; start?: UseRunTarget['start'] }): RunAnswer<Item> {
    this.#answer?.leave();
    const { target, options } = this.#input.current;
    const { format, giveUpMs } = options;
    const whileCurrent =
      <Value>(call: (value: Value) => void) =>
      (value: Value): void => {
        if (this.#answer === answer) {
          call(value);
        }
      };
    const { start: _start, id: _id, ...rest } = target;
    const answer: RunAnswer<Item> = this.#client.run<Item>(
      { ...rest, ...own },
      {
        ...(format !== undefined && { format }),
        ...(giveUpMs !== undefined && { giveUpMs }),
        onStatus: whileCurrent((status: StreamStatus) => this.#onStatus(status)),
        onError: whileCurrent((error: SseClientError) => this.#onError(error)),
      },
    );
    this.#answer = answer;
    this.#reset('connecting');
    void this.#read(answer);
    return answer;
  }

  #reset(status: 'idle' | 'connecting'): void {
    this.#items.clear();
    this.#data = this.#initialData();
    this.#status = status;
    this.#outcome = undefined;
    this.#error = undefined;
    this.#frames.request(this.#render);
  }

  async #read(answer: RunAnswer<Item>): Promise<void> {
    try {
      for await (const item of answer) {
        if (answer !== this.#answer) {
          return;
        }
        this.#onItem(item);
      }
    } catch (error) {
      // The outcome has it, too.
      this.#error = answer === this.#answer ? (error as SseClientError) : this.#error;
    }
    const outcome = await answer.outcome;
    if (answer === this.#answer) {
      this.#onEnd(outcome);
    }
  }

  #onItem(item: Item): void {
    const { reduce, onItem } = this.#input.current.options;
    if (reduce) {
      callApp(() => {
        this.#data = reduce(this.#data as Data, item);
      });
    }
    this.#items.add(item, this.#maxItems);
    callApp(() => onItem?.(item));
    this.#frames.request(this.#render);
  }

  #onEnd(outcome: RunOutcome): void {
    this.#outcome = outcome;
    this.#error = outcome.error;
    this.#status = 'closed';
    if (this.#isMounted) {
      const { onEnd } = this.#input.current.options;
      callApp(() => onEnd?.(outcome));
      this.#frames.request(this.#render);
    }
  }

  #onStatus(status: StreamStatus): void {
    // Items may still wait to be read: the outcome closes it.
    if (status !== 'closed') {
      this.#status = status;
      this.#error = status === 'open' ? undefined : this.#error;
      this.#frames.request(this.#render);
    }
  }

  #onError(error: SseClientError): void {
    this.#error = error;
    const { onError } = this.#input.current.options;
    callApp(() => onError?.(error));
    this.#frames.request(this.#render);
  }

  get #maxItems(): number {
    const { maxItems, reduce } = this.#input.current.options;
    return maxItems ?? (reduce ? 0 : DEFAULT_MAX_ITEMS);
  }

  #initialData(): Data | undefined {
    const { initialData } = this.#input.current.options;
    return typeof initialData === 'function' ? (initialData as () => Data)() : initialData;
  }

  #current(): RunSnapshot<Item, Data> {
    return {
      id: this.#answer?.id,
      data: this.#data,
      items: this.#items.list(this.#maxItems),
      status: this.#status,
      isRunning: this.#status !== 'idle' && this.#status !== 'closed',
      outcome: this.#outcome,
      error: this.#error,
    };
  }

  readonly #render = (): void => {
    this.#snapshot = this.#current();
    this.#listener?.();
  };
}
