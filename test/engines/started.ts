import { waitFor } from 'nestjs-event-stream/testing';
import type { EventLogStore } from '../../lib/log/index.js';

/**
 * Waits for the start of a store of nats(). A request that is made earlier waits no longer than any other request: a
 * start that is only slow would fail it.
 */
export async function started(store: EventLogStore): Promise<EventLogStore> {
  await waitFor(() => store.health.state === 'ready', {
    timeoutMs: 20_000,
    describe: () => `the start of a store: ${store.health.reason}`,
  });
  return store;
}
