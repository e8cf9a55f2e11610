import { onAbort } from './ask-app.js';
import { SseClientError } from './client.error.js';
import type { RunAnswer } from './run-answer.js';

/** How the stream of an answer may end before its last item. */
export interface AnswerStreamOptions {
  /** Ends the stream with its reason, as in `fetch`. */
  readonly signal: AbortSignal | undefined;
  /** The signal has aborted: stop the answer here, or leave it. */
  readonly onAbort: () => void;
}

/**
 * Waits until an answer has begun, and gives its items as a stream. It is for formats in which a failure of the run is
 * an item: after that item the stream ends in order, as it does after the last. An answer that is incomplete for any
 * other reason fails; one that was left fails with an `AbortError`. Canceling the stream leaves the run.
 *
 * @returns null if there is no run to attach to
 * @throws SseClientError why the answer could not be had; or the reason of the signal
 */
export async function openAnswer<Item>(
  answer: RunAnswer<Item>,
  { signal, onAbort: decide }: AnswerStreamOptions,
): Promise<ReadableStream<Item> | null> {
  let controller: ReadableStreamDefaultController<Item> | undefined;
  let stopWaiting!: () => void;
  const aborted = new Promise<void>((resolve) => (stopWaiting = resolve));
  const forgetSignal = onAbort(signal, () => {
    // An answer that has ended, or was left before, is neither stopped nor left.
    if (answer.status !== 'closed') {
      decide();
    }
    stopWaiting();
    controller?.error(reasonOf(signal!));
  });
  void answer.outcome.then(forgetSignal);

  await Promise.race([answer.begun, aborted]);
  if (signal?.aborted) {
    throw reasonOf(signal);
  }
  const outcome = answer.status === 'closed' ? await answer.outcome : undefined;
  if (outcome?.reason === 'none') {
    return null;
  }
  if (outcome?.error && !isItem(outcome.error)) {
    throw outcome.error;
  }
  const items = answer[Symbol.asyncIterator]();
  return new ReadableStream<Item>(
    {
      start: (own) => void (controller = own),
      pull: async (own) => {
        const next = await nextOf(items);
        if (!next.done) {
          own.enqueue(next.value);
        } else if ((await answer.outcome).reason === 'left') {
          throw abortError();
        } else {
          own.close();
        }
      },
      cancel: () => {
        if (!signal?.aborted) {
          answer.leave();
        }
      },
    },
    { highWaterMark: 0 },
  );
}

async function nextOf<Item>(items: AsyncIterator<Item, unknown>): Promise<IteratorResult<Item, unknown>> {
  try {
    return await items.next();
  } catch (error) {
    if (isItem(error)) {
      return { done: true, value: undefined };
    }
    throw error;
  }
}

/** Why a signal has aborted. A signal of React Native has no reason. */
export function reasonOf({ reason }: AbortSignal): unknown {
  return (reason as unknown) ?? abortError();
}

function abortError(): Error {
  return Object.assign(new Error('The answer was left.'), { name: 'AbortError' });
}

/** Whether an error stands among the items as well. */
function isItem(error: unknown): boolean {
  return error instanceof SseClientError && error.code === 'run-failed';
}
