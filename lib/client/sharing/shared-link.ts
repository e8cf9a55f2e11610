import { SseClientError } from '../client.error.js';
import type { ClientSettings } from '../settings.js';
import type { StreamHost } from '../stream-loop.js';
import type { LeaderMessage, SharingReason, Welcome } from './messages.js';
import { comparePlaces } from '../places.js';
import type { ReplayLimits } from './replay-buffer.js';
import { handedError, SharedSource } from './shared-source.js';
import type { TabEnvironment } from './tab-environment.js';
import { TabGroup } from './tab-group.js';
import type { CensusAnswer } from './tab-group.js';
import { TabMember } from './tab-member.js';

/** What all links of a client have in common. */
export interface LinkSettings {
  readonly client: ClientSettings;
  readonly name: string;
  readonly limits: ReplayLimits;
  readonly environment: TabEnvironment;
  /** The link shares no more. */
  onAlone(reason: SharingReason): void;
  /** The link holds the connection of its group, or no more. */
  onLead(link: SharedLink, leads: boolean): void;
}

// Tabs with another version of this protocol share nothing with these.
const PROTOCOL = 'nestjs-event-stream/1';
const HELLO_EVERY_MS = 1_000;

/** Connects one feed by way of the tab that leads, or as that tab. */
export class SharedLink {
  readonly #settings: LinkSettings;
  readonly #host: StreamHost;
  readonly #member: TabMember;
  readonly #forgetPage: () => void;
  /** Resolves when the feed is to end, with the reason if it is an error. */
  readonly ended: Promise<SseClientError | undefined>;
  #end!: (error: SseClientError | undefined) => void;
  #isClosed = false;
  #isAlone = false;
  #url!: URL;
  #group: TabGroup | undefined;
  /** The connection, in the tab that leads. */
  #source: SharedSource | undefined;
  #snapshots: number | undefined;
  #helloAt = 0;
  #isWelcoming = false;
  /** Tabs that ask a leader which has not connected yet. */
  #asking: [from: string, place: string | undefined][] = [];

  constructor(settings: LinkSettings, host: StreamHost) {
    this.#settings = settings;
    this.#host = host;
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
    this.#member = new TabMember(settings.client, host, {
      onPlace: () => this.#hello(HELLO_EVERY_MS),
      onHole: () => this.#hello(),
      onEnd: (error) => this.end(error),
    });
    this.#forgetPage = settings.environment.watch({
      wake: () => this.#group?.watchLeader(),
      leave: () => this.#onLeave(),
      comeBack: () => this.#onComeBack(),
    });
    this.#host.onStatus('connecting');
    this.#join();
  }

  /** Follows what {@link StreamHost.nextRequest} gives by now, at the same place. */
  restart(): void {
    const { url, isSpecial } = this.#member.request();
    if (this.#isAlone) {
      this.#closeSource();
      this.#member.connect();
      this.#member.restart();
    } else if (url.href !== this.#url.href) {
      this.#leave();
      this.#join();
    } else if (isSpecial) {
      this.#member.connect();
      this.#member.restart();
    }
  }

  close(): void {
    this.end(undefined);
  }

  /** Ends the feed, with an error if there is one. */
  end(error: SseClientError | undefined): void {
    if (!this.#isClosed) {
      this.#isClosed = true;
      this.#forgetPage();
      this.#leave();
      this.#end(error);
    }
  }

  /** Shares no more: the connection that this tab holds is its own, or it opens one. */
  beAlone(reason: SharingReason): void {
    if (this.#isClosed || this.#isAlone) {
      return;
    }
    this.#isAlone = true;
    if (!this.#member.isAttached) {
      this.#closeSource();
    }
    this.#leaveGroup();
    this.#member.beAlone(this.#source !== undefined);
    this.#settings.onAlone(reason);
  }

  #join(): void {
    const { client, name, environment } = this.#settings;
    const { url, isSpecial } = this.#member.request();
    this.#url = url;
    const key = JSON.stringify([PROTOCOL, name, client.identity ?? null, url.href]);
    this.#group = new TabGroup(environment, key, {
      onLeaderMessage: (message) => this.#onLeaderMessage(message),
      onHello: (from, place) => this.#onHello(from, place),
      answerCensus: () => ({
        place: this.#member.keepsUp ? this.#member.place : undefined,
        snapshots: this.#member.snapshots ?? this.#snapshots,
      }),
      onElected: (answers) => this.#onElected(answers),
      onDeposed: () => this.#onDeposed(),
      onTick: () => this.#hello(HELLO_EVERY_MS),
    });
    if (isSpecial) {
      this.#member.connect();
    } else {
      this.#hello();
    }
  }

  #leave(): void {
    this.#closeSource();
    this.#leaveGroup();
    this.#member.close();
  }

  #leaveGroup(): void {
    this.#group?.close();
    this.#group = undefined;
    this.#asking = [];
    this.#settings.onLead(this, false);
  }

  #closeSource(): void {
    const source = this.#source;
    this.#source = undefined;
    source?.close();
  }

  #onLeave(): void {
    if (this.#isClosed) {
      return;
    }
    this.#host.onLeave?.();
    if (!this.#isAlone) {
      this.#leave();
      this.#host.onStatus('waiting');
    }
  }

  #onComeBack(): void {
    if (this.#isClosed) {
      return;
    }
    this.#host.onComeBack?.();
    if (!this.#isAlone && !this.#group) {
      this.#host.onStatus('connecting');
      this.#join();
    }
  }

  /** Asks the leader what this feed lacks, unless it has asked within a time. */
  #hello(unlessWithinMs = 0): void {
    const isDue = Date.now() - this.#helloAt >= unlessWithinMs;
    if (!this.#group || this.#isWelcoming || !isDue || !this.#member.canAttach) {
      return;
    }
    this.#helloAt = Date.now();
    const { place } = this.#member;
    if (this.#source) {
      this.#source.welcome(this.#group.id, place);
    } else {
      this.#group.tell({ kind: 'hello', place });
    }
  }

  #onHello(from: string, place: string | undefined): void {
    if (this.#source) {
      this.#source.welcome(from, place);
    } else {
      this.#asking.push([from, place]);
    }
  }

  #onLeaderMessage(message: LeaderMessage): void {
    switch (message.kind) {
      case 'lead':
        this.#snapshots ??= message.snapshots;
        this.#goOnFrom(message.from);
        break;
      case 'status':
        this.#member.onStatus(message.status);
        break;
      case 'frames':
        this.#member.receive(message.frames);
        this.#hello(HELLO_EVERY_MS);
        break;
      case 'failure':
        this.#member.onFailure(new SseClientError(message.error.code, message.error.message, message.error));
        break;
      case 'welcome':
        this.#onWelcome(message);
        break;
      case 'no-positions':
        this.beAlone('no-positions');
        break;
      case 'census':
      case 'pong':
    }
  }

  #onWelcome({ to, status, frames, snapshots }: Welcome): void {
    if (to !== this.#group?.id || !this.#member.canAttach) {
      return;
    }
    this.#snapshots ??= snapshots;
    this.#isWelcoming = true;
    if (frames) {
      this.#member.attach(status, frames);
    }
    this.#isWelcoming = false;
    if (this.#group && !this.#member.isAttached) {
      this.#member.connect();
    }
  }

  /** A new leader goes on from a place: a feed that was behind it lacks something. */
  #goOnFrom(from: string | undefined): void {
    const { place, isAttached } = this.#member;
    const order = comparePlaces(from, place);
    const isFine =
      place === undefined || from === undefined
        ? place === from
        : order !== undefined && (order < 0 || from === place);
    if (!isAttached || !isFine) {
      this.#member.detach();
      this.#hello();
    }
  }

  #onElected(answers: readonly CensusAnswer[]): void {
    const { client, limits } = this.#settings;
    const own = this.#member;
    const places = [own.keepsUp ? own.place : undefined, ...answers.map(({ place }) => place)];
    const from = earliestPlace(places) ?? own.place;
    const known = [own.snapshots, this.#snapshots, ...answers.map(({ snapshots }) => snapshots)];
    const snapshots = known.find((count) => count !== undefined);
    const group = this.#group!;
    const source = new SharedSource(
      client,
      { url: this.#url, place: from, snapshots, limits },
      {
        onStatus: (status) => {
          group.announce({ kind: 'status', status });
          own.onStatus(status);
        },
        onFrames: (frames) => {
          group.announce({ kind: 'frames', frames });
          own.receive(frames);
        },
        onFailure: (error) => {
          group.announce({ kind: 'failure', error: handedError(error) });
          own.onFailure(error);
        },
        onWelcome: (welcome) => {
          if (welcome.to === group.id) {
            this.#onWelcome(welcome);
          } else {
            group.announce(welcome);
          }
        },
        onNoPositions: () => {
          group.announce({ kind: 'no-positions' });
          this.beAlone('no-positions');
        },
      },
    );
    this.#source = source;
    void source.ended.then((error) => this.#source === source && this.end(error));
    this.#settings.onLead(this, true);
    group.announce({ kind: 'lead', from, snapshots });
    this.#goOnFrom(from);
    this.#asking.splice(0).forEach(([tab, place]) => source.welcome(tab, place));
  }

  #onDeposed(): void {
    this.#closeSource();
    this.#asking = [];
    this.#settings.onLead(this, false);
  }
}

/** The earliest of the places that are of the epoch of the first one; undefined if there is none. */
function earliestPlace(places: readonly (string | undefined)[]): string | undefined {
  return places.reduce(
    (least, place) =>
      least === undefined || (comparePlaces(place, least) ?? 0) < 0 ? (place ?? least) : least,
    undefined,
  );
}
