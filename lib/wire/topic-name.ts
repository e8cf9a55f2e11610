import { show } from '../errors/show.js';
import { SseError } from '../errors/sse.error.js';
import { MAX_TOPIC_LENGTH, MAX_TOPIC_TOKENS } from './topic.js';

// Printable ASCII without a space: valid in NATS subjects, Redis keys and log lines.
const TOKEN = /^[!-~]+$/;
// The characters of an escaped value.
const GLUE = /^[A-Za-z0-9_%-]*$/;

/**
 * Makes a topic or a pattern from a template. Each value becomes one token, so that an id such as `*`, `>` or `a.b`
 * names only itself. Characters other than letters, digits, `_` and `-` are percent-encoded as UTF-8. An empty value
 * becomes `%`.
 *
 * Put a dot between two values, or another character that is escaped within a value. With `-` between them, the values
 * `1-2` and `3` would name the same topic as `1` and `2-3`.
 *
 * @example topic`orders.${orderId}.status`; to follow all topics of a user, topic`users.${userId}.>`
 * @throws SseError `topic-invalid` if a value is no string, number, bigint or boolean, or nothing escaped stands
 * between two values
 */
export function topic(
  strings: TemplateStringsArray,
  ...values: (string | number | bigint | boolean)[]
): string {
  refuseGlued(strings);
  return strings.reduce((name, part, index) => `${name}${tokenOf(values[index - 1]!)}${part}`);
}

function refuseGlued(strings: TemplateStringsArray): void {
  const glue = strings.slice(1, -1).find((part) => GLUE.test(part));
  if (glue !== undefined) {
    throw new SseError(
      'topic-invalid',
      `Two values of a topic are glued by ${show(glue)}, which a value may hold: other values would give the same ` +
        'topic. Put a dot between them, so that each is a token.',
    );
  }
}

/** Escapes a value to one token: see {@link topic}. */
export function tokenOf(value: unknown): string {
  if (!['string', 'number', 'bigint', 'boolean'].includes(typeof value)) {
    throw new SseError(
      'topic-invalid',
      `A value in a topic is a string, a number or a boolean, got ${show(value)}.`,
    );
  }
  return String(value).replace(/[^A-Za-z0-9_-]/gu, escape) || '%';
}

function escape(char: string): string {
  // A lone surrogate has no UTF-8. As U+FFFD, all lone surrogates would be one token.
  if (!char.isWellFormed()) {
    return `%u${char.charCodeAt(0).toString(16).toUpperCase()}`;
  }
  const bytes = [...new TextEncoder().encode(char)];
  return bytes.map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`).join('');
}

/** Returns the name of a topic or a pattern. Any other value is returned as it is, for the caller to refuse. */
export function nameOf(topic: unknown): unknown {
  return typeof topic === 'object' && topic !== null && 'pattern' in topic ? topic.pattern : topic;
}

/**
 * Splits a topic into its tokens.
 *
 * @throws SseError `topic-invalid`
 */
export function parseTopic(name: unknown): string[] {
  const tokens = parseTokens(name, 'Topic');
  const wildcard = tokens.find((token) => token === '*' || token === '>');
  if (wildcard) {
    throw new SseError(
      'topic-invalid',
      `Topic ${show(name)} has the wildcard "${wildcard}". Events are published to one topic; ` +
        'a value that may hold such characters belongs into the topic`…` template, which escapes it.',
    );
  }
  return tokens;
}

/**
 * Splits a pattern into its tokens. `*` stands for one token; `>`, only at the end, for one or more.
 *
 * @throws SseError `topic-invalid`
 */
export function parsePattern(name: unknown): string[] {
  const tokens = parseTokens(name, 'Pattern');
  const rest = tokens.indexOf('>');
  if (rest !== -1 && rest !== tokens.length - 1) {
    throw new SseError(
      'topic-invalid',
      `Pattern ${show(name)} has ">" before its end. It stands for all the rest.`,
    );
  }
  return tokens;
}

function parseTokens(name: unknown, what: string): string[] {
  if (typeof name !== 'string') {
    throw new SseError('topic-invalid', `${what} is a string of tokens joined by dots, got ${show(name)}.`);
  }
  if (name.length === 0 || name.length > MAX_TOPIC_LENGTH) {
    throw new SseError(
      'topic-invalid',
      `${what} ${show(name)} has ${name.length} characters; it has 1 to ${MAX_TOPIC_LENGTH}.`,
    );
  }
  const tokens = name.split('.');
  if (tokens.length > MAX_TOPIC_TOKENS) {
    throw new SseError(
      'topic-invalid',
      `${what} ${show(name)} has ${tokens.length} tokens; it has ${MAX_TOPIC_TOKENS} at most.`,
    );
  }
  for (const token of tokens) {
    refuseToken(token, name, what);
  }
  return tokens;
}

function refuseToken(token: string, name: string, what: string): void {
  if (token === '') {
    throw new SseError('topic-invalid', `${what} ${show(name)} has an empty token: a dot too many.`);
  }
  if (!TOKEN.test(token)) {
    throw new SseError(
      'topic-invalid',
      `${what} ${show(name)} contains a space or a character that is not printable ASCII. ` +
        'Topics are tokens joined by dots; the topic`…` template escapes a value.',
    );
  }
  if (token.length > 1 && /[*>]/.test(token)) {
    throw new SseError(
      'topic-invalid',
      `${what} ${show(name)} has a wildcard within the token ${show(token)}. "*" and ">" stand alone between dots.`,
    );
  }
}
