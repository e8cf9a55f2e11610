import type { Frame } from './frame.parser.js';

/** The formats of a run that the client reads, by the names that `runs.start` takes. */
export type RunFormat = 'json' | 'openai' | 'anthropic' | 'ai-sdk' | 'ag-ui';

/** How a run has ended, by its last frame. */
export interface RunEnding {
  readonly reason: 'done' | 'stopped' | 'failed';
  readonly message?: string;
  /** Of the format `json`: the failure's own status and reason. */
  readonly status?: number;
  readonly cause?: string;
}

/** What a frame of a run holds: an item, the end, or both. */
export interface RunFrame {
  readonly item?: unknown;
  readonly end?: RunEnding;
}

type Fields = Readonly<Record<string, unknown>>;

const DONE: RunEnding = { reason: 'done' };

/** Reads the frames of one run. @throws SyntaxError for data that is no JSON */
export function runReader(format: RunFormat): (frame: Frame & { readonly data: string }) => RunFrame {
  const read = READERS[format];
  if (format !== 'ai-sdk') {
    return read;
  }
  // The failure stands before the frame that ends every answer.
  let end = DONE;
  return (frame) => {
    if (frame.data === '[DONE]') {
      return { end };
    }
    const { item, end: own } = read(frame);
    end = own ?? end;
    return { item };
  };
}

const READERS: Readonly<Record<RunFormat, (frame: Frame & { readonly data: string }) => RunFrame>> = {
  json({ type, data }) {
    const item: unknown = JSON.parse(data);
    if (type === 'done') {
      return { end: DONE };
    }
    return type === 'error' ? { end: failure(item as Fields) } : { item };
  },
  openai({ data }) {
    if (data === '[DONE]') {
      return { end: DONE };
    }
    const item = JSON.parse(data) as { error?: Fields };
    return item.error ? { end: failure({ ...item.error, reason: item.error['code'] }) } : { item };
  },
  anthropic({ data }) {
    const item = JSON.parse(data) as { type: string; error?: Fields };
    if (item.type === 'error') {
      return { end: failure(item.error ?? {}) };
    }
    return item.type === 'message_stop' ? { item, end: DONE } : { item };
  },
  'ai-sdk'({ data }) {
    const item = JSON.parse(data) as { type: string; errorText?: string };
    if (item.type === 'abort') {
      return { item, end: { reason: 'stopped' } };
    }
    return item.type === 'error' ? { item, end: failure({ message: item.errorText }) } : { item };
  },
  'ag-ui'({ data }) {
    const item = JSON.parse(data) as { type: string; code?: string; message?: string };
    if (item.type === 'RUN_ERROR') {
      const reason = item.code === 'abort' ? 'aborted' : item.code;
      return { item, end: failure({ message: item.message, reason }) };
    }
    return item.type === 'RUN_FINISHED' ? { item, end: DONE } : { item };
  },
};

function failure({ message, status, reason }: Fields): RunEnding {
  return {
    reason: reason === 'aborted' ? 'stopped' : 'failed',
    message: typeof message === 'string' ? message : 'The run has failed.',
    ...(typeof status === 'number' && { status }),
    ...(typeof reason === 'string' && { cause: reason }),
  };
}
