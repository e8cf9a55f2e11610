import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import type { SseService } from '../index.js';
import { RepeatedReport } from '../errors/index.js';
import type { NewRecord } from '../log/index.js';
import type { Inspection } from '../sse.inspection.js';
import type { Deadline } from '../time/index.js';
import { InspectorChannel } from './channel.js';
import { KnownInstances } from './known-instances.js';
import { joinParts } from './lists.js';
import type { ListPart, ListQuery, Update } from './protocol.js';
import { closedRecord, closeRecord, listRecord, reportRecord, watchRecord } from './records.js';
import type { InspectorRecord } from './records.js';
import { reportOf } from './report.js';
import { scan } from './scan.js';
import { Watchers } from './watchers.js';

/** What a page that is open here looks at. */
interface View {
  /** Undefined if it looks at no list. */
  readonly query: ListQuery | undefined;
  /** The rows of each instance. */
  readonly parts: Map<string, ListPart>;
  readonly onUpdate: (update: Update) => void;
}

/** What has become of a connection that was to be closed: `silent` if its instance has not answered. */
export type CloseOutcome = 'closed' | 'gone' | 'silent';

// How often each instance reports while a page is open somewhere.
const REPORT_MS = 2_000;
// How often an instance says that a page is open there. Others go on for three times as long.
const WATCH_MS = 5_000;
// Reports of several instances within this time are shown together.
const JOIN_MS = 100;
// The time between two looks at this instance, however often pages ask for something else.
const REST_MS = 200;
const ANSWER_MS = 5_000;
const MAX_PENDING = 100;

/**
 * The inspector of an instance. It shows the reports of all instances to the pages that are open here, and reports this
 * instance while a page is open anywhere. Without a page it does nothing.
 */
export class InspectorHub {
  /** The name of this instance among those that share the log. */
  readonly id = randomBytes(8).toString('base64url');
  readonly #name = `${hostname()}:${process.pid}`;
  readonly #inspection: Inspection;
  readonly #sse: SseService;
  readonly #reports: RepeatedReport;
  readonly #channel: InspectorChannel;
  readonly #instances: KnownInstances;
  readonly #watchers: Watchers;
  readonly #views = new Map<string, View>();
  /** Requests to close a connection on another instance. */
  readonly #pending = new Map<string, (outcome: CloseOutcome) => void>();
  #lastView = 0;
  #toldAt = -Infinity;
  #tickedAt = -Infinity;
  #isTicking = false;
  #isDue = false;
  #nextTick: Deadline | undefined;
  #nextUpdate: Deadline | undefined;
  #isClosed = false;

  constructor(inspection: Inspection, sse: SseService) {
    this.#inspection = inspection;
    this.#sse = sse;
    const { wheel, store } = inspection;
    this.#reports = new RepeatedReport(inspection.reporter);
    this.#instances = new KnownInstances(this.id, () => wheel.now());
    this.#watchers = new Watchers(() => wheel.now(), 3 * WATCH_MS);
    this.#channel = new InspectorChannel(store, {
      wheel,
      reports: this.#reports,
      onRecord: (record) => this.#onRecord(record),
    });
  }

  /** Listens to the other instances. It never rejects, and goes on trying. */
  start(): Promise<void> {
    return this.#channel.start();
  }

  /**
   * Shows a page the reports of all instances, from now on.
   *
   * @param query - the list that it looks at; undefined for none
   * @returns a function that ends it
   */
  open(query: ListQuery | undefined, onUpdate: (update: Update) => void): () => void {
    this.#lastView += 1;
    const name = `${this.id}-${this.#lastView}`;
    this.#views.set(name, { query, parts: new Map(), onUpdate });
    this.#toldAt = -Infinity;
    this.#wake();
    return () => {
      if (this.#views.delete(name)) {
        this.#onViewClosed();
      }
    };
  }

  /** Closes a connection, on whichever instance it is. */
  async closeConnection(instance: string, connection: string): Promise<CloseOutcome> {
    if (instance === this.id) {
      return this.#closeHere(connection) ? 'closed' : 'gone';
    }
    if (this.#pending.size >= MAX_PENDING) {
      return 'silent';
    }
    const request = randomBytes(9).toString('base64url');
    const { wheel } = this.#inspection;
    return new Promise((resolve) => {
      const settle = (outcome: CloseOutcome) => {
        wheel.cancel(deadline);
        this.#pending.delete(request);
        resolve(outcome);
      };
      const deadline = wheel.schedule(ANSWER_MS, () => settle('silent'));
      this.#pending.set(request, settle);
      void this.#channel.send([closeRecord(this.id, instance, request, connection)]).then((isSent) => {
        if (!isSent) {
          settle('silent');
        }
      });
    });
  }

  close(): void {
    const { wheel } = this.#inspection;
    this.#isClosed = true;
    wheel.cancel(this.#nextTick);
    wheel.cancel(this.#nextUpdate);
    this.#channel.close();
    this.#views.clear();
    this.#pending.forEach((settle) => settle('silent'));
  }

  get #isWatched(): boolean {
    return !this.#isClosed && (this.#views.size > 0 || this.#watchers.hasSome);
  }

  #onViewClosed(): void {
    if (this.#views.size === 0) {
      this.#instances.clear();
    }
    void this.#tell();
  }

  /** Tells the others what pages look at here. */
  async #tell(): Promise<void> {
    this.#toldAt = this.#inspection.wheel.now();
    const queries = new Map(Array.from(this.#views, ([name, { query }]) => [name, query]));
    if (!(await this.#channel.send([watchRecord(this.id, queries)]))) {
      this.#toldAt = -Infinity;
    }
  }

  #wake(): void {
    this.#isDue = true;
    this.#schedule(0);
  }

  #schedule(delayMs: number): void {
    const { wheel } = this.#inspection;
    wheel.cancel(this.#nextTick);
    if (this.#isWatched && !this.#isTicking) {
      const restMs = this.#tickedAt + REST_MS - wheel.now();
      this.#nextTick = wheel.schedule(Math.max(delayMs, restMs), () => void this.#tick());
    }
  }

  /** Reports how this instance stands, to the others and to the pages here. */
  async #tick(): Promise<void> {
    this.#isTicking = true;
    this.#isDue = false;
    try {
      if (this.#views.size > 0 && this.#inspection.wheel.now() - this.#toldAt >= WATCH_MS) {
        void this.#tell();
      }
      await this.#report();
    } catch (error) {
      this.#reports.error('report', 'The inspector could not tell how this instance stands.', error);
    }
    this.#tickedAt = this.#inspection.wheel.now();
    this.#isTicking = false;
    this.#schedule(this.#isDue ? 0 : REPORT_MS);
  }

  async #report(): Promise<void> {
    const ownQueries = Array.from(this.#views).flatMap(([name, { query }]) =>
      query ? [[name, query] as const] : [],
    );
    const queries = new Map([...ownQueries, ...this.#watchers.queries()]);
    const parts = await scan(this.#inspection, queries, this.id);
    const report = reportOf(this.#sse, this.id, this.#name);
    if (this.#views.size > 0) {
      this.#instances.put(report);
      for (const [name, view] of this.#views) {
        const part = parts.get(name);
        if (part) {
          view.parts.set(this.id, part);
        }
      }
      this.#update();
    }
    if (this.#watchers.hasSome) {
      const records: NewRecord[] = [reportRecord(this.id, report)];
      for (const { by, view } of this.#watchers.views()) {
        const part = parts.get(view);
        if (part) {
          records.push(listRecord(this.id, by, view, part));
        }
      }
      await this.#channel.send(records);
    }
  }

  #onRecord(record: InspectorRecord): void {
    if (record.by === this.id || this.#isClosed) {
      return;
    }
    if (record.kind === 'watch') {
      if (this.#watchers.put(record.by, record.views)) {
        this.#wake();
      }
    } else if (record.kind === 'report') {
      this.#onReport(record.report);
    } else if (record.to === this.id) {
      this.#onOwnRecord(record);
    }
  }

  #onReport(report: Parameters<KnownInstances['put']>[0]): void {
    if (this.#views.size > 0) {
      this.#instances.put(report);
      this.#updateSoon();
    }
  }

  #onOwnRecord(record: Extract<InspectorRecord, { to: string }>): void {
    if (record.kind === 'list') {
      // Its report came right before. Rows of an instance without one would be kept for ever.
      if (this.#instances.isThere(record.by)) {
        this.#views.get(record.view)?.parts.set(record.by, record.part);
        this.#updateSoon();
      }
    } else if (record.kind === 'closed') {
      this.#pending.get(record.request)?.(record.wasOpen ? 'closed' : 'gone');
    } else {
      const wasOpen = this.#closeHere(record.connection);
      void this.#channel.send([closedRecord(this.id, record.by, record.request, wasOpen)]);
    }
  }

  #closeHere(connection: string): boolean {
    const wasOpen = this.#sse.connections.close(({ id }) => id === connection) > 0;
    this.#wake();
    return wasOpen;
  }

  #updateSoon(): void {
    if (this.#views.size > 0) {
      this.#nextUpdate ??= this.#inspection.wheel.schedule(JOIN_MS, () => this.#update());
    }
  }

  #update(): void {
    this.#inspection.wheel.cancel(this.#nextUpdate);
    this.#nextUpdate = undefined;
    const instances = this.#instances.list();
    for (const { query, parts, onUpdate } of this.#views.values()) {
      for (const id of parts.keys()) {
        if (!this.#instances.isThere(id)) {
          parts.delete(id);
        }
      }
      const list = query && joinParts(query.list, [...parts.values()]);
      onUpdate(list ? { instances, list } : { instances });
    }
  }
}
