import type { Deadline, DeadlineWheel } from '../../time/index.js';
import type { MemberName, WrittenMember } from './presence-records.js';

/** A connection that makes a member present. */
export interface Attendance {
  readonly member: OwnMember;
  /** The data as JSON; undefined if there is none. */
  readonly json: string | undefined;
  state: 'reserved' | 'present' | 'leaving' | 'over';
  /** Ends it, once its connection has closed. */
  leaving: Deadline | undefined;
}

/** A member of a topic, with all its connections to this instance. */
interface OwnMember extends MemberName {
  /** Connections that are not announced yet. */
  reserved: number;
  /** The connections that make it present. The data of the last one counts. */
  attendances: Attendance[];
}

/** The members that are present by connections of this instance. Two connections with one id are one member. */
export class OwnMembers {
  readonly #wheel: DeadlineWheel;
  readonly #onChange: () => void;
  readonly #topics = new Map<string, Map<string, OwnMember>>();
  /** Members whose state the log does not have. */
  readonly #changed = new Set<MemberName>();
  #size = 0;

  /** @param onChange - called after a change that the log does not have */
  constructor(wheel: DeadlineWheel, onChange: () => void) {
    this.#wheel = wheel;
    this.#onChange = onChange;
  }

  /** The number of members, of all topics. */
  get size(): number {
    return this.#size;
  }

  get topics(): number {
    return this.#topics.size;
  }

  get hasChanged(): boolean {
    return this.#changed.size > 0;
  }

  countIn(topic: string): number {
    return this.#topics.get(topic)?.size ?? 0;
  }

  has({ topic, id }: MemberName): boolean {
    return this.#topics.get(topic)?.has(id) ?? false;
  }

  /** Takes a place for a connection whose headers are not out yet. */
  reserve({ topic, id, json }: WrittenMember): Attendance {
    const member = this.#find(topic, id) ?? this.#add(topic, id);
    member.reserved += 1;
    return { member, json, state: 'reserved', leaving: undefined };
  }

  /** Makes the member present. */
  announce(attendance: Attendance): void {
    const { member } = attendance;
    if (attendance.state !== 'reserved') {
      return;
    }
    const before = member.attendances.at(-1);
    member.reserved -= 1;
    attendance.state = 'present';
    // A client that reloads its page again and again must not leave an attendance behind each time.
    const staying = member.attendances.filter(({ state }) => state === 'present');
    const over = member.attendances.filter(({ state }) => state === 'leaving');
    over.forEach((each) => this.#end(each));
    member.attendances = [...staying, attendance];
    if (!before || before.json !== attendance.json) {
      this.#change(member);
    }
  }

  /** Ends the attendance of a connection after a time. The member leaves if it has no other one then. */
  leave(attendance: Attendance, delayMs: number): void {
    const { member, state } = attendance;
    if (state === 'reserved') {
      attendance.state = 'over';
      member.reserved -= 1;
      this.#deleteIfUnused(member);
    } else if (state === 'present') {
      attendance.state = 'leaving';
      if (delayMs > 0) {
        attendance.leaving = this.#wheel.schedule(delayMs, () => this.#remove(attendance));
      } else {
        this.#remove(attendance);
      }
    }
  }

  /** Returns all that are present. What has changed up to now counts as written. */
  takeAll(): WrittenMember[] {
    this.#changed.clear();
    return Array.from(this.#topics.values()).flatMap((members) =>
      Array.from(members.values()).flatMap(writtenOf),
    );
  }

  /** Returns what has changed. It counts as written from now on. */
  takeChanged(): { joined: WrittenMember[]; left: MemberName[] } {
    const joined: WrittenMember[] = [];
    const left: MemberName[] = [];
    for (const { topic, id } of this.#changed) {
      const written = writtenOf(this.#find(topic, id));
      if (written.length > 0) {
        joined.push(...written);
      } else {
        left.push({ topic, id });
      }
    }
    this.#changed.clear();
    return { joined, left };
  }

  /** Cancels all deadlines. */
  close(): void {
    for (const members of this.#topics.values()) {
      for (const { attendances } of members.values()) {
        attendances.forEach(({ leaving }) => this.#wheel.cancel(leaving));
      }
    }
    this.#topics.clear();
    this.#changed.clear();
    this.#size = 0;
  }

  #find(topic: string, id: string): OwnMember | undefined {
    return this.#topics.get(topic)?.get(id);
  }

  #add(topic: string, id: string): OwnMember {
    const member: OwnMember = { topic, id, reserved: 0, attendances: [] };
    let members = this.#topics.get(topic);
    if (!members) {
      members = new Map();
      this.#topics.set(topic, members);
    }
    members.set(id, member);
    this.#size += 1;
    return member;
  }

  #remove(attendance: Attendance): void {
    const { member } = attendance;
    const before = member.attendances.at(-1);
    this.#end(attendance);
    member.attendances = member.attendances.filter((each) => each !== attendance);
    const after = member.attendances.at(-1);
    this.#deleteIfUnused(member);
    if (!after || before?.json !== after.json) {
      this.#change(member);
    }
  }

  #end(attendance: Attendance): void {
    attendance.state = 'over';
    this.#wheel.cancel(attendance.leaving);
    attendance.leaving = undefined;
  }

  #deleteIfUnused(member: OwnMember): void {
    const { topic, id, reserved, attendances } = member;
    const members = this.#topics.get(topic);
    if (reserved > 0 || attendances.length > 0 || members?.get(id) !== member) {
      return;
    }
    members.delete(id);
    this.#size -= 1;
    if (members.size === 0) {
      this.#topics.delete(topic);
    }
  }

  #change(member: OwnMember): void {
    this.#changed.add(member);
    this.#onChange();
  }
}

function writtenOf(member: OwnMember | undefined): WrittenMember[] {
  const last = member?.attendances.at(-1);
  return member && last ? [{ topic: member.topic, id: member.id, json: last.json }] : [];
}
