import { MAX_TIMER_MS, OptionChecks } from './errors/index.js';
import { DEFAULT_PRESENCE } from './topics/index.js';
import type { PresenceSettings } from './topics/index.js';

/** Options of the members of topics. */
export interface SsePresenceOptions {
  /**
   * Milliseconds that a member stays after its last connection has closed. 0 to 2_147_483_647. Set it above the time in
   * which clients reconnect after a deploy, or each deploy is a storm of changes.
   * @defaultValue twice `retryMs`, and `drain.leastRetryMs` and `drain.spreadMs`: 11_000 by their defaults
   */
  graceMs?: number;
  /**
   * Milliseconds without a sign of life after which an instance counts as killed: its members leave `graceMs` later, and
   * a second at most. From its first use of presence on, an instance writes a record every quarter of it. 1_000 to
   * 600_000.
   * @defaultValue 10_000
   */
  leaseMs?: number;
  /**
   * The most members of one topic. At least 1. A further one is refused as `presence-full`.
   * @defaultValue 20_000
   */
  maxMembersPerTopic?: number;
  /**
   * The most members of all topics and instances that this process knows, each counted once for each instance that it is
   * connected to. At least 1. They take about 600 bytes each with a name as their data, and 200 more where they are
   * connected. A further one is refused as `presence-full`.
   * @defaultValue 200_000
   */
  maxMembers?: number;
  /**
   * The most topics that have members on this instance. At least 1. A member of a further one is refused as
   * `presence-full`.
   * @defaultValue 10_000
   */
  maxTopics?: number;
  /**
   * The most UTF-8 bytes of the `data` of a member, as JSON. 1 to 16_384. More are refused as `options-invalid`.
   * @defaultValue 1_024
   */
  maxDataBytes?: number;
}

/**
 * Checks the options of presence.
 *
 * @throws SseError `options-invalid`
 */
export function presenceSettings(
  presence: SsePresenceOptions | undefined = {},
  times: { readonly retryMs: number; readonly leastRetryMs: number; readonly spreadMs: number },
): PresenceSettings {
  if (typeof presence !== 'object' || presence === null) {
    throw checks.refusal('presence', 'an object', presence);
  }
  checks.refuseUnknown(presence, Object.keys(DEFAULT_PRESENCE), 'presence');
  // A client that lost its stream, or was told a time of its own at shutdown, and may miss one attempt.
  const graceMs = Math.min(2 * times.retryMs + times.leastRetryMs + times.spreadMs, MAX_TIMER_MS);
  const atLeast = (field: 'maxMembersPerTopic' | 'maxMembers' | 'maxTopics') =>
    checks.atLeast(`presence.${field}`, presence[field], DEFAULT_PRESENCE[field]);
  return {
    graceMs: checks.timer('presence.graceMs', presence.graceMs, graceMs, 0),
    leaseMs: between('leaseMs', presence.leaseMs, 1_000, 600_000),
    maxMembersPerTopic: atLeast('maxMembersPerTopic'),
    maxMembers: atLeast('maxMembers'),
    maxTopics: atLeast('maxTopics'),
    maxDataBytes: between('maxDataBytes', presence.maxDataBytes, 1, 16_384),
  };
}

function between(
  field: 'leaseMs' | 'maxDataBytes',
  value: number | undefined,
  least: number,
  most: number,
): number {
  const given = checks.atLeast(`presence.${field}`, value, DEFAULT_PRESENCE[field], least);
  if (given > most) {
    throw checks.refusal(`presence.${field}`, `a number from ${least} to ${most}`, given);
  }
  return given;
}

const checks = new OptionChecks();
