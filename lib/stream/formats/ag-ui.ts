import type { StreamFailure, StreamFormat } from '../format.js';
import { typedItem } from './typed-item.js';

interface Run {
  readonly threadId: unknown;
  readonly runId: unknown;
}

/**
 * The Agent User Interaction protocol: `data: {"type":…}` for each event, and `RUN_FINISHED` or `RUN_ERROR` at the end.
 * If the source has yielded its last event itself, no other is added. Otherwise `RUN_FINISHED` is added, with the
 * thread and the run of `RUN_STARTED`.
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
      // RUN_FINISHED needs the ids of the run, and the client accepts it only after RUN_STARTED.
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
