import { Feed } from '../../../lib/client/feed.js';
import type { ClientFollowOptions } from '../../../lib/client/feed.types.js';
import type { SharingStatus } from '../../../lib/client/sharing/messages.js';
import { SharedTabs } from '../../../lib/client/sharing/shared-tabs.js';
import { clientSettings } from '../../../lib/client/settings.js';
import type { SseClientOptions } from '../../../lib/client/settings.js';
import type { FakeTab } from './fake-browser.js';
import type { TabServer } from './tab-server.js';

/** What an app in a tab has been given. */
export type Entry =
  | { readonly state: number }
  | { readonly added: number }
  | { readonly reset: string }
  | { readonly end: string }
  | number;

/** An app in a tab, which follows what a server counts. */
export class TabPage {
  readonly log: Entry[] = [];
  readonly #faults: string[] = [];
  #known: number | undefined;
  #stateAt: string | undefined;
  readonly tabs: SharedTabs;
  readonly feed: Feed<Record<string, unknown>, number>;
  sharing: SharingStatus | undefined;

  constructor(
    readonly tab: FakeTab,
    readonly server: TabServer,
    {
      client,
      follow,
      url = '/feed',
      replayEvents = 1_000,
    }: {
      client?: SseClientOptions;
      follow?: ClientFollowOptions<number>;
      url?: string;
      replayEvents?: number;
    } = {},
  ) {
    const settings = clientSettings({
      baseUrl: 'http://host/',
      fetch: server.fetchOf(tab),
      retry: { minMs: 10, maxMs: 10 },
      ...client,
    });
    this.tabs = new SharedTabs({
      client: settings,
      name: 'app',
      limits: { events: replayEvents, characters: 4_194_304 },
      environment: tab.environment,
      onStatus: (status) => {
        this.sharing = status;
      },
    });
    const options: ClientFollowOptions<number> = {
      onState: (state, { type, isAdded }) => {
        if (isAdded) {
          this.log.push({ added: state });
        } else if (type !== 'half') {
          this.log.push({ state });
          this.#known = state;
        }
      },
      onReset: (reason) => this.log.push({ reset: reason }),
      onError: ({ code }, { willRetry }) => willRetry || this.log.push({ end: code }),
      ...(server.beginning === 'place' && {
        state: async () => {
          this.#stateAt = server.position;
          return { data: server.count, at: server.position };
        },
      }),
      ...follow,
    };
    this.feed = new Feed<Record<string, unknown>, number>(settings, url, [], options, (host) =>
      this.tabs.connect(host),
    );
    this.feed.on('message', (count, { id }) => this.#take(count as number, id));
  }

  /** What the app knows by now. */
  get known(): number | undefined {
    return this.#known;
  }

  /** What is wrong with the sequence: each event that does not follow what was known. */
  get faults(): readonly string[] {
    return this.#faults;
  }

  #take(count: number, id = ''): void {
    this.log.push(count);
    if (this.#stateAt !== undefined && epochOf(this.#stateAt) !== epochOf(id)) {
      // The state was read of a log that the stream has not reached yet: a reset is to come.
      return;
    }
    if (this.#known !== undefined && count !== this.#known + 1) {
      this.#faults.push(`${count} after ${this.#known} in ${JSON.stringify(this.log.slice(-6))}`);
    }
    this.#known = count;
  }

  /** The page is left, with or without `pagehide`. */
  end(how: 'leave' | 'crash'): void {
    this.tab[how]();
    this.server.forget(this.tab);
    this.feed.close();
  }
}

const epochOf = (position: string): string | undefined => position.split('-')[0];
