import type { StreamFailure, StreamFormat } from '../format.js';
import { objectItem } from './typed-item.js';

/**
 * OpenAI's chat completions: `data: {…}` for each chunk, and `data: [DONE]` at the end. The `openai` package takes an
 * end without `[DONE]` for success, so a failure is sent as an error frame. No `[DONE]` follows it: for other clients,
 * the missing `[DONE]` is the only sign of the failure.
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
