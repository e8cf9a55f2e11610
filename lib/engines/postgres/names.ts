import { createHash } from 'node:crypto';

/** The longest name that is kept as it is, in UTF-8 bytes: an index of PostgreSQL has a bound. */
const MAX_NAME_BYTES = 512;
const HASHED = 'sha256:';

/**
 * Returns the name of a named log, a lease or a claim as PostgreSQL keeps it. No two names are the same. A name may come
 * from a client: one that is long, or that PostgreSQL could not store, is hashed.
 */
export function storedName(name: string): string {
  const isPlain =
    Buffer.byteLength(name) <= MAX_NAME_BYTES &&
    name.isWellFormed() &&
    !name.includes('\0') &&
    name !== '' &&
    !name.startsWith(HASHED);
  // By UTF-16, in which also half a surrogate pair has bytes of its own.
  return isPlain ? name : HASHED + createHash('sha256').update(Buffer.from(name, 'utf16le')).digest('hex');
}

/** Returns the channel of a log's notifications. PostgreSQL cuts a name after 63 bytes. */
export function channelOf(schema: string, log: string): string {
  return `nestjs_event_stream_${createHash('sha256').update(`${schema} ${log}`).digest('hex').slice(0, 32)}`;
}
