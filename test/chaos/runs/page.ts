import { request } from 'node:http';
import type { ClientRequest, IncomingMessage } from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';
import { EventStreamParser } from '../../../lib/testing/event-stream.parser.js';
import type { EventStreamHandlers } from '../../../lib/testing/event-stream.parser.js';
import type { Random } from '../../support/random.js';
import { codingFor, decodedBody } from '../coding.js';
import { HeardWords } from './heard-words.js';
import type { PageRecord, RunPlan, Sight } from './history.js';
import type { RunsInstance } from './runs-instance.js';
import { readEvent } from './tokens.js';

export const PAGE_FAULTS = [
  'a page is cut off',
  'a page is reloaded',
  'a page leaves before it is answered',
  'a page comes to another instance',
] as const;
export type PageFault = (typeof PAGE_FAULTS)[number];

/** What pages are given to live in. */
export interface PageHost {
  readonly random: Random;
  /** Any that is there; undefined where none is. */
  pickInstance(): RunsInstance | undefined;
  count(fault: PageFault): void;
  /** Whether whoever was to start the run has done with it. */
  isOver(id: string): boolean;
  readonly signal: AbortSignal;
}

/** How one request ended. */
type Visit =
  | { readonly kind: 'closed'; readonly how: 'clean' | 'cut' | 'left' }
  | { readonly kind: 'status'; readonly status: number }
  | { readonly kind: 'unreached' };

type Received = Parameters<EventStreamHandlers['event']>[0];
type Plain = Sight extends infer S ? (S extends Sight ? Omit<S, 'at'> : never) : never;

const AGAIN_MS = 30;
const MOST_LEAVES = 4;

/**
 * A user's page: it asks for an answer, or looks at one, loses its connection, is reloaded, comes back, and goes on
 * until it has been told the end.
 */
export class Page implements PageRecord {
  readonly name: string;
  readonly id: string;
  readonly sights: Sight[] = [];
  end: PageRecord['end'];
  /** Streams that it could not decode. */
  readonly faults: string[] = [];
  readonly #plan: RunPlan;
  readonly #host: PageHost;
  readonly #random: Random;
  /** Whether it was ever given something of the run. */
  #hasSeen = false;
  /** Whether nobody asks any more for what it looks for. */
  #cameLate = false;
  readonly #words: HeardWords;
  #after: string | undefined;
  #leaves = 0;
  #instance: RunsInstance | undefined;
  #request: ClientRequest | undefined;

  constructor(name: string, plan: RunPlan, host: PageHost) {
    this.name = name;
    this.id = plan.id;
    this.#plan = plan;
    this.#host = host;
    this.#words = new HeardWords(plan.format);
    this.#random = host.random.fork();
  }

  /** Resolves when it has come to an end, or all is over. */
  async live(first: 'POST' | 'GET'): Promise<void> {
    let method = first;
    while (this.end === undefined && !this.#host.signal.aborted) {
      const visit = await this.#visit(method);
      method = (await this.#judge(visit, first)) ? 'POST' : 'GET';
    }
    // As an EventSource does, which takes no word for the end.
    if (this.end === 'told' && this.#random.next() < 0.2) {
      await this.#visit('GET');
    }
  }

  drop(): void {
    this.#request?.destroy();
  }

  /** Goes on from a visit. @returns whether it asks for the answer again */
  async #judge(visit: Visit, first: 'POST' | 'GET'): Promise<boolean> {
    if (this.#words.told !== undefined) {
      this.end = 'told';
    } else if (visit.kind === 'closed' && visit.how === 'clean') {
      this.end = 'clean';
    } else if (visit.kind === 'closed') {
      if (visit.how === 'left') {
        await this.#beAway();
      }
    } else if (visit.kind === 'unreached') {
      await this.#rest();
    } else if (visit.status === 204) {
      return this.#onNone(first);
    } else if (visit.status === 410) {
      this.#forget();
    } else {
      await this.#onFailure();
    }
    return false;
  }

  async #onNone(first: 'POST' | 'GET'): Promise<boolean> {
    if (this.#hasSeen) {
      this.end = 'none';
    } else if (first === 'GET' && this.#cameLate) {
      this.end = 'nothing';
    } else {
      await this.#rest();
    }
    return first === 'POST';
  }

  /** The run may have failed before it made anything, and then that is its answer; else it is tried again. */
  async #onFailure(): Promise<void> {
    await this.#rest();
    const answer = await this.#host
      .pickInstance()
      ?.ask(`/runs/${this.id}/status`)
      .catch(() => undefined);
    const { state, events } = (answer?.body ?? {}) as { state?: string; events?: number };
    if (answer?.status === 200 && state === 'ended' && events === 0) {
      this.end = 'failed';
    }
  }

  async #beAway(): Promise<void> {
    await this.#rest(this.#random.pick([0, 0, 50, 300]));
    if (this.#random.next() < 0.5) {
      this.#host.count('a page is cut off');
    } else {
      this.#host.count('a page is reloaded');
      this.#forget();
    }
  }

  #forget(): void {
    this.#after = undefined;
    this.#words.forget();
  }

  async #visit(method: 'POST' | 'GET'): Promise<Visit> {
    if (method === 'POST') {
      this.#forget();
    }
    this.#words.reconnect();
    this.#cameLate = this.#host.isOver(this.id);
    const instance = this.#host.pickInstance();
    if (!instance) {
      return { kind: 'unreached' };
    }
    if (this.#instance && this.#instance.slot !== instance.slot) {
      this.#host.count('a page comes to another instance');
    }
    this.#instance = instance;
    this.#see({ kind: 'ask', method, after: this.#after });
    return this.#open(`${instance.base}/runs/${this.id}`, method);
  }

  #open(url: string, method: 'POST' | 'GET'): Promise<Visit> {
    const headers = {
      ...codingFor(this.name),
      ...(this.#after === undefined ? {} : { 'Last-Event-ID': this.#after }),
      ...(method === 'POST' ? { 'Content-Type': 'application/json' } : {}),
    };
    return new Promise((resolve) => {
      const asked = request(url, { method, headers, agent: false });
      this.#request = asked;
      const isHasty = this.#random.next() < 0.06;
      const hasty = isHasty
        ? setTimeout(() => this.#leaveEarly(asked), this.#random.between(1, 40))
        : undefined;
      asked.on('error', () => {
        clearTimeout(hasty);
        resolve({ kind: 'unreached' });
      });
      asked.on('response', (response) => {
        clearTimeout(hasty);
        const status = response.statusCode!;
        this.#see({ kind: 'answer', status });
        if (status !== 200) {
          response.resume().on('error', () => undefined);
          resolve({ kind: 'status', status });
          return;
        }
        void this.#read(asked, response).then((how) => {
          this.#see({ kind: 'close', how });
          resolve({ kind: 'closed', how });
        });
      });
      asked.end(method === 'POST' ? JSON.stringify(this.#plan) : undefined);
    });
  }

  #read(asked: ClientRequest, response: IncomingMessage): Promise<'clean' | 'cut' | 'left'> {
    let hasLeft = false;
    const leave = () => {
      hasLeft = true;
      asked.destroy();
    };
    const { timer, events } = this.#plansToLeave(leave);
    let left = events;
    const handlers: EventStreamHandlers = {
      event: (event) => {
        // What was on its way when it left is not received.
        if (hasLeft) {
          return;
        }
        this.#take(event);
        left -= 1;
        if (left === 0) {
          leave();
        }
      },
      comment: () => undefined,
      retry: () => undefined,
    };
    const parser = new EventStreamParser(handlers, this.#after);
    const body = decodedBody(response)
      .on('data', (bytes) => parser.push(bytes))
      .on('broken', (error) =>
        this.faults.push(`${this.name} could not decode its stream: ${error.message}`),
      );
    return new Promise((resolve) => {
      body.on('close', () => {
        clearTimeout(timer);
        resolve(hasLeft ? 'left' : response.complete ? 'clean' : 'cut');
      });
    });
  }

  /** Before anything was answered. */
  #leaveEarly(asked: ClientRequest): void {
    this.#host.count('a page leaves before it is answered');
    asked.destroy();
  }

  /** When it leaves by itself this time: after some events, after some time, or not at all. */
  #plansToLeave(leave: () => void): { events: number; timer?: NodeJS.Timeout } {
    const kind = this.#random.next();
    if (this.#leaves >= MOST_LEAVES || kind < 0.3) {
      return { events: Infinity };
    }
    this.#leaves += 1;
    if (kind < 0.7) {
      return { events: this.#random.between(1, this.#plan.tokens) };
    }
    return { events: Infinity, timer: setTimeout(leave, this.#random.between(0, 600)) };
  }

  #take({ type, data, id = '', lastEventId }: Received): void {
    // Not by the 200: while the log is away, a GET is told in one to come back.
    this.#hasSeen = true;
    this.#after = lastEventId;
    this.#see({ kind: 'event', id, type, data });
    const read = readEvent(this.#plan.format, { type, data });
    if ('word' in read) {
      this.#words.hear(read.word, id);
    }
  }

  #see(sight: Plain): void {
    this.sights.push({ ...sight, at: Date.now() });
  }

  #rest(ms = AGAIN_MS): Promise<unknown> {
    return pause(ms, undefined, { signal: this.#host.signal }).catch(() => undefined);
  }
}
