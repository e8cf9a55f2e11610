/** Checked settings of presence: see `presence` of `SseModuleOptions`. */
export interface PresenceSettings {
  /** How long a member stays after its last connection has closed, in milliseconds. */
  readonly graceMs: number;
  /** How long an instance may be silent until it counts as gone, in milliseconds. */
  readonly leaseMs: number;
  /** The most members of one topic. */
  readonly maxMembersPerTopic: number;
  /** The most members that this process knows, of all topics. */
  readonly maxMembers: number;
  /** The most topics that have members on this instance. */
  readonly maxTopics: number;
  /** The most UTF-8 bytes of a member's data, as JSON. */
  readonly maxDataBytes: number;
}

export const DEFAULT_PRESENCE: PresenceSettings = {
  graceMs: 11_000,
  leaseMs: 10_000,
  maxMembersPerTopic: 20_000,
  maxMembers: 200_000,
  maxTopics: 10_000,
  maxDataBytes: 1_024,
};

/** The most characters of a member's id. */
export const MAX_MEMBER_ID = 256;

/** Whether a value can be the id of a member. */
export function isMemberId(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && value.length <= MAX_MEMBER_ID && value.isWellFormed();
}
