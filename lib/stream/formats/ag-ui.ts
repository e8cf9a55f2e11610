import type { StreamFailure, StreamFormat } from '../format.js';
import { typedItem } from './typed-item.js';

interface Run {
  readonly threadId: unknown;
  readonly runId: unknown;
}

/**
 * The Agent User Interaction protocol: `data: {"type":…}`, `RUN_FINISHED` the last, or `RUN_ERROR`. A
 * source that has sent its last event has it sent once; one that has not gets `RUN_FINISHED`, with the
 * thread and the run of its `RUN_STARTED`.
 *
 * @see https://docs.ag-ui.com/concepts/events
 */
export function agUi(): StreamFormat {
  let run: Run | undefined;
  let hasEnded = false;
  return {
    encode(item) {
      const data = typedItem(item, 'ag-ui', 'events of AG-UI');
      if (data.type === 'RUN_STARTED') {
        const { threadId, runId } = data as unknown as Run;
        run = { threadId, runId };
        hasEnded = false;
      }
      hasEnded ||= data.type === 'RUN_FINISHED' || data.type === 'RUN_ERROR';
      return { data };
    },
    error: (failure) => ({ data: runError(failure.message, codeOf(failure)) }),
    done() {
      if (hasEnded) {
        return undefined;
      }
      // The client wants the ids of the run, and takes nothing for an answer that has not begun.
      return {
        data: run ? { type: 'RUN_FINISHED', ...run } : runError('The run has ended before it started.'),
      };
    },
    abort: () => ({ data: runError('The run was aborted.', 'abort') }),
  };
}

function runError(message: string, code?: string) {
  return { type: 'RUN_ERROR', message, code };
}

function codeOf({ reason, status }: StreamFailure): string | undefined {
  return reason === 'error' ? status?.toString() : reason;
}
