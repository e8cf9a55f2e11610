import { SseClientError } from './client.error.js';
import type { RunAnswer } from './run-answer.js';

/** How the stream of an answer may end before its last item. */
export interface AnswerStreamOptions {
  /** Ends the stream with its reason, as it does with that of a `fetch`. */
  readonly signal: AbortSignal | undefined;
  /** The signal has aborted: what becomes of the answer is decided here. */
  readonly onAbort: () => void;
}

/**
 * Waits until an answer has begun, and gives its items as a stream. It is for formats whose items tell of a failure
 * themselves: after such an item the stream ends in order, as it does after the last. An answer that is incomplete for
 * any other reason fails; one that was left fails with an `AbortError`. To cancel the stream leaves the run.
 *
 * @returns null if there is no run to attach to
 * @throws SseClientError why the answer could not be had; or the reason of the signal
 */
export async function openAnswer<Item>(
  answer: RunAnswer<Item>,
  { signal, onAbort }: AnswerStreamOptions,
): Promise<ReadableStream<Item> | null> {
  let controller: ReadableStreamDefaultController<Item> | undefined;
  let refuse!: (reason: unknown) => void;
  const aborted = new Promise<never>((_resolve, reject) => (refuse = reject));
  // It may come later than anything that waits for it.
  aborted.catch(() => undefined);
  const abort = (): void => {
    // One that was left is left: nothing is to be decided.
    if (answer.status !== 'closed') {
      onAbort();
    }
    const reason = reasonOf(signal!);
    refuse(reason);
    controller?.error(reason);
  };
  signal?.addEventListener('abort', abort, { once: true });
  void answer.outcome.then(() => signal?.removeEventListener('abort', abort));
  if (signal?.aborted) {
    abort();
  }

  await Promise.race([answer.begun, aborted]);
  const outcome = answer.status === 'closed' ? await answer.outcome : undefined;
  if (outcome?.reason === 'none') {
    return null;
  }
  if (outcome?.error && !isTold(outcome.error)) {
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
    if (isTold(error)) {
      return { done: true, value: undefined };
    }
    throw error;
  }
}

/** Why a signal has aborted. That of React Native does not tell. */
export function reasonOf({ reason }: AbortSignal): unknown {
  return (reason as unknown) ?? abortError();
}

function abortError(): Error {
  return Object.assign(new Error('The answer was left.'), { name: 'AbortError' });
}

/** Whether the last items tell of a failure. */
function isTold(error: unknown): boolean {
  return error instanceof SseClientError && error.code === 'run-failed';
}
