import type { StreamFormat } from '../format.js';
import { typedItem } from './typed-item.js';

const DONE = { data: '[DONE]' };

/**
 * The UI message stream of the AI SDK, version 1: `data: {"type":…}` for each chunk, and `data: [DONE]` at the end. As
 * with the SDK's own server, `[DONE]` also follows a failure or an abort. The SDK throws on chunks that it does not
 * know: nothing else is sent between them.
 *
 * @see https://ai-sdk.dev/docs/ai-sdk-ui/stream-protocol
 */
export function aiSdk(): StreamFormat {
  return {
    headers: { 'x-vercel-ai-ui-message-stream': 'v1' },
    encode: (item) => ({
      data: typedItem(item, 'ai-sdk', 'chunks of a UI message, as toUIMessageStream() does'),
    }),
    error: ({ message }) => [{ data: { type: 'error', errorText: message } }, DONE],
    done: () => DONE,
    abort: () => [{ data: { type: 'abort' } }, DONE],
  };
}
