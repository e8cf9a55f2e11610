import type { Frame } from './frame.parser.js';

/** The formats of a run that the client reads, by the names that `runs.start` takes. */
export type RunFormat = 'json' | 'openai' | 'anthropic' | 'ai-sdk' | 'ag-ui';

/** How a run has ended, by its last frame. */
export interface RunEnding {
  readonly reason: 'done' | 'stopped' | 'failed';
  readonly message?: string;
  /** The status and the reason of the failure, if its frame has them. */
  readonly details?: { readonly status?: number; readonly reason?: string };
}

/** What a frame of a run holds: an item, the end, or both. */
export interface RunFrame {
  readonly item?: unknown;
  readonly end?: RunEnding;
}

type Fields = Readonly<Record<string, unknown>>;

/** The frame that ends an answer of a format, and the one of its failure: the event's type, or the item's. */
const CLOSING: Readonly<Record<RunFormat, { readonly last?: string; readonly failed?: string }>> = {
  json: { last: 'done', failed: 'error' },
  openai: {},
  anthropic: { last: 'message_stop', failed: 'error' },
  'ai-sdk': { failed: 'error' },
  'ag-ui': { last: 'RUN_FINISHED', failed: 'RUN_ERROR' },
};

/** Reads the frames of one run. @throws SyntaxError for data that is no JSON */
export function runReader(format: RunFormat): (frame: Frame & { readonly data: string }) => RunFrame {
  const { last, failed } = CLOSING[format];
  const isJson = format === 'json';
  const isAiSdk = format === 'ai-sdk';
  /** Of `ai-sdk`, where a failure stands before the frame that ends every answer. */
  let end: RunEnding = { reason: 'done' };
  return ({ type, data }) => {
    if ((isAiSdk || format === 'openai') && data === '[DONE]') {
      return { end };
    }
    const item = JSON.parse(data) as Fields | null;
    const kind = isJson ? type : (item?.['type'] ?? '');
    if (kind === last) {
      return isJson ? { end } : { item, end };
    }
    if (isAiSdk && kind === 'abort') {
      end = { reason: 'stopped' };
    }
    if (kind !== failed && !(format === 'openai' && item?.['error'])) {
      return { item };
    }
    const failure = failureOf(item);
    if (isAiSdk) {
      end = failure;
      return { item };
    }
    return format === 'ag-ui' ? { item, end: failure } : { end: failure };
  };
}

function failureOf(item: Fields | null): RunEnding {
  const own = (item?.['error'] ?? item ?? {}) as Fields;
  const { message = own['errorText'], status, reason = own['code'] } = own;
  return {
    reason: reason === 'aborted' || reason === 'abort' ? 'stopped' : 'failed',
    message: typeof message === 'string' ? message : 'The run has failed.',
    details: {
      ...(typeof status === 'number' && { status }),
      ...(typeof reason === 'string' && { reason }),
    },
  };
}
