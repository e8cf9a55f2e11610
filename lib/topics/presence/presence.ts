import { AsyncResource } from 'node:async_hooks';
import { Observable } from 'rxjs';
import type { Subscriber } from 'rxjs';
import type { EventStreamResponse, PresenceOption } from '../../connection/index.js';
import { RepeatedReport, SseError } from '../../errors/index.js';
import type { Reporter } from '../../errors/index.js';
import type { EventLogStore } from '../../log/index.js';
import { DeadlineWheel } from '../../time/index.js';
import type { Deadline } from '../../time/index.js';
import { KnownMembers } from './known-members.js';
import type { MemberChanges, SsePresenceMember } from './known-members.js';
import { memberOptions } from './member.options.js';
import { OwnMembers } from './own-members.js';
import type { Attendance } from './own-members.js';
import { PresenceLog } from './presence-log.js';
import type { WrittenMember } from './presence-records.js';
import type { PresenceSettings } from './presence.settings.js';

/** The members of a topic at one time. */
export interface SsePresenceList {
  readonly members: readonly SsePresenceMember[];
  /** False while the log is away: the members are those that this instance knew last. */
  readonly isCurrent: boolean;
}

/** What has changed in the members of a topic since the change before: see `SsePresence.changes`. */
export interface SsePresenceChange {
  /** Members that were not there. In the first change it is all of them. */
  readonly joined: readonly SsePresenceMember[];
  /** Members with other `data` than before. */
  readonly updated: readonly SsePresenceMember[];
  /** Members that are there no more. */
  readonly left: readonly SsePresenceMember[];
  /** How many are there now. */
  readonly count: number;
  /** False while the log is away: changes are told when it is back. */
  readonly isCurrent: boolean;
}

/** A subscriber to the changes of a topic. */
interface Watcher {
  readonly subscriber: Subscriber<SsePresenceChange>;
  /** The async context of the app that subscribed. On a shared timer it would see another user's. */
  readonly context: AsyncResource;
  isBegun: boolean;
}

const NO_CHANGES: MemberChanges = { joined: [], updated: [], left: [] };
// What many instances write within this time is told together.
const CHANGES_MS = 100;

/** The members of the topics of an app. It follows its log from its first use on. */
export class Presence {
  readonly #settings: PresenceSettings;
  readonly #wheel: DeadlineWheel;
  readonly #reports: RepeatedReport;
  readonly #own: OwnMembers;
  readonly #known: KnownMembers;
  readonly #log: PresenceLog;
  readonly #health: EventLogStore['health'];
  readonly #watchers = new Map<string, Set<Watcher>>();
  #stopHealth: (() => void) | undefined;
  #nextChanges: Deadline | undefined;
  /** What watchers were told last. */
  #wasCurrent = false;
  #refused = 0;
  #isClosed = false;

  constructor(store: EventLogStore, settings: PresenceSettings, reporter: Reporter) {
    this.#settings = settings;
    this.#health = store.health;
    this.#reports = new RepeatedReport(reporter);
    this.#wheel = new DeadlineWheel((error) => this.#reports.error('timer', 'Presence failed.', error));
    this.#own = new OwnMembers(this.#wheel, () => this.#log.write());
    this.#known = new KnownMembers(settings, {
      onChange: () => this.#tellLater(),
      onFull: (message) => this.#reports.warn('full', message),
    });
    this.#log = new PresenceLog(store, {
      settings,
      wheel: this.#wheel,
      reports: this.#reports,
      own: this.#own,
      known: this.#known,
      onState: () => this.#onState(),
    });
  }

  /**
   * Makes members present by a connection: from when its headers are out until a time after it has closed.
   *
   * @param topics - what the connection follows
   * @returns a function that ends it
   * @throws SseError `options-invalid`, `presence-full`
   */
  attend(response: EventStreamResponse, topics: readonly string[], option: PresenceOption): () => void {
    const members = memberOptions(topics, option, this.#settings.maxDataBytes);
    const attendances = this.#reserve(members);
    this.#start();
    response.whenOpen(() => attendances.forEach((attendance) => this.#own.announce(attendance)));
    return () => {
      // If it is closed, the listener is called within the call.
      let delayMs = this.#settings.graceMs;
      if (response.isClosed) {
        response.whenClosed((reason) => (delayMs = reason === 'revoked' ? 0 : delayMs));
      }
      attendances.forEach((attendance) => this.#leave(attendance, delayMs));
    };
  }

  /** Returns what the process knows, of all topics, and how many calls of `follow` were refused for a bound. */
  get counts(): { members: number; ownMembers: number; ownTopics: number; refused: number } {
    return {
      members: this.#known.size,
      ownMembers: this.#own.size,
      ownTopics: this.#own.topics,
      refused: this.#refused,
    };
  }

  /** Returns the members of a topic. @throws the error of the log, if it was away since the start */
  async list(topic: string): Promise<SsePresenceList> {
    await this.#ready();
    return { members: this.#known.list(topic), isCurrent: this.#log.isCurrent };
  }

  /** Returns the number of members. @throws the error of the log, if it was away since the start */
  async count(topic: string): Promise<number> {
    await this.#ready();
    return this.#known.count(topic);
  }

  changes(topic: string): Observable<SsePresenceChange> {
    return new Observable((subscriber) => {
      if (this.#isClosed) {
        subscriber.complete();
        return undefined;
      }
      const watcher = { subscriber, context: new AsyncResource('SsePresence'), isBegun: false };
      this.#watch(topic, watcher);
      this.#start();
      this.#begin(topic, watcher);
      return () => this.#unwatch(topic, watcher);
    });
  }

  /** Tells the other instances that this one closes, within a second. Its clients have left, and may come back. */
  async leave(): Promise<void> {
    await this.#log.leave();
  }

  close(): void {
    this.#isClosed = true;
    this.#stopHealth?.();
    this.#wheel.cancel(this.#nextChanges);
    this.#log.close();
    this.#own.close();
    for (const watchers of this.#watchers.values()) {
      watchers.forEach(({ subscriber }) => subscriber.complete());
    }
  }

  async #ready(): Promise<void> {
    if (this.#isClosed) {
      throw new SseError(
        'closed',
        'The app is shutting down: the members of a topic are not known any more.',
      );
    }
    this.#watchHealth();
    await this.#log.start();
  }

  #start(): void {
    this.#ready().catch((error: unknown) =>
      this.#reports.warn(
        'start',
        `The log of presence cannot be followed, and is tried again: ${(error as Error).message}`,
      ),
    );
  }

  #watchHealth(): void {
    this.#stopHealth ??= this.#health.onChange(() => this.#onState());
  }

  #leave(attendance: Attendance, delayMs: number): void {
    if (!this.#isClosed) {
      this.#own.leave(attendance, delayMs);
    }
  }

  /** Takes a place for each member; none at all if there is none for one of them. */
  #reserve(members: readonly WrittenMember[]): Attendance[] {
    const attendances: Attendance[] = [];
    try {
      for (const member of members) {
        this.#refuseIfFull(member);
        attendances.push(this.#own.reserve(member));
      }
    } catch (error) {
      this.#refused += 1;
      attendances.forEach((attendance) => this.#own.leave(attendance, 0));
      throw error;
    }
    return attendances;
  }

  #refuseIfFull(member: WrittenMember): void {
    if (this.#own.has(member)) {
      return;
    }
    const { maxMembers, maxMembersPerTopic, maxTopics } = this.#settings;
    const { topic } = member;
    const inTopic = Math.max(this.#known.count(topic), this.#own.countIn(topic));
    if (!this.#known.has(member) && inTopic >= maxMembersPerTopic) {
      throw full('maxMembersPerTopic', maxMembersPerTopic, `The topic ${topic} has ${inTopic} members`);
    }
    if (Math.max(this.#known.size, this.#own.size) >= maxMembers) {
      throw full('maxMembers', maxMembers, 'This instance knows as many members as it may');
    }
    if (this.#own.countIn(topic) === 0 && this.#own.topics >= maxTopics) {
      throw full('maxTopics', maxTopics, `${maxTopics} topics have members on this instance`);
    }
  }

  #watch(topic: string, watcher: Watcher): void {
    // What the others are still to be told is in the list that this one begins with.
    this.#tell(topic);
    const watchers = this.#watchers.get(topic) ?? new Set();
    this.#watchers.set(topic, watchers.add(watcher));
    this.#known.watch(topic);
  }

  #unwatch(topic: string, watcher: Watcher): void {
    const watchers = this.#watchers.get(topic);
    watchers?.delete(watcher);
    this.#known.unwatch(topic);
    if (watchers?.size === 0) {
      this.#watchers.delete(topic);
    }
  }

  /** Gives a watcher all members, once they are known. */
  #begin(topic: string, watcher: Watcher): void {
    if (!watcher.isBegun && this.#log.hasLoaded && !this.#log.isSettling) {
      watcher.isBegun = true;
      this.#emit(topic, [watcher], { ...NO_CHANGES, joined: this.#known.list(topic) });
    }
  }

  #onState(): void {
    const { isCurrent } = this.#log;
    const hasChanged = isCurrent !== this.#wasCurrent;
    this.#wasCurrent = isCurrent;
    for (const [topic, watchers] of this.#watchers) {
      const begun = Array.from(watchers).filter(({ isBegun }) => isBegun);
      if (hasChanged) {
        this.#emit(topic, begun, this.#known.takeChanges(topic) ?? NO_CHANGES);
      }
      if (begun.length < watchers.size) {
        this.#tell(topic);
        watchers.forEach((watcher) => this.#begin(topic, watcher));
      }
    }
  }

  #tellLater(): void {
    this.#nextChanges ??= this.#wheel.schedule(CHANGES_MS, () => {
      this.#nextChanges = undefined;
      this.#known.changedTopics.forEach((topic) => this.#tell(topic));
    });
  }

  #tell(topic: string): void {
    if (this.#log.isSettling) {
      return;
    }
    const changes = this.#known.takeChanges(topic);
    const watchers = this.#watchers.get(topic);
    if (changes && watchers) {
      this.#emit(
        topic,
        Array.from(watchers).filter(({ isBegun }) => isBegun),
        changes,
      );
    }
  }

  #emit(topic: string, watchers: readonly Watcher[], changes: MemberChanges): void {
    const change = { ...changes, count: this.#known.count(topic), isCurrent: this.#log.isCurrent };
    for (const { context, subscriber } of watchers) {
      context.runInAsyncScope(() => subscriber.next(change));
    }
  }
}

function full(option: keyof PresenceSettings, most: number, what: string): SseError {
  return new SseError(
    'presence-full',
    `${what}, and presence.${option} is ${most}. Raise it on all instances, or let the client follow without presence.`,
    { field: `presence.${option}` },
  );
}
