import type { SseClient } from '../client/index.js';
import { FollowStore } from './follow-store.js';
import type { FollowMember, FollowOptions, FollowSnapshot, FollowTarget } from './follow-store.js';
import { Frames } from './frames.js';

/** What a component follows under a key, and what it shows before that has begun. */
export interface FollowRequest {
  readonly key: string;
  readonly target: FollowTarget;
  readonly options: { readonly current: FollowOptions };
  readonly initial: FollowSnapshot;
}

/** All that components follow by one client. */
export class ClientStores {
  readonly frames = new Frames();
  readonly #client: SseClient;
  readonly #follows = new Map<string, FollowStore>();

  constructor(client: SseClient) {
    this.#client = client;
  }

  find(key: string | undefined): FollowStore | undefined {
    return key === undefined ? undefined : this.#follows.get(key);
  }

  /** Begins to follow, if no component does. */
  obtain({ key, target, options, initial }: FollowRequest): FollowStore {
    const known = this.#follows.get(key);
    if (known) {
      return known;
    }
    const onDispose = (): void => void this.#follows.delete(key);
    const store = new FollowStore(this.#client, this.frames, target, options, { initial, onDispose });
    this.#follows.set(key, store);
    return store;
  }

  /** @returns a function that ends it for this component */
  subscribe(request: FollowRequest, render: () => void): () => void {
    const member: FollowMember = { options: request.options, render };
    return this.obtain(request).join(member);
  }
}

// React drops the state of a provider if a component below suspends before the provider has mounted. So the stores hang
// on the client: no two clients share one, and none outlives its client.
const storesOfClients = new WeakMap<SseClient, ClientStores>();

/** The stores of a client, made when they are first needed. */
export function storesOf(client: SseClient): ClientStores {
  const stores = storesOfClients.get(client) ?? new ClientStores(client);
  storesOfClients.set(client, stores);
  return stores;
}
