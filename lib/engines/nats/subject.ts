import { createHash } from 'node:crypto';

// Servers take protocol lines of 4,096 bytes by default (max_control_line), and cut the connection of a client that
// sends a longer one. A line holds two subjects and some numbers.
const MAX_TOKEN_BYTES = 255;
// The two wildcards, and our escapes of them, so that each subject belongs to one topic.
const ENCODED = /[*>]|%(?=2A|3E|25)/g;
const DECODED = /%(2A|3E|25)/g;

/**
 * Encodes a topic as the end of a NATS subject. Topics are valid subjects, except for the tokens `*` and `>`, to which
 * no client can publish.
 */
export function subjectOf(topic: string): string {
  return topic.replace(ENCODED, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);
}

export function topicOf(subject: string): string {
  return subject.replace(DECODED, (_, code: string) => String.fromCharCode(Number.parseInt(code, 16)));
}

/**
 * Encodes any name as one token of at most 255 bytes. A longer name becomes a digest after `%h`; no other token begins
 * so.
 */
export function subjectTokenOf(name: string): string {
  // encodeURIComponent throws for a lone surrogate, and a name may come from a client.
  const plain = Array.from(name, (char) =>
    char.isWellFormed() ? encodeURIComponent(char) : `%u${char.charCodeAt(0).toString(16)}`,
  ).join('');
  const token = plain.replace(/[.*!'()]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);
  if (token.length > MAX_TOKEN_BYTES) {
    return `%h${createHash('sha256').update(token).digest('hex')}`;
  }
  return token || '%';
}
