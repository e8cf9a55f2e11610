import type { StoredMsg } from '@nats-io/jetstream';
import type { Msg } from '@nats-io/transport-node';
import { readNumber } from './message.js';
import type { StreamMessage } from './message.js';

/** A message as a consumer delivers it. */
export interface Delivery extends StreamMessage {
  /** Contiguous from 1 for each consumer: a gap is a message that was lost on its way. */
  readonly consumerSequence: number;
  /** How many the consumer has not delivered yet. */
  readonly pending: number;
}

// $JS.ACK.<stream>.<consumer>.<delivered>.<stream sequence>.<consumer sequence>.<nanoseconds>.<pending>; servers that
// know of domains put two more tokens before the stream's.
const PLAIN_TOKENS = 9;

/** @returns undefined for what is no message of a stream, as a heartbeat */
export function deliveryOf(message: Msg): Delivery | undefined {
  if (message.headers?.code || !message.reply?.startsWith('$JS.ACK.')) {
    return undefined;
  }
  const tokens = message.reply.split('.');
  const offset = tokens.length === PLAIN_TOKENS ? 5 : 7;
  const [sequence, consumerSequence, time, pending] = tokens.slice(offset);
  const numbers = [sequence, consumerSequence, time?.slice(0, -6), pending].map(readNumber);
  if (!numbers.every((number) => number !== undefined)) {
    return undefined;
  }
  const { headers } = message;
  return {
    subject: message.subject,
    sequence: numbers[0]!,
    consumerSequence: numbers[1]!,
    time: numbers[2]!,
    pending: numbers[3]!,
    data: message.data,
    header: (name) => headers?.get(name) ?? '',
  };
}

/** A message as it is looked up by itself. */
export function storedOf({ subject, seq, time, data, header }: StoredMsg): StreamMessage {
  return { subject, sequence: seq, time: time.getTime(), data, header: (name) => header.get(name) };
}
