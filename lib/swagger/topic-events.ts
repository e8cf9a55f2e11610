import type { ResetReason } from '../index.js';
import type { NamedEvent } from './event-schema.js';

// An object, so that the compiler reports a missing reason.
const REASONS: Readonly<Record<ResetReason, true>> = {
  trimmed: true,
  diverged: true,
  regressed: true,
  epoch: true,
  limit: true,
  invalid: true,
};

/** Documents the events that this package itself sends on a stream that follows topics. */
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
