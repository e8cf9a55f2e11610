import { Inject, Injectable } from '@nestjs/common';
import { ConnectionRegistry } from './connection/index.js';
import type { EventStreamResponse, FeedDescription } from './connection/index.js';
import type { Reporter } from './errors/index.js';
import type { EventLogStore } from './log/index.js';
import { Runs } from './runs/index.js';
import { EVENT_LOG_STORE } from './sse.module-definition.js';
import { SseReporter } from './sse.reporter.js';
import type { DeadlineWheel } from './time/index.js';

/** Injection token of {@link Inspection}, for the inspector, which is a module of its own. */
export const INSPECTION = Symbol.for('nestjs-event-stream:inspection');

/** An open connection of this process. */
export interface InspectedConnection {
  /** Made when it is first asked for: most connections are never looked at. */
  readonly id: string;
  readonly keys: readonly string[];
  readonly route: string;
  /** The client, as the framework sees it behind its trusted proxies; empty if it is not known. */
  readonly address: string;
  /** When its headers were sent, in milliseconds since 1970; undefined before that. */
  readonly openedAt: number | undefined;
  /** Bytes that wait in this process for the client. */
  readonly queuedBytes: number;
  /** What it follows; undefined if it follows nothing. */
  readonly feed: FeedDescription | undefined;
}

/** A run that this process produces, or has clients of. */
export interface InspectedRun {
  readonly id: string;
  readonly owner: string | undefined;
  readonly isProducedHere: boolean;
  /** Clients that are attached here. */
  readonly clients: number;
  /** Records of its log, as far as this process has received them. */
  readonly records: number;
  /** When it was started, in milliseconds since 1970, by the clock of the instance that started it. */
  readonly startedAt: number;
}

/** What the inspector may see of a process and its log, beside the public API. */
@Injectable()
export class Inspection {
  readonly store: EventLogStore;
  readonly reporter: Reporter;
  readonly #registry: ConnectionRegistry;
  readonly #runs: Runs;

  constructor(
    @Inject(EVENT_LOG_STORE) store: EventLogStore,
    @Inject(ConnectionRegistry) registry: ConnectionRegistry,
    @Inject(Runs) runs: Runs,
    @Inject(SseReporter) reporter: SseReporter,
  ) {
    this.store = store;
    this.reporter = reporter;
    this.#registry = registry;
    this.#runs = runs;
  }

  get wheel(): DeadlineWheel {
    return this.#registry.wheel;
  }

  /** The open connections. One that opens or closes while they are read may be among them, or not. */
  *connections(): Generator<InspectedConnection, void> {
    for (const response of this.#registry.responses) {
      yield new InspectedResponse(response);
    }
  }

  *runs(): Generator<InspectedRun, void> {
    for (const { id, begin, producer, clients, tail, isFollowing, isLive } of this.#runs.views) {
      if (isLive) {
        const records = isFollowing ? tail.last : 0;
        const isProducedHere = producer?.hasEnded === false;
        yield { id, owner: begin.owner, isProducedHere, clients, records, startedAt: begin.startedAt };
      }
    }
  }
}

/** Reads what is asked for, and keeps nothing. */
class InspectedResponse implements InspectedConnection {
  readonly #response: EventStreamResponse;

  constructor(response: EventStreamResponse) {
    this.#response = response;
  }

  get id(): string {
    return this.#response.forApp.id;
  }

  get keys(): readonly string[] {
    return this.#response.keys;
  }

  get route(): string {
    return this.#response.route;
  }

  get address(): string {
    const { ip, socket } = this.#response.request as {
      ip?: unknown;
      socket?: { remoteAddress?: string } | null;
    };
    return typeof ip === 'string' ? ip : (socket?.remoteAddress ?? '');
  }

  get openedAt(): number | undefined {
    const { openedAt } = this.#response;
    return openedAt === undefined ? undefined : Math.round(performance.timeOrigin) + openedAt;
  }

  get queuedBytes(): number {
    return this.#response.queuedBytes;
  }

  get feed(): FeedDescription | undefined {
    return this.#response.feed?.describe();
  }
}
