import { get, request } from 'node:http';
import type { ClientRequest } from 'node:http';
import { EventStreamParser } from '../../../lib/testing/event-stream.parser.js';

/** What a GET of a stream was answered, as far as it matters here. */
export type Answer = 'in' | 'ticket' | 'none' | 'later' | 'unknown';

/** A request that is not answered within this is one that never is. */
const ANSWER_MS = 60_000;

/** A GET of a stream. */
export class Stream {
  /** What came first: an event, a 204, or an end without an event. */
  readonly answer: Promise<Answer>;
  /** Resolves when it is over, on this side. */
  readonly over: Promise<void>;
  /** When its last byte came. */
  seenAt = Date.now();
  isOver = false;
  readonly #request: ClientRequest;

  constructor(url: string, user: string) {
    this.#request = get(url, { agent: false, headers: { 'x-user': user } });
    let onAnswer!: (answer: Answer) => void;
    let onOver!: () => void;
    this.answer = new Promise((resolve) => (onAnswer = resolve));
    this.over = new Promise<void>((resolve) => (onOver = resolve)).then(() => void (this.isOver = true));
    const parser = new EventStreamParser({
      event: ({ type }) => onAnswer(type === 'ticket' ? 'ticket' : 'in'),
      comment: () => undefined,
      retry: () => undefined,
    });
    const end = (last: Answer) => {
      onAnswer(last);
      onOver();
    };
    this.#request.on('error', () => end('unknown'));
    this.#request.on('response', (response) => {
      response.on('data', (bytes: Buffer) => {
        this.seenAt = Date.now();
        parser.push(bytes);
      });
      response.on('error', () => end('unknown'));
      response.on('close', () => {
        const isShed = response.complete && response.statusCode === 200;
        end(response.statusCode === 204 ? 'none' : isShed ? 'later' : 'unknown');
      });
    });
  }

  leave(): void {
    this.#request.destroy();
  }
}

/** Asks for something that is no stream. @throws if it is not answered, or not with 200 */
export function ask<T>(url: string, method = 'GET'): Promise<T> {
  return new Promise((resolve, reject) => {
    const asked = request(url, { agent: false, method }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => (text += part));
      response.on('error', reject);
      response.on('end', () =>
        response.statusCode === 200
          ? resolve(JSON.parse(text) as T)
          : reject(new Error(`${method} ${url} was answered ${response.statusCode}: ${text}`)),
      );
    });
    asked.setTimeout(ANSWER_MS, () => asked.destroy(new Error(`${method} ${url} was never answered.`)));
    asked.on('error', reject).end();
  });
}
