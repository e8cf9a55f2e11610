import { SseClientError } from '../client.error.js';
import type { ClientSettings } from '../settings.js';
import { StreamLoop } from '../stream-loop.js';
import type { StreamHost } from '../stream-loop.js';
import type { NameMessage, SharingReason, SharingStatus } from './messages.js';
import type { ReplayLimits } from './replay-buffer.js';
import { SharedLink } from './shared-link.js';
import type { TabChannel, TabEnvironment } from './tab-environment.js';

/** What a client shares, and with whom. */
export interface TabsSettings {
  readonly client: ClientSettings;
  readonly name: string;
  readonly limits: ReplayLimits;
  readonly environment: TabEnvironment;
  onStatus(status: SharingStatus): void;
}

/** A client among the tabs of its name: all of them are of one account, and are signed out together. */
export class SharedTabs {
  readonly #settings: TabsSettings;
  readonly #identity: string | null;
  readonly #key: string;
  readonly #links = new Set<SharedLink>();
  readonly #leading = new Set<SharedLink>();
  readonly #forgetPage: () => void;
  #channel: TabChannel | undefined;
  #mark: string | null;
  #reason: SharingReason | undefined;

  constructor(settings: TabsSettings) {
    const { client, environment, name } = settings;
    this.#settings = settings;
    this.#identity = client.identity ?? null;
    this.#key = JSON.stringify(['nestjs-event-stream', name]);
    this.#mark = environment.readMark(this.#key);
    this.#forgetPage = environment.watch({
      wake: () => undefined,
      leave: () => this.#closeChannel(),
      comeBack: () => this.#onComeBack(),
    });
    this.#openChannel('identity');
    this.#tellStatus();
  }

  /** Connects a feed: by way of the tab that leads, or for itself if this tab shares no more. */
  connect(host: StreamHost): SharedLink | StreamLoop {
    const { client, name, limits, environment } = this.#settings;
    if (this.#reason) {
      return new StreamLoop(client, host);
    }
    const link = new SharedLink(
      {
        client,
        name,
        limits,
        environment,
        onAlone: (reason) => reason === 'no-positions' && this.#tellStatus(reason),
        onLead: (from, leads) => this.#onLead(from, leads),
      },
      host,
    );
    this.#links.add(link);
    void link.ended.then(() => this.#links.delete(link));
    return link;
  }

  /** Ends the feeds of the other tabs of this name and identity, those too that come back from a cache later. */
  signOut(): void {
    this.#mark = crypto.randomUUID();
    this.#settings.environment.writeMark(this.#key, this.#mark);
    this.#tell({ kind: 'signed-out', identity: this.#identity });
    this.#stop('signed-out');
  }

  #openChannel(kind: 'identity' | 'returned'): void {
    this.#channel = this.#settings.environment.openChannel(this.#key);
    this.#channel.addEventListener('message', ({ data }) => this.#onMessage(data as NameMessage));
    this.#tell({ kind, identity: this.#identity });
  }

  #closeChannel(): void {
    this.#channel?.close();
    this.#channel = undefined;
  }

  #tell(message: NameMessage): void {
    this.#channel?.postMessage(message);
  }

  #onComeBack(): void {
    if (this.#reason || this.#channel) {
      return;
    }
    const mark = this.#settings.environment.readMark(this.#key);
    if (mark === this.#mark) {
      this.#openChannel('returned');
    } else {
      this.#onSignedOut();
    }
  }

  #onMessage({ kind, identity }: NameMessage): void {
    const isOurs = identity === this.#identity;
    if (kind === 'signed-out') {
      if (isOurs) {
        this.#onSignedOut();
      }
    } else if (!isOurs && kind === 'returned') {
      this.#tell({ kind: 'identity', identity: this.#identity });
    } else if (!isOurs) {
      this.#stop('account-switched');
      this.#links.forEach((link) => link.beAlone('account-switched'));
    }
  }

  #onSignedOut(): void {
    this.#stop('signed-out');
    this.#links.forEach((link) =>
      link.end(
        new SseClientError('signed-out', 'Another tab has signed out, and this feed has ended with it.'),
      ),
    );
  }

  /** Shares nothing from now on. */
  #stop(reason: SharingReason): void {
    this.#reason = reason;
    this.#forgetPage();
    this.#closeChannel();
    this.#tellStatus();
  }

  #onLead(link: SharedLink, leads: boolean): void {
    if (leads) {
      this.#leading.add(link);
    } else {
      this.#leading.delete(link);
    }
    this.#tellStatus();
  }

  #tellStatus(reason = this.#reason): void {
    this.#settings.onStatus({ isShared: reason === undefined, reason, leads: this.#leading.size });
  }
}
