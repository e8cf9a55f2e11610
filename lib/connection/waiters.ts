import type { Reporter } from '../errors/index.js';
import type { CloseReason } from './connection.js';
import { deferred } from './deferred.js';
import type { Deferred } from './deferred.js';

/** Who waits for a moment of one response: that its headers are out, that it closes, that it is disposed. */
export class Waiters {
  #reason: CloseReason | undefined;
  #wasFinished: boolean | undefined;
  #openListeners: (() => void)[] | undefined;
  #closeListeners: ((reason: CloseReason) => void)[] | undefined;
  #abort: AbortController | undefined;
  #closed: Deferred<CloseReason> | undefined;
  #disposed: Deferred<boolean> | undefined;

  /** Aborts when the response closes. */
  get signal(): AbortSignal {
    if (!this.#abort) {
      this.#abort = new AbortController();
      if (this.#reason) {
        this.#abort.abort();
      }
    }
    return this.#abort.signal;
  }

  /** Resolves with the reason when the response closes. Never rejects. */
  get closed(): Promise<CloseReason> {
    this.#closed ??= deferred(this.#reason);
    return this.#closed.promise;
  }

  /** Resolves when the response is disposed, to whether it was sent to its end. Never rejects. */
  get disposed(): Promise<boolean> {
    this.#disposed ??= deferred(this.#wasFinished);
    return this.#disposed.promise;
  }

  /** Calls the listener once the headers are out. */
  whenOpen(listener: () => void): void {
    (this.#openListeners ??= []).push(listener);
  }

  /** Calls the listener once, in the turn in which the response closes, at once if it is closed. */
  whenClosed(listener: (reason: CloseReason) => void): void {
    if (this.#reason) {
      listener(this.#reason);
    } else {
      // A new array of one, as most are: the first push() allocates room for seventeen.
      this.#closeListeners = this.#closeListeners ? [...this.#closeListeners, listener] : [listener];
    }
  }

  tellOpen(): void {
    const listeners = this.#openListeners ?? [];
    this.#openListeners = undefined;
    listeners.forEach((listener) => listener());
  }

  /** Aborts the signal and resolves {@link closed}. The listeners follow with {@link tellClosed}. */
  close(reason: CloseReason): void {
    this.#reason = reason;
    this.#abort?.abort();
    this.#closed?.resolve(reason);
  }

  tellClosed(reason: CloseReason, reporter: Reporter): void {
    const listeners = this.#closeListeners ?? [];
    this.#closeListeners = undefined;
    for (const listener of listeners) {
      try {
        listener(reason);
      } catch (error) {
        reporter.error('What was to end with a connection failed to.', error);
      }
    }
  }

  dispose(wasFinished: boolean): void {
    this.#wasFinished = wasFinished;
    this.#disposed?.resolve(wasFinished);
  }
}
