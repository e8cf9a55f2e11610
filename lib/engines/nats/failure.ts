import { cannotReach, unreachable } from '../index.js';
import { SseError } from '../../errors/index.js';

/** JetStream's error codes that this package handles. */
export const API_ERRORS = {
  streamNotFound: 10059,
  streamNameInUse: 10058,
  subjectsOverlap: 10065,
} as const;

// In a cluster, the second code comes without the sequence: another message for the place may still be pending.
const WRONG_LAST_SEQUENCE = [10_071, 10_164];
// JetStream, or the compared place, cannot be used at the moment; or this message is already pending.
const NOT_NOW = [10_008, 10_163, 10_158];

/** Returns whether another message has the place of this one. */
export function isWrongLastSequence(code: number): boolean {
  return WRONG_LAST_SEQUENCE.includes(code);
}

/** Returns whether the same message can be stored later, or is already pending. */
export function isNotNow(code: number | undefined): boolean {
  return code !== undefined && NOT_NOW.includes(code);
}

/** Returns JetStream's code of an error; undefined if JetStream did not send it, as after a timeout. */
export function apiErrorOf(error: unknown): number | undefined {
  // By shape: the app may have another copy of the library, with other classes.
  const { name, code } = error as { name?: unknown; code?: unknown };
  const isApiError =
    typeof name === 'string' && /^(JetStreamApi|StreamNotFound|ConsumerNotFound)Error$/.test(name);
  return isApiError && typeof code === 'number' ? code : undefined;
}

export function isTimeout(error: unknown): boolean {
  return (
    error instanceof Error &&
    (error.name === 'TimeoutError' || (error.cause instanceof Error && isTimeout(error.cause)))
  );
}

export function unavailable(error: unknown): SseError {
  if (error instanceof SseError) {
    return error;
  }
  const message = error instanceof Error ? error.message : String(error);
  const what = unreachable('NATS', error) ?? `NATS did not do what the log asked for: ${message}.`;
  return new SseError('log-unavailable', what, { cause: error });
}

/** Describes a failed dial. The library's timeout error has neither the address nor the time. */
export function notReached(error: unknown, servers: string, timeoutMs: number): unknown {
  const reason = isTimeout(error)
    ? `${cannotReach('NATS', servers)}: no answer within ${Math.ceil(timeoutMs)} ms`
    : unreachable('NATS', error, servers);
  return reason === undefined ? error : new SseError('log-unavailable', reason, { cause: error });
}

export function closed(isOutcomeKnown?: boolean): SseError {
  return new SseError('closed', 'The log is closed: the app is shutting down.', { isOutcomeKnown });
}

export function leaseLost(what = 'nothing was appended'): SseError {
  return new SseError('lease-lost', `The lease is over: ${what}.`, { isOutcomeKnown: true });
}
