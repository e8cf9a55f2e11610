import type { NewRecord } from '../../log/index.js';
import { isTopic } from '../../wire/index.js';
import { isMemberId } from './presence.settings.js';

/**
 * A record in the log of presence, read and checked. `by` is the instance that has written it.
 *
 * - `begin`, `end`: all members of the instance stand between the two, as `join`.
 * - `join`: members that are there. They may have been there before, with other data.
 * - `leave`: members that are there no more.
 * - `alive`: the instance is there. `at` is a time of its own clock.
 * - `gone`: the instance has closed.
 * - `drop`: the instance `of` was silent for too long, or has closed. Its members are no more.
 */
export type PresenceRecord =
  | ListRecord
  | { readonly kind: 'gone'; readonly by: string }
  | { readonly kind: 'alive'; readonly by: string; readonly at: number }
  | { readonly kind: 'drop'; readonly by: string; readonly of: string }
  | { readonly kind: 'leave'; readonly by: string; readonly members: readonly MemberName[] };

/** A record that tells which members an instance has. */
export type ListRecord =
  | { readonly kind: 'begin' | 'end'; readonly by: string }
  | { readonly kind: 'join'; readonly by: string; readonly members: readonly NewMember[] };

/** A member of a topic. */
export interface MemberName {
  readonly topic: string;
  readonly id: string;
}

/** A member, as a record tells of it. */
export interface NewMember extends MemberName {
  /** Undefined if the member has no data. */
  readonly data: unknown;
}

/** A member, as it is written. */
export interface WrittenMember extends MemberName {
  /** The data as JSON on one line; undefined if there is none. */
  readonly json: string | undefined;
}

// Characters of one record. Engines read records of a named log up to 1 MiB, whatever `maxEventBytes` is.
const RECORD_LENGTH = 32_768;
const MAX_INSTANCE_ID = 64;

/** Makes a record without members. */
export function controlRecord(
  kind: Exclude<PresenceRecord['kind'], 'join' | 'leave'>,
  by: string,
  ...rest: readonly (string | number)[]
): NewRecord {
  return { topic: kind, data: JSON.stringify([by, ...rest]), isJson: true };
}

/** Makes the records of members that join, as many as they need. */
export function joinRecords(by: string, members: readonly WrittenMember[]): NewRecord[] {
  return pack('join', by, members, ({ id, json }) => {
    const text = JSON.stringify(id);
    return json === undefined ? `[${text}]` : `[${text},${json}]`;
  });
}

/** Makes the records of members that leave. */
export function leaveRecords(by: string, members: readonly MemberName[]): NewRecord[] {
  return pack('leave', by, members, ({ id }) => JSON.stringify(id));
}

/**
 * Reads a record. Another program may have written it: members that cannot be are left out.
 *
 * @param maxDataBytes - larger data is left out, and the member has none
 * @returns undefined if it is no record of presence
 */
export function readRecord(
  { topic: kind, data }: { topic: string; data: string },
  maxDataBytes: number,
): PresenceRecord | undefined {
  const [by, ...rest] = listOf(parse(data));
  if (!isInstance(by)) {
    return undefined;
  }
  switch (kind) {
    case 'begin':
    case 'end':
    case 'gone':
      return { kind, by };
    case 'alive':
      return typeof rest[0] === 'number' ? { kind, by, at: rest[0] } : undefined;
    case 'drop':
      return isInstance(rest[0]) ? { kind, by, of: rest[0] } : undefined;
    case 'join':
      return { kind, by, members: membersOf(rest, (entry) => memberOf(entry, maxDataBytes)) };
    case 'leave':
      return { kind, by, members: membersOf(rest, (id) => (isMemberId(id) ? { id } : undefined)) };
    default:
      return undefined;
  }
}

/** Writes each topic once in a record: `["<by>",["<topic>",<entry>,<entry>],["<topic>",<entry>]]`. */
function pack<Member extends MemberName>(
  kind: 'join' | 'leave',
  by: string,
  members: readonly Member[],
  entryOf: (member: Member) => string,
): NewRecord[] {
  const records: NewRecord[] = [];
  let groups: string[] = [];
  let length = 0;
  const end = () => {
    if (groups.length > 0) {
      records.push({
        topic: kind,
        data: `[${[JSON.stringify(by), ...groups].join(',')}]`,
        isJson: true,
      });
    }
    groups = [];
    length = 0;
  };
  for (const [topic, group] of byTopic(members)) {
    let entries = [JSON.stringify(topic)];
    for (const member of group) {
      const entry = entryOf(member);
      if (length + entry.length > RECORD_LENGTH && (groups.length > 0 || entries.length > 1)) {
        groups.push(...(entries.length > 1 ? [`[${entries.join(',')}]`] : []));
        end();
        entries = [JSON.stringify(topic)];
      }
      entries.push(entry);
      length += entry.length + 1;
    }
    groups.push(`[${entries.join(',')}]`);
    length += topic.length + 5;
  }
  end();
  return records;
}

function byTopic<Member extends MemberName>(members: readonly Member[]): Map<string, Member[]> {
  const groups = new Map<string, Member[]>();
  for (const member of members) {
    const group = groups.get(member.topic);
    if (group) {
      group.push(member);
    } else {
      groups.set(member.topic, [member]);
    }
  }
  return groups;
}

function membersOf<Entry extends { id: string }>(
  groups: readonly unknown[],
  read: (entry: unknown) => Entry | undefined,
): (Entry & MemberName)[] {
  return groups.flatMap((group) => {
    const [topic, ...entries] = listOf(group);
    if (!isTopic(topic)) {
      return [];
    }
    return entries.flatMap((entry) => {
      const member = read(entry);
      return member ? [{ ...member, topic }] : [];
    });
  });
}

function memberOf(entry: unknown, maxDataBytes: number): { id: string; data: unknown } | undefined {
  const [id, data] = listOf(entry);
  if (!isMemberId(id)) {
    return undefined;
  }
  return { id, data: bytesOf(data) <= maxDataBytes ? data : undefined };
}

function bytesOf(data: unknown): number {
  try {
    return data === undefined ? 0 : Buffer.byteLength(JSON.stringify(data));
  } catch {
    // Arrays within arrays, ten thousands deep: JSON.parse reads what JSON.stringify cannot write.
    return Infinity;
  }
}

function isInstance(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && value.length <= MAX_INSTANCE_ID;
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? (value as unknown[]) : [];
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
