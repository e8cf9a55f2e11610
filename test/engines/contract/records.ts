import type { EventLog, Lease, LogRecord, NewRecord } from '../../../lib/log/index.js';

export const HOUR_MS = 3_600_000;
export const FOREVER = { maxEvents: 100_000, ttlMs: HOUR_MS };
export const NONCE = /^[0-9a-f]{8}$/;
export const NO_NONCE = '00000000';

export const record = (data: unknown, topic = 'a'): NewRecord => ({
  topic,
  data: JSON.stringify(data),
  isJson: true,
});
export const records = (from: number, to: number): NewRecord[] =>
  Array.from({ length: to - from + 1 }, (_, index) => record(from + index));
export const sequencesOf = (list: readonly LogRecord[]): number[] => list.map(({ sequence }) => sequence);
export const range = (from: number, to: number): number[] =>
  Array.from({ length: Math.max(0, to - from + 1) }, (_, index) => from + index);

export const recordsOf = async (log: EventLog): Promise<readonly LogRecord[]> =>
  (await log.page(1, 100_000)).records;

/** A holder that does not know that its lease is gone, as a process that was suspended for a while. */
export const unaware = ({ token }: Lease): Lease => ({
  token,
  signal: new AbortController().signal,
  renew: () => Promise.resolve(true),
  release: () => Promise.resolve(),
});
