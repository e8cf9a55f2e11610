import type { SseClientError } from './client.error.js';
import { RunAnswer } from './run-answer.js';
import type { RunOptions, RunTarget } from './run-answer.js';
import { callApp, clientSettings } from './settings.js';
import type { SseClientOptions } from './settings.js';

type OnError = ((error: SseClientError) => void) | undefined;

const TOO_MANY_REQUESTS = 429;

/** Starts or attaches to a run for the user of an SDK: a question that is refused with 429 fails at once. */
export function runForSdk<Item>(
  client: SseClientOptions,
  target: RunTarget,
  { onError, ...options }: Omit<RunOptions, 'onError'> & { onError: OnError },
): RunAnswer<Item> {
  let hasBegun = !target.start;
  // No SseClient, which would bring all that follows topics into the page.
  const answer = new RunAnswer<Item>(clientSettings(client), target, {
    ...options,
    onError: (error) => {
      callApp(() => onError?.(error));
      // The user decides when to ask again, as with the SDK alone.
      return hasBegun || error.status !== TOO_MANY_REQUESTS;
    },
  });
  void answer.begun.then(() => (hasBegun = true));
  return answer;
}

/** Stops the run of an answer that nothing reads any more. Never rejects. */
export async function stopAndLeave(answer: RunAnswer, onError: OnError): Promise<void> {
  try {
    await answer.stop();
  } catch (error) {
    callApp(() => onError?.(error as SseClientError));
  } finally {
    answer.leave();
  }
}
