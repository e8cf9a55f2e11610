import type { StreamFormat } from '../format.js';

/**
 * A format for clients of your own: each item, even a string, is a message of JSON. The last event is `done`, or
 * `error` with `{ message, status, reason }`.
 */
export function json(): StreamFormat {
  return {
    // A string sent unquoted could be taken for JSON, for example "1".
    encode: (item) => ({ data: typeof item === 'string' ? { toJSON: () => item } : item }),
    error: ({ reason, message, status }) => ({ type: 'error', data: { message, status, reason } }),
    done: () => ({ type: 'done', data: null }),
  };
}
