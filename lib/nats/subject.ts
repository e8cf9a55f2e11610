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

/** A name of any characters as one token. */
export function tokenOf(name: string): string {
  // Half a pair has no UTF-8, and encodeURIComponent refuses it: a name comes from clients.
  const plain = Array.from(name, (char) =>
    char.isWellFormed() ? encodeURIComponent(char) : `%u${char.charCodeAt(0).toString(16)}`,
  ).join('');
  return plain.replace(/[.*!'()]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`) || '%';
}
