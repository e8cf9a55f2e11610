import type { ClientSettings, SseClientOptions } from '../settings.js';
import { StreamLoop } from '../stream-loop.js';
import type { StreamHost } from '../stream-loop.js';
import type { SharingStatus } from './messages.js';
import { SharedTabs } from './shared-tabs.js';
import { browserEnvironment } from './tab-environment.js';

const LIMITS = { replayEvents: 1_000, replayCharacters: 4_194_304 };

/**
 * Begins to share connections with the other tabs. Loaded by `SseClient` if `shareTabs` is set: other pages do not load
 * this code.
 */
export function shareTabs(
  client: ClientSettings,
  option: NonNullable<SseClientOptions['shareTabs']>,
  onStatus: (status: SharingStatus) => void,
): Pick<SharedTabs, 'connect' | 'signOut'> {
  const environment = browserEnvironment();
  if (typeof environment === 'string') {
    onStatus({ isShared: false, reason: environment, leads: 0 });
    return { connect: (host: StreamHost) => new StreamLoop(client, host), signOut: () => undefined };
  }
  const { name, replayEvents, replayCharacters } = {
    ...LIMITS,
    ...(typeof option === 'string' ? { name: option } : option),
  };
  const limits = { events: replayEvents, characters: replayCharacters };
  return new SharedTabs({ client, name, limits, environment, onStatus });
}
