import type { StoredMsg } from '@nats-io/jetstream';
import type { Msg } from '@nats-io/transport-node';
import { readNumber } from './message.js';
import type { StreamMessage } from './message.js';

/** A message with its place in a consumer's delivery. */
export interface Delivery extends StreamMessage {
  /** Counts from 1 for each consumer. A gap is a message that was lost on its way. */
  readonly consumerSequence: number;
  /** The number of messages that the consumer has not delivered yet. */
  readonly pending: number;
}

// $JS.ACK.<stream>.<consumer>.<delivered>.<stream sequence>.<consumer sequence>.<nanoseconds>.<pending>; servers that
// know of domains put two more tokens before the stream's.
const PLAIN_TOKENS = 9;

/** Reads a delivered message; undefined if it is none of a stream, as a heartbeat. */
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

/** Reads a message that was requested by itself. */
export function storedOf({ subject, seq, time, data, header }: StoredMsg): StreamMessage {
  return { subject, sequence: seq, time: time.getTime(), data, header: (name) => header.get(name) };
}
