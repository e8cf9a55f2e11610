import { parsePosition } from '../wire/position.js';
import { SseClientError } from './client.error.js';
import type { ReadState } from './feed.types.js';
import { backoffMs } from './settings.js';
import type { ClientSettings } from './settings.js';

const STATE_WAIT_MS = 30_000;

/** A state, and the place that it is of if that is known. */
export interface PlacedState<State> {
  readonly data: State;
  readonly at: string | undefined;
}

/**
 * Reads the app's state until that succeeds: one that fails, or does not settle, is asked again.
 *
 * @returns a function that cancels it: neither listener is called after that
 */
export function readState<State>(
  read: ReadState<State>,
  settings: ClientSettings,
  onState: (state: PlacedState<State>) => void,
  onError: (error: SseClientError) => void,
): () => void {
  let controller: AbortController | undefined;
  let timer: ReturnType<typeof setTimeout>;
  let isCanceled = false;
  const fail = (cause: unknown, failures: number): void => {
    if (!isCanceled) {
      timer = setTimeout(() => void tryOnce(failures + 1), backoffMs(settings, failures));
      onError(new SseClientError('state-failed', `state() failed: ${String(cause)}`, { cause }));
    }
  };
  const tryOnce = async (failures: number): Promise<void> => {
    const { signal } = (controller = new AbortController());
    let state: Awaited<ReturnType<typeof read>>;
    try {
      state = await new Promise((resolve, reject) => {
        signal.addEventListener('abort', () => reject(new Error(`nothing within ${STATE_WAIT_MS} ms`)));
        timer = setTimeout(() => controller!.abort(), STATE_WAIT_MS);
        // Not resolved with the promise itself: of one that hangs the abort must win.
        read({ signal }).then(resolve, reject);
      });
    } catch (cause) {
      clearTimeout(timer);
      fail(cause, failures);
      return;
    }
    clearTimeout(timer);
    if (!isCanceled) {
      onState(placedState(state));
    }
  };
  void tryOnce(0);
  return () => {
    isCanceled = true;
    controller?.abort();
    clearTimeout(timer);
  };
}

function placedState<State>(
  state: State | { readonly data: State; readonly at: string },
): PlacedState<State> {
  const { data, at } = (state ?? {}) as { data?: unknown; at?: unknown };
  return typeof at === 'string' && parsePosition(at) && data !== undefined
    ? { data: data as State, at }
    : { data: state as State, at: undefined };
}

/** Whether an event's id is not after a place: both of one epoch. Of anything else nothing is known. */
export function isUpTo(place: string | undefined, id: string | undefined): boolean {
  const at = place && parsePosition(place);
  const own = id && parsePosition(id);
  return Boolean(at && own && at.epoch === own.epoch && own.sequence <= at.sequence);
}
