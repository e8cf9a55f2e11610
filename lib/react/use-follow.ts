'use client';

import { useCallback, useEffect, useMemo, useSyncExternalStore } from 'react';
import { SseClientError } from '../client/index.js';
import type { ClientTopics } from '../client/index.js';
import { storesOf } from './client-stores.js';
import type { ClientStores, FollowRequest } from './client-stores.js';
import type { FollowOptions, FollowSnapshot, FollowTarget } from './follow-store.js';
import { useSseClient } from './provider.js';
import type { UseFollowOptions, UseFollowResult } from './use-follow.types.js';
import { useLatest } from './use-latest.js';

const NO_OPTIONS: FollowOptions = {};

/**
 * Follows the topics behind a URL while the component is mounted, and renders with their state and events: once a
 * frame, however many came, and in a hidden tab every 250 ms at most.
 *
 * - Components that follow the same URL and topics, or give the same `key`, share a connection and its `data`.
 * - Another URL, or other topics, are another feed, without data. Under a `key` of one's own the data stays: a feed
 *   whose topics are joined by others goes on at its place, without a loss, and `merge` takes the state of those that
 *   are new. If topics leave, or without `merge`, all state is read again.
 * - On a server, and while it hydrates, the status is `connecting`, and the data is `initialData`.
 *
 * @param url - what the client is to follow; null, undefined or false for nothing yet
 * @param topics - what `defineTopic` gives, one or several: it types the events
 * @throws SseClientError `options-invalid`, in the nearest error boundary, without an {@link SseProvider}, or for what
 * is no URL
 *
 * @example
 * ```tsx
 * const { data, status } = useFollow('/orders/events', orders, {
 *   state: () => fetchOrders(),
 *   reduce: (all, event) => (event.type === 'created' ? [...all, event.data] : all),
 * });
 * ```
 */
export function useFollow<Events extends object = Record<string, unknown>, State = unknown, Data = State>(
  url: string | null | undefined | false,
  topics: ClientTopics<Events> | undefined,
  options: UseFollowOptions<Events, State, Data> &
    ({ initialData: Data | (() => Data) } | { suspense: true }),
): UseFollowResult<Events, Data>;
export function useFollow<Events extends object = Record<string, unknown>, State = unknown, Data = State>(
  url: string | null | undefined | false,
  topics?: ClientTopics<Events>,
  options?: UseFollowOptions<Events, State, Data>,
): UseFollowResult<Events, Data | undefined>;
export function useFollow(
  url: string | null | undefined | false,
  topics: ClientTopics<Record<string, unknown>> = [],
  options: FollowOptions = NO_OPTIONS,
): UseFollowResult<Record<string, unknown>, unknown> {
  const client = useSseClient();
  const stores = storesOf(client);
  const target = typeof url === 'string' ? targetOf(url, topics, options) : undefined;
  const key = target && (options.key === undefined ? target.id : `key ${options.key}`);
  const initial = useMemo(() => initialSnapshot(options, key), [key]);
  const latestTarget = useLatest(target);
  const latestOptions = useLatest(options);

  const subscribe = useCallback(
    (render: () => void) => {
      const target = latestTarget.current;
      return key === undefined || !target
        ? () => undefined
        : stores.subscribe({ key, target, options: latestOptions, initial }, render);
    },
    [stores, key, initial, latestTarget, latestOptions],
  );
  const getSnapshot = (): FollowSnapshot => stores.find(key)?.snapshot ?? initial;
  const snapshot = useSyncExternalStore(subscribe, getSnapshot, () => initial);
  useEffect(() => {
    if (target) {
      stores.find(key)?.retarget(target);
    }
    // The id stands for all of the target.
  }, [stores, key, target?.id]);
  const reopen = useCallback(() => stores.find(key)?.reopen(), [stores, key]);

  if (options.suspense && key !== undefined && initial.data === undefined) {
    suspend(stores, { key, target: target!, options: { current: options }, initial });
  }
  return useMemo(() => ({ ...snapshot, reopen }), [snapshot, reopen]);
}

function targetOf(url: string, topics: FollowTarget['topics'], { envelope }: FollowOptions): FollowTarget {
  const patterns = [topics].flat().map(({ pattern }) => pattern);
  return { id: JSON.stringify([url, envelope === true, ...patterns]), url, topics, patterns };
}

function initialSnapshot({ initialData }: FollowOptions, key: string | undefined): FollowSnapshot {
  return {
    data: typeof initialData === 'function' ? (initialData as () => unknown)() : initialData,
    events: [],
    status: key === undefined ? 'idle' : 'connecting',
    error: undefined,
  };
}

/** Throws what has React wait, or show an error, as long as there is no data. */
function suspend(stores: ClientStores, request: FollowRequest): void {
  if (!('window' in globalThis)) {
    const message = `useFollow with suspense follows nothing on a server: the fallback is rendered, or give initialData.`;
    throw new SseClientError('options-invalid', message);
  }
  const store = stores.obtain(request);
  if (store.isReady) {
    return;
  }
  const { status, error } = store.snapshot;
  if (status === 'closed' && error) {
    throw error;
  }
  if (status !== 'closed') {
    // The protocol of React, of 18 and of 19: it renders again when the promise that was thrown has resolved.
    throw store.whenReady as unknown as Error;
  }
}
