import type { StreamFailure, StreamFormat } from '../format.js';
import { objectItem } from './typed-item.js';

/**
 * Chat completions: `data: {…}` for each chunk, `data: [DONE]` at the end. To the `openai` package an
 * end without `[DONE]` is as good as one with it, so that a failure is an error frame, and no `[DONE]`
 * follows it for clients that look for nothing else.
 *
 * @see https://platform.openai.com/docs/api-reference/chat-streaming
 */
export function openai(): StreamFormat {
  return {
    encode: (item) => ({ data: objectItem(item, 'openai', 'chunks, as the `openai` package does') }),
    error: (failure) => ({ data: { error: errorOf(failure) } }),
    done: () => ({ data: '[DONE]' }),
  };
}

function errorOf({ reason, message, status = 500 }: StreamFailure) {
  const type = status >= 400 && status < 500 ? 'invalid_request_error' : 'server_error';
  const code = status === 429 ? 'rate_limit_exceeded' : reason === 'error' ? null : reason;
  return { message, type, param: null, code };
}
