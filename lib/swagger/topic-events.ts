import type { ResetReason } from '../index.js';
import type { NamedEvent } from './event-schema.js';

// An object, so that the compiler misses none.
const REASONS: Readonly<Record<ResetReason, true>> = {
  trimmed: true,
  diverged: true,
  regressed: true,
  epoch: true,
  limit: true,
  invalid: true,
};

/** What a stream that follows topics says of its own accord. */
export function topicEvents({ resetEvent = 'reset', cursorEvent = 'cursor' }): NamedEvent[] {
  return [
    {
      name: resetEvent,
      description:
        'Something is missing that cannot be replayed: fetch your state anew, then go on from this id.',
      schema: {
        type: 'object',
        required: ['reason'],
        properties: { reason: { type: 'string', enum: Object.keys(REASONS) } },
      },
    },
    {
      name: cursorEvent,
      description: 'The place in the stream, in `id`, for a client that has seen no event yet.',
      schema: { type: 'object' },
    },
  ];
}
