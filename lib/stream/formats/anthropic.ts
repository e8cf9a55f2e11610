import type { StreamFailure, StreamFormat } from '../format.js';
import { typedItem } from './typed-item.js';

const ERROR_TYPES: Readonly<Record<number, string>> = {
  401: 'authentication_error',
  402: 'billing_error',
  403: 'permission_error',
  404: 'not_found_error',
  413: 'request_too_large',
  429: 'rate_limit_error',
  503: 'overloaded_error',
  504: 'timeout_error',
  529: 'overloaded_error',
};

/**
 * Anthropic's messages: events named by their type, with `message_stop` as the last. If the source has yielded
 * `message_stop` itself, as the provider's own stream does, no second one is added.
 *
 * @see https://docs.anthropic.com/en/docs/build-with-claude/streaming
 */
export function anthropic(): StreamFormat {
  let hasEnded = false;
  return {
    encode(item) {
      const data = typedItem(item, 'anthropic', 'events, as the `@anthropic-ai/sdk` package does');
      const { type } = data;
      // A ping may follow the end.
      hasEnded = type === 'message_stop' || type === 'error' || (hasEnded && type === 'ping');
      return { type, data };
    },
    error: (failure) => ({
      type: 'error',
      data: { type: 'error', error: { type: errorTypeOf(failure), message: failure.message } },
    }),
    done: () => (hasEnded ? undefined : { type: 'message_stop', data: { type: 'message_stop' } }),
  };
}

function errorTypeOf({ reason, status = 500 }: StreamFailure): string {
  if (reason === 'expired') {
    return 'timeout_error';
  }
  return ERROR_TYPES[status] ?? (status >= 400 && status < 500 ? 'invalid_request_error' : 'api_error');
}
