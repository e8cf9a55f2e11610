import { createHash } from 'node:crypto';

// Servers take protocol lines of 4,096 bytes by default (max_control_line), and cut the connection of a client that
// sends a longer one. A line holds two subjects and some numbers.
const MAX_TOKEN_BYTES = 255;
// The two wildcards, and our escapes of them, so that each subject stands for one topic alone.
const ENCODED = /[*>]|%(?=2A|3E|25)/g;
const DECODED = /%(2A|3E|25)/g;

/**
 * A topic as the end of a NATS subject. Topics are subjects already, but for `*` and `>`, which a
 * client cannot publish to as tokens.
 */
export function subjectOf(topic: string): string {
  return topic.replace(ENCODED, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);
}

export function topicOf(subject: string): string {
  return subject.replace(DECODED, (_, code: string) => String.fromCharCode(Number.parseInt(code, 16)));
}

/** A name of any characters as one token, of 255 bytes at most: a longer one is a digest, after `%h`, which no other begins with. */
export function tokenOf(name: string): string {
  // Half a pair has no UTF-8, and encodeURIComponent refuses it: a name comes from clients.
  const plain = Array.from(name, (char) =>
    char.isWellFormed() ? encodeURIComponent(char) : `%u${char.charCodeAt(0).toString(16)}`,
  ).join('');
  const token = plain.replace(/[.*!'()]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);
  if (token.length > MAX_TOKEN_BYTES) {
    return `%h${createHash('sha256').update(token).digest('hex')}`;
  }
  return token || '%';
}
