'use client';

import { useEffect, useMemo, useState, useSyncExternalStore } from 'react';
import { useSseClient } from './provider.js';
import { RunStore } from './run-store.js';
import { useLatest } from './use-latest.js';
import type { UseRunOptions, UseRunResult, UseRunTarget } from './use-run.types.js';

/**
 * A run of the component: started by `start()`, or attached to if the target has an `id`. It renders with the items
 * that come, once a frame, until the last. Unmounting leaves the run, which goes on at the server; `stop()` stops it.
 *
 * @param target - the routes of the run
 * @throws SseClientError `options-invalid`, in the nearest error boundary, without an `SseProvider`, or for what is no
 * URL
 *
 * @example
 * ```tsx
 * const answer = useRun(
 *   { start: { url: (id) => `/chat/${id}` }, attach: (id) => `/chat/${id}/stream`, stop: (id) => `/chat/${id}` },
 *   { initialData: '', reduce: (text, word: string) => text + word },
 * );
 * <button onClick={() => answer.start({ body: { question } })}>Ask</button>
 * ```
 */
export function useRun<Item = unknown, Data = undefined>(
  target: UseRunTarget,
  options: UseRunOptions<Item, Data> & { initialData: Data | (() => Data) },
): UseRunResult<Item, Data>;
export function useRun<Item = unknown, Data = undefined>(
  target: UseRunTarget,
  options?: UseRunOptions<Item, Data>,
): UseRunResult<Item, Data | undefined>;
export function useRun<Item, Data>(
  target: UseRunTarget,
  options: UseRunOptions<Item, Data> = {},
): UseRunResult<Item, Data | undefined> {
  const client = useSseClient();
  const input = useLatest({ client, target, options });
  const [store] = useState(() => new RunStore<Item, Data>(input));
  const id = target.id ?? undefined;
  const snapshot = useSyncExternalStore(store.subscribe, store.getSnapshot, store.getSnapshot);
  useEffect(() => store.sync(client, id), [store, client, id]);
  useEffect(() => store.interrupt, [store]);
  const { start, stop, leave } = store;
  return useMemo(() => ({ ...snapshot, start, stop, leave }), [snapshot, start, stop, leave]);
}
