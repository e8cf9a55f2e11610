import type { StreamFormat } from '../format.js';

/**
 * For clients of one's own: each item is a message of JSON, a string as well. The last event is `done`,
 * or `error` with `{ message, status, reason }`.
 */
export function json(): StreamFormat {
  return {
    // A string that were sent as it is could not be told from JSON.
    encode: (item) => ({ data: typeof item === 'string' ? { toJSON: () => item } : item }),
    error: ({ reason, message, status }) => ({ type: 'error', data: { message, status, reason } }),
    done: () => ({ type: 'done', data: null }),
  };
}
