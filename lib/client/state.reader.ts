import { parsePosition } from '../wire/position.js';
import { askApp } from './ask-app.js';
import { failure } from './client.error.js';
import type { SseClientError } from './client.error.js';
import type { ReadState } from './feed.types.js';
import { backoffMs } from './settings.js';
import type { ClientSettings } from './settings.js';

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
  const canceled = new AbortController();
  let timer: ReturnType<typeof setTimeout>;
  const tryOnce = async (failures: number): Promise<void> => {
    let state: Awaited<ReturnType<typeof read>>;
    try {
      state = await askApp((signal) => read({ signal }), canceled.signal);
    } catch (cause) {
      if (!canceled.signal.aborted) {
        timer = setTimeout(() => void tryOnce(failures + 1), backoffMs(settings, failures));
        onError(failure('state-failed', 'state() failed', cause));
      }
      return;
    }
    if (!canceled.signal.aborted) {
      onState(placedState(state));
    }
  };
  void tryOnce(0);
  return () => {
    canceled.abort();
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
