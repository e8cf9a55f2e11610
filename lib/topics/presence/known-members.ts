import type { ListRecord, MemberName, NewMember, PresenceRecord } from './presence-records.js';

/** A member of a topic: see `SseService.presence`. */
export interface SsePresenceMember {
  readonly id: string;
  /** As `follow` was given it, through JSON. Absent if it was given none. All callers share it: do not change it. */
  readonly data?: unknown;
}

/** What has changed in a topic since the last time. */
export interface MemberChanges {
  readonly joined: readonly SsePresenceMember[];
  /** Members with other data than before. */
  readonly updated: readonly SsePresenceMember[];
  readonly left: readonly SsePresenceMember[];
}

/** A member, as one instance holds it. */
interface Hold {
  member: SsePresenceMember;
  /** The list of the instance that it was in last. */
  list: number;
}

/** An instance, and what it holds by topic and id. */
interface Instance {
  readonly holds: Map<string, Map<string, Hold>>;
  /** Counts the lists of all its members that it has begun. */
  list: number;
}

/** A member, held by at least one instance. */
interface Known {
  member: SsePresenceMember;
  /** The instance that has written its data last. */
  by: string;
  holders: number;
}

interface Topic {
  readonly members: Map<string, Known>;
  /** Subscribers to its changes. */
  watchers: number;
  /** Members that have changed, as they were before; undefined if they were not there. Kept for watchers alone. */
  changed: Map<string, SsePresenceMember | undefined>;
}

// Instances of one app. What another program writes must not fill the memory.
const MAX_INSTANCES = 1_000;

/** The members of all topics on all instances, by the records that were received from the log. */
export class KnownMembers {
  readonly #limits: { readonly maxMembersPerTopic: number; readonly maxMembers: number };
  readonly #onChange: () => void;
  readonly #onFull: (message: string) => void;
  readonly #instances = new Map<string, Instance>();
  readonly #topics = new Map<string, Topic>();
  readonly #changed = new Set<string>();
  #holds = 0;

  /** @param host.onChange - called after a change in a watched topic; host.onFull if members had to be left out */
  constructor(
    limits: { readonly maxMembersPerTopic: number; readonly maxMembers: number },
    host: { onChange(): void; onFull(message: string): void },
  ) {
    this.#limits = limits;
    this.#onChange = () => host.onChange();
    this.#onFull = (message) => host.onFull(message);
  }

  /** The number of members that are held, once for each instance. */
  get size(): number {
    return this.#holds;
  }

  /** Whether records of members of an instance were received, and it was not dropped since. */
  hasInstance(by: string): boolean {
    return this.#instances.has(by);
  }

  count(topic: string): number {
    return this.#topics.get(topic)?.members.size ?? 0;
  }

  has({ topic, id }: MemberName): boolean {
    return this.#topics.get(topic)?.members.has(id) ?? false;
  }

  list(topic: string): SsePresenceMember[] {
    return Array.from(this.#topics.get(topic)?.members.values() ?? [], ({ member }) => member);
  }

  apply(record: PresenceRecord): void {
    if (record.kind === 'drop') {
      this.#drop(record.of);
    } else if (record.kind === 'leave') {
      record.members.forEach((name) => this.#leave(record.by, name));
    } else if (record.kind !== 'alive' && record.kind !== 'gone') {
      this.#applyOf(this.#instanceOf(record.by), record);
    }
  }

  /** Records the changes of a topic from now on. */
  watch(topic: string): void {
    this.#topicOf(topic).watchers += 1;
  }

  unwatch(name: string): void {
    const topic = this.#topicOf(name);
    topic.watchers -= 1;
    if (topic.watchers === 0) {
      topic.changed.clear();
      this.#changed.delete(name);
    }
    this.#deleteIfUnused(name, topic);
  }

  /** Returns the watched topics that have changed. */
  get changedTopics(): readonly string[] {
    return [...this.#changed];
  }

  /** Returns the changes of a topic since the last call; undefined if it is as it was. */
  takeChanges(name: string): MemberChanges | undefined {
    const topic = this.#topics.get(name);
    this.#changed.delete(name);
    if (!topic || topic.changed.size === 0) {
      return undefined;
    }
    const { changed } = topic;
    topic.changed = new Map();
    const changes = { joined: [], updated: [], left: [] } as Record<keyof MemberChanges, SsePresenceMember[]>;
    for (const [id, before] of changed) {
      const after = topic.members.get(id)?.member;
      if (after && !before) {
        changes.joined.push(after);
      } else if (before && !after) {
        changes.left.push(before);
      } else if (before && after && !isSame(before, after)) {
        changes.updated.push(after);
      }
    }
    return Object.values(changes).some(({ length }) => length > 0) ? changes : undefined;
  }

  #instanceOf(by: string): Instance | undefined {
    const known = this.#instances.get(by);
    if (known || this.#instances.size >= MAX_INSTANCES) {
      return known;
    }
    const instance: Instance = { holds: new Map(), list: 0 };
    this.#instances.set(by, instance);
    return instance;
  }

  #applyOf(instance: Instance | undefined, record: ListRecord): void {
    if (!instance) {
      this.#onFull(`More than ${MAX_INSTANCES} instances tell of members; further ones are left out.`);
    } else if (record.kind === 'begin') {
      instance.list += 1;
    } else if (record.kind === 'join') {
      record.members.forEach((member) => this.#join(record.by, instance, member));
    } else {
      this.#sweep(record.by, instance);
    }
  }

  #join(by: string, instance: Instance, { topic: name, id, data }: NewMember): void {
    const held = instance.holds.get(name)?.get(id);
    const member: SsePresenceMember = Object.freeze(data === undefined ? { id } : { id, data });
    if (held) {
      held.list = instance.list;
      if (isSame(held.member, member)) {
        return;
      }
      held.member = member;
    } else if (!this.#hold(instance, name, member)) {
      return;
    }
    const topic = this.#topicOf(name);
    const known = topic.members.get(id);
    this.#touch(name, topic, id);
    if (!known) {
      topic.members.set(id, { member, by, holders: 1 });
      return;
    }
    known.member = member;
    known.by = by;
    known.holders += held ? 0 : 1;
  }

  /** @returns whether there is room */
  #hold(instance: Instance, topic: string, member: SsePresenceMember): boolean {
    const { maxMembers, maxMembersPerTopic } = this.#limits;
    const isNew = !this.has({ topic, id: member.id });
    if (this.#holds >= maxMembers || (isNew && this.count(topic) >= maxMembersPerTopic)) {
      const option = this.#holds >= maxMembers ? 'maxMembers' : 'maxMembersPerTopic';
      this.#onFull(
        `Members of a topic are left out, because there are more than presence.${option} (${this.#limits[option]}). ` +
          'Raise it on all instances.',
      );
      return false;
    }
    let members = instance.holds.get(topic);
    if (!members) {
      members = new Map();
      instance.holds.set(topic, members);
    }
    members.set(member.id, { member, list: instance.list });
    this.#holds += 1;
    return true;
  }

  #leave(by: string, { topic: name, id }: MemberName): void {
    const holds = this.#instances.get(by)?.holds;
    const held = holds?.get(name);
    if (!held?.delete(id)) {
      return;
    }
    if (held.size === 0) {
      holds?.delete(name);
    }
    this.#holds -= 1;
    const topic = this.#topicOf(name);
    const known = topic.members.get(id)!;
    this.#touch(name, topic, id);
    known.holders -= 1;
    if (known.holders === 0) {
      topic.members.delete(id);
      this.#deleteIfUnused(name, topic);
    } else if (known.by === by) {
      this.#takeFromOther(known, name, id);
    }
  }

  /** Takes the data of a member from another instance that holds it. */
  #takeFromOther(known: Known, topic: string, id: string): void {
    for (const [by, { holds }] of this.#instances) {
      const held = holds.get(topic)?.get(id);
      if (held) {
        known.by = by;
        known.member = held.member;
        return;
      }
    }
  }

  /** Removes what the list of an instance, which has ended, does not have. */
  #sweep(by: string, { holds, list }: Instance): void {
    for (const [topic, members] of holds) {
      for (const [id, hold] of members) {
        if (hold.list !== list) {
          this.#leave(by, { topic, id });
        }
      }
    }
  }

  #drop(by: string): void {
    const instance = this.#instances.get(by);
    if (instance) {
      instance.list += 1;
      this.#sweep(by, instance);
      this.#instances.delete(by);
    }
  }

  #topicOf(name: string): Topic {
    let topic = this.#topics.get(name);
    if (!topic) {
      topic = { members: new Map(), watchers: 0, changed: new Map() };
      this.#topics.set(name, topic);
    }
    return topic;
  }

  #deleteIfUnused(name: string, topic: Topic): void {
    if (topic.members.size === 0 && topic.watchers === 0) {
      this.#topics.delete(name);
    }
  }

  /** Keeps a member as it is before a change, the first time since the changes were taken. */
  #touch(name: string, topic: Topic, id: string): void {
    if (topic.watchers === 0) {
      return;
    }
    if (!topic.changed.has(id)) {
      topic.changed.set(id, topic.members.get(id)?.member);
    }
    if (!this.#changed.has(name)) {
      this.#changed.add(name);
      this.#onChange();
    }
  }
}

function isSame(one: SsePresenceMember, other: SsePresenceMember): boolean {
  return one === other || JSON.stringify(one.data) === JSON.stringify(other.data);
}
