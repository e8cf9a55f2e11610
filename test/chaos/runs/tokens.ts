import type { StreamFormat, StreamFormatName } from 'nestjs-event-stream';

/** The format of a run: one by name, one as an app brings it, or none. */
export type TokenFormat = 'json' | 'openai' | 'ai-sdk' | 'own' | 'none';

export const FORMATS: readonly TokenFormat[] = ['json', 'openai', 'ai-sdk', 'own', 'none'];

/** One piece of an answer, which says where it belongs. */
export interface Token {
  readonly run: string;
  readonly turn: number;
  /** Whoever made it: a name for each call of a source, in all processes. */
  readonly producer: string;
  readonly index: number;
}

type Event = { readonly type: string | undefined; readonly data: string };

/** What becomes of a run, by the words that a client has heard. */
export type Told = 'done' | 'failed' | undefined;

interface Words {
  readonly format?: StreamFormatName | StreamFormat<Token>;
  item(token: Token): unknown;
  /** The token of an item as `items()` gives it back. */
  tokenOf(item: unknown): Token;
  /** What an event is, where it is no token. */
  wordOf(event: Event): string | undefined;
  readonly done: string;
  readonly failed: readonly string[];
}

const OWN: StreamFormat<Token> = {
  headers: { 'x-own-format': '1' },
  encode: (token) => ({ type: 'token', data: token }),
  error: ({ reason }) => [{ type: 'oops', data: reason }, { data: 'over' }],
  done: () => [{ type: 'fine', data: '' }, { data: 'over' }],
  abort: () => ({ type: 'halt', data: '' }),
};
const isNamed = ({ type = 'message' }: Event, name: string) => type === name;
const parsed = (text: string) => JSON.parse(text) as { [name: string]: unknown };

// Written apart from the package: what it says is held against this.
const WORDS: Readonly<Record<TokenFormat, Words>> = {
  json: {
    format: 'json',
    item: (token) => token,
    tokenOf: (item) => item as Token,
    wordOf: (event) => (isNamed(event, 'message') ? undefined : event.type),
    done: 'done',
    failed: ['error'],
  },
  openai: {
    format: 'openai',
    item: (token) => ({ choices: [{ index: 0, delta: { content: JSON.stringify(token) } }] }),
    tokenOf: (item) => {
      const { choices } = item as { choices: [{ delta: { content: string } }] };
      return JSON.parse(choices[0].delta.content) as Token;
    },
    wordOf: ({ data }) => (data === '[DONE]' ? data : 'error' in parsed(data) ? 'error' : undefined),
    done: '[DONE]',
    failed: ['error'],
  },
  'ai-sdk': {
    format: 'ai-sdk',
    item: (token) => ({ type: 'text-delta', id: 't', delta: JSON.stringify(token) }),
    tokenOf: (item) => JSON.parse((item as { delta: string }).delta) as Token,
    wordOf: ({ data }) => {
      if (data === '[DONE]') {
        return data;
      }
      const { type } = parsed(data) as { type: string };
      return type === 'text-delta' ? undefined : type;
    },
    done: '[DONE]',
    failed: ['error,[DONE]', 'abort,[DONE]'],
  },
  own: {
    format: OWN,
    item: (token) => token,
    tokenOf: (item) => item as Token,
    wordOf: (event) => (isNamed(event, 'token') ? undefined : (event.type ?? 'message')),
    done: 'fine,message',
    failed: ['oops,message', 'halt'],
  },
  none: {
    item: (token) => ({ type: 'token', data: token }),
    tokenOf: (item) => (item as { data: Token }).data,
    wordOf: (event) => (isNamed(event, 'token') ? undefined : (event.type ?? 'message')),
    done: '',
    failed: ['error'],
  },
};

/** What a source gives for a token. */
export function itemOf(format: TokenFormat, token: Token): unknown {
  return WORDS[format].item(token);
}

export function formatOf(format: TokenFormat): StreamFormatName | StreamFormat | undefined {
  return WORDS[format].format;
}

export function tokenOfItem(format: TokenFormat, item: unknown): Token {
  return WORDS[format].tokenOf(item);
}

/** A token, or the word that an event is. */
export function readEvent(format: TokenFormat, event: Event): { token: Token } | { word: string } {
  const { wordOf, tokenOf } = WORDS[format];
  const word = wordOf(event);
  if (word !== undefined) {
    return { word };
  }
  const item: unknown = JSON.parse(event.data);
  return { token: tokenOf(format === 'none' ? { data: item } : item) };
}

/** What words, all of them together, say of an answer; undefined where they are not all that there must be. */
export function toldBy(format: TokenFormat, words: readonly string[]): Told {
  const { done, failed } = WORDS[format];
  const said = words.join();
  return said === done ? 'done' : failed.includes(said) ? 'failed' : undefined;
}

/** Whether words are those of a failure, or the first of them: a page may leave before the next. */
export function beginsFailure(format: TokenFormat, words: readonly string[]): boolean {
  return WORDS[format].failed.some((failed) => `${failed},`.startsWith(`${words.join()},`));
}

/** Whether a client can know by words alone that an answer is complete. */
export function hasWordOfEnd(format: TokenFormat): boolean {
  return WORDS[format].done !== '';
}
