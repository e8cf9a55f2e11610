import { watchPage } from '../page.js';
import type { PageListener } from '../page.js';
import type { SharingReason } from './messages.js';

/** A BroadcastChannel, as far as tabs use it. */
export interface TabChannel {
  addEventListener(type: 'message', listener: (event: { readonly data: unknown }) => void): void;
  postMessage(message: unknown): void;
  close(): void;
}

/** Web Locks, as far as tabs use them. */
export interface TabLocks {
  request(
    name: string,
    options: { readonly steal?: boolean; readonly signal?: AbortSignal },
    callback: () => Promise<void> | undefined,
  ): Promise<unknown>;
  query(): Promise<{ readonly pending?: readonly { readonly name?: string }[] }>;
}

/** What a browser gives tabs to share a connection with. */
export interface TabEnvironment {
  readonly locks: TabLocks;
  openChannel(name: string): TabChannel;
  isVisible(): boolean;
  /** @returns a function that removes the listeners */
  watch(listener: PageListener): () => void;
  /** Changes with each sign-out, and outlives all tabs. */
  readMark(name: string): string | null;
  writeMark(name: string, mark: string): void;
}

interface BrowserGlobals {
  readonly isSecureContext?: boolean;
  readonly navigator?: { readonly locks?: TabLocks };
  readonly BroadcastChannel?: new (name: string) => TabChannel;
  readonly document?: { readonly visibilityState: string };
  readonly localStorage?: { getItem(key: string): string | null; setItem(key: string, value: string): void };
}

/** The browser that this page runs in, or why its tabs cannot share. */
export function browserEnvironment(): TabEnvironment | SharingReason {
  const globals = globalThis as unknown as BrowserGlobals;
  const { BroadcastChannel: Channel } = globals;
  const locks = globals.navigator?.locks;
  if (!globals.isSecureContext) {
    return 'insecure-context';
  }
  if (!locks) {
    return 'no-web-locks';
  }
  if (!Channel) {
    return 'no-broadcast-channel';
  }
  return {
    locks,
    openChannel: (name) => new Channel(name),
    isVisible: () => globals.document?.visibilityState === 'visible',
    watch: watchPage,
    readMark: (name) => orNull(() => globals.localStorage?.getItem(name)),
    writeMark: (name, mark) => void orNull(() => globals.localStorage?.setItem(name, mark)),
  };
}

/** A page without storage, as in a sandboxed frame, goes without the mark. */
function orNull<T>(use: () => T | undefined): T | null {
  try {
    return use() ?? null;
  } catch {
    return null;
  }
}

/**
 * Waits for a lock, and holds it.
 *
 * @param listener.onHeld - called once it is held
 * @param listener.onLost - another tab has stolen it
 * @returns a function that stops waiting, or releases it
 */
export function holdLock(
  locks: TabLocks,
  name: string,
  isStolen: boolean,
  listener: { readonly onHeld: () => void; readonly onLost: () => void },
): () => void {
  const waiting = new AbortController();
  let release: (() => void) | undefined;
  const hold = (): Promise<void> | undefined => {
    if (waiting.signal.aborted) {
      return undefined;
    }
    listener.onHeld();
    return new Promise((resolve) => {
      release = resolve;
    });
  };
  // A lock that steals takes no signal.
  const options = isStolen ? { steal: true } : { signal: waiting.signal };
  locks.request(name, options, hold).catch(() => {
    if (!waiting.signal.aborted) {
      waiting.abort();
      listener.onLost();
    }
  });
  return () => {
    waiting.abort();
    release?.();
  };
}
