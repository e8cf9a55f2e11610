import { AsyncResource } from 'node:async_hooks';
import type { EventStreamResponse, SseConnection } from '../connection/index.js';
import { RepeatedReport } from '../errors/index.js';
import type { Reporter } from '../errors/index.js';
import { afterReading } from '../time/index.js';
import type { Deadline, DeadlineWheel } from '../time/index.js';

/** Checked settings of the revalidation of connections. */
export interface RevalidationSettings {
  readonly everyMs: number;
  readonly graceMs: number;
  readonly maxConcurrent: number;
  readonly check: (connection: SseConnection) => boolean | Promise<boolean>;
}

/** A connection that is checked again and again. */
interface Checked {
  readonly response: EventStreamResponse;
  /** The async context of the client's request. On a shared timer, a check would see another user's. */
  readonly context: AsyncResource;
  /** Starts the next check. */
  next: Deadline | undefined;
  /** Closes the connection if no check has succeeded by then; undefined until a check is due. */
  limit: Deadline | undefined;
  /** Lets the next one be checked; undefined if no check is pending. */
  release: (() => void) | undefined;
}

// After a check that failed, the next one comes sooner, for as long as the grace lasts.
const RETRIES_IN_GRACE = 4;
const LEAST_RETRY_MS = 100;

/** Asks the app regularly whether open connections may stay. */
export class Revalidation {
  readonly #settings: RevalidationSettings | undefined;
  readonly #wheel: DeadlineWheel;
  readonly #reports: RepeatedReport;
  /** Due, and waiting for others to be checked. */
  readonly #due = new Set<Checked>();
  #running = 0;

  /** @param settings - undefined if no connection is checked */
  constructor(
    settings: RevalidationSettings | undefined,
    host: { readonly wheel: DeadlineWheel; readonly reporter: Reporter },
  ) {
    this.#settings = settings;
    this.#wheel = host.wheel;
    this.#reports = new RepeatedReport(host.reporter);
  }

  /** Checks a connection from now on until it closes. Call it in the context of its request. */
  watch(response: EventStreamResponse): void {
    if (!this.#settings || response.isClosed) {
      return;
    }
    const context = new AsyncResource('SseRevalidation');
    const checked: Checked = { response, context, next: undefined, limit: undefined, release: undefined };
    // At random, so that clients that connected together are not checked together.
    this.#schedule(checked, this.#settings.everyMs * (0.5 + Math.random() / 2));
    response.whenClosed(() => {
      this.#due.delete(checked);
      this.#wheel.cancel(checked.next);
      this.#wheel.cancel(checked.limit);
      // A check that never settles must not hold up the others for good.
      checked.release?.();
    });
  }

  #schedule(checked: Checked, delayMs: number): void {
    const { everyMs, graceMs } = this.#settings!;
    this.#wheel.cancel(checked.next);
    checked.next = this.#wheel.schedule(delayMs, () => {
      // From here on: in a process that stood still until now, the check has had no time at all.
      this.#limit(checked, everyMs - delayMs + graceMs);
      this.#due.add(checked);
      this.#work();
    });
  }

  /** Limits the time for a check that is due. Further checks after one that failed have the same limit. */
  #limit(checked: Checked, limitMs: number): void {
    if (checked.limit) {
      return;
    }
    const expire = (): void => {
      // A check may have succeeded meanwhile.
      if (checked.limit === limit) {
        this.#expire(checked.response);
      }
    };
    // If the process stood still, the answer may wait in a socket.
    const limit = this.#wheel.schedule(limitMs, () => afterReading(expire));
    checked.limit = limit;
  }

  #expire(response: EventStreamResponse): void {
    if (!response.isClosed) {
      this.#reports.warn(
        'grace',
        'Connections are closed as expired: revalidate.check has not answered for them within everyMs and graceMs.',
      );
      response.interrupt('expired');
    }
  }

  #work(): void {
    for (const checked of this.#due) {
      if (this.#running >= this.#settings!.maxConcurrent) {
        return;
      }
      this.#due.delete(checked);
      void this.#check(checked);
    }
  }

  async #check(checked: Checked): Promise<void> {
    const { check, everyMs, graceMs } = this.#settings!;
    const { response, context } = checked;
    this.#running += 1;
    checked.release = () => {
      checked.release = undefined;
      this.#running -= 1;
      this.#work();
    };
    try {
      const mayStay: unknown = await context.runInAsyncScope(check, undefined, response.forApp);
      // It was released as it closed.
      if (response.isClosed) {
        return;
      }
      if (mayStay === true) {
        this.#wheel.cancel(checked.limit);
        checked.limit = undefined;
        this.#schedule(checked, everyMs * (0.9 + Math.random() / 10));
      } else {
        response.revoke();
      }
    } catch (error) {
      this.#reports.error('check', 'revalidate.check failed. Its connection stays open for graceMs.', error);
      if (!response.isClosed) {
        this.#schedule(checked, Math.max(LEAST_RETRY_MS, graceMs / RETRIES_IN_GRACE));
      }
    }
    checked.release?.();
  }
}
