import { fetchEventSource } from '@microsoft/fetch-event-source';
import { EventSource as EventSourcePackage } from 'eventsource';
import { createEventSource } from 'eventsource-client';
import { EventSource as UndiciEventSource } from 'undici';

/** An event as a client tells it to its user. */
export interface Message {
  type: string;
  data: string;
  lastEventId: string;
}

/** A client at work; it reconnects as it does by itself. */
export interface Subscription {
  readonly messages: Message[];
  /** How often a stream has ended for it, in order or not. */
  ends(): number;
  /** Whether it has given up, or come to an end that is final for it. */
  hasStopped(): boolean;
  close(): void;
}

export interface Oracle {
  readonly name: string;
  /** Comes back when the server ends the response in order, as EventSource does. */
  readonly reconnectsAfterEnd: boolean;
  /** Stays away after a 204, as EventSource does (WHATWG HTML, 9.2.3). */
  readonly stopsAt204: boolean;
  /** Takes a `retry` only at a blank line, which EventSource does not: one at the end of a stream is lost on it. */
  readonly takesRetryAtBlankLine?: boolean;
  /** Can send other methods than GET. */
  readonly posts: boolean;
  /** @param types - of the events to listen for, beside `message` */
  subscribe(url: string, types: string[], init?: { method: string; body: string }): Subscription;
}

type MessageListener = (event: Omit<Message, 'type'>) => void;

const CLOSED = 2;

function subscribeTo(
  source: { readonly readyState: number; close(): void },
  listen: (type: string, listener: MessageListener) => void,
  types: string[],
): Subscription {
  const messages: Message[] = [];
  let ends = 0;
  listen('error', () => (ends += 1));
  for (const type of ['message', ...types]) {
    listen(type, ({ data, lastEventId }) => messages.push({ type, data, lastEventId }));
  }
  return {
    messages,
    ends: () => ends,
    hasStopped: () => source.readyState === CLOSED,
    close: () => source.close(),
  };
}

const likeEventSource = {
  reconnectsAfterEnd: true,
  stopsAt204: true,
  posts: false,
};

/** The clients that run in Node; Chromium's own EventSource is driven elsewhere. */
export const oracles: Oracle[] = [
  {
    name: 'EventSource of undici',
    ...likeEventSource,
    takesRetryAtBlankLine: true,
    subscribe(url, types) {
      const source = new UndiciEventSource(url);
      const listen = (type: string, listener: MessageListener) =>
        source.addEventListener(type, (event) => listener(event as unknown as Message));
      return subscribeTo(source, listen, types);
    },
  },
  {
    name: 'eventsource',
    ...likeEventSource,
    subscribe(url, types) {
      const source = new EventSourcePackage(url);
      return subscribeTo(source, (type, listener) => source.addEventListener(type, listener), types);
    },
  },
  {
    name: 'eventsource-client',
    ...likeEventSource,
    posts: true,
    subscribe(url, _types, init) {
      const messages: Message[] = [];
      let ends = 0;
      const source = createEventSource({
        url,
        ...init,
        ...(init && { headers: { 'content-type': 'application/json' } }),
        onDisconnect: () => (ends += 1),
        onMessage: ({ event = 'message', data }) =>
          messages.push({ type: event, data, lastEventId: source.lastEventId ?? '' }),
      });
      return {
        messages,
        ends: () => ends,
        hasStopped: () => source.readyState === 'closed',
        close: () => source.close(),
      };
    },
  },
  {
    name: '@microsoft/fetch-event-source',
    reconnectsAfterEnd: false,
    stopsAt204: false,
    posts: true,
    subscribe(url, _types, init) {
      imitateBrowser();
      const messages: Message[] = [];
      const abort = new AbortController();
      let hasStopped = false;
      let ends = 0;
      let lastEventId = '';
      fetchEventSource(url, {
        ...init,
        ...(init && { headers: { 'content-type': 'application/json' } }),
        signal: abort.signal,
        openWhenHidden: true,
        onclose: () => (ends += 1),
        onerror: () => void (ends += 1),
        onmessage({ event, data, id }) {
          lastEventId = id || lastEventId;
          messages.push({ type: event || 'message', data, lastEventId });
        },
      }).then(
        () => (hasStopped = true),
        () => (hasStopped = true),
      );
      return { messages, ends: () => ends, hasStopped: () => hasStopped, close: () => abort.abort() };
    },
  },
];

/** What `@microsoft/fetch-event-source` asks of a page: whether it can be seen, and timers. */
function imitateBrowser(): void {
  Object.assign(globalThis, {
    window: globalThis,
    document: { hidden: false, addEventListener() {}, removeEventListener() {} },
  });
}
