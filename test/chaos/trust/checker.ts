import type { Disturbance, Presentation, Stay, TrustHistory, Visit } from './history.js';

/**
 * Holds a run of the test against what the guide promises, and says what is wrong.
 *
 * It knows nothing of how tickets, revocations and presence work: it compares what clients got with what was asked.
 */
export function findTrustFaults(history: TrustHistory): string[] {
  return [
    ...faultsOfTickets(history),
    ...faultsOfRevocations(history),
    ...faultsOfChanges(history),
    ...faultsOfLists(history),
  ];
}

/** A ticket opens one stream, unless the log has lost what it had acknowledged; and it opens one while all is well. */
function faultsOfTickets({ presentations, disturbances, promises }: TrustHistory): string[] {
  const faults: string[] = [];
  for (const [ticket, all] of groupedBy(presentations, (one) => one.ticket)) {
    const opened = all
      .filter(({ outcome }) => outcome === 'opened')
      .sort((a, b) => a.answeredAt - b.answeredAt);
    const [first, ...others] = opened;
    const again = first && others.find((other) => !isLost(first.answeredAt, other.answeredAt, disturbances));
    if (again) {
      faults.push(`The ticket ${ticket} opened at ${first.instance}, and then at ${again.instance}.`);
    }
    const isCalm = all.every(
      (one) => !isDisturbed(one.askedAt, one.answeredAt, disturbances, promises.slackMs),
    );
    if (!first && isCalm && all.every(({ outcome }) => outcome === 'spent')) {
      faults.push(`The ticket ${ticket} opened nothing at ${namesOf(all)}, though nothing was wrong.`);
    }
  }
  return faults;
}

/** A revoked user is kept away by every instance, and what was open has ended. */
function faultsOfRevocations(history: TrustHistory): string[] {
  const { revocations, visits } = history;
  return revocations.flatMap(({ user, at }) =>
    visits
      .filter((visit) => visit.user === user)
      .flatMap((visit) => {
        const dueAt = enforcedAt(history, at, visit);
        if (visit.outcome === 'admitted' && visit.askedAt > dueAt) {
          return [`${nameOf(visit)} was admitted ${visit.askedAt - at} ms after it was revoked.`];
        }
        if (visit.outcome === 'admitted' && (visit.endedAt ?? Infinity) > Math.max(dueAt, visit.askedAt)) {
          return [
            `${nameOf(visit)} still had its stream ${(visit.endedAt ?? Infinity) - at} ms after it was revoked.`,
          ];
        }
        return [];
      }),
  );
}

/**
 * When an instance must keep a user away.
 *
 * - An instance that is cut off from the log learns of it when it has the log again, and admits nobody where the route
 *   is `revocable`.
 * - An instance that was started after a loss learns of it when the others have written it back.
 */
function enforcedAt({ disturbances, instances, promises }: TrustHistory, at: number, visit: Visit): number {
  const { revokedMs, writtenBackMs, slackMs } = promises;
  const { startedAt = 0 } = instances.find(({ name }) => name === visit.instance) ?? {};
  const around = disturbances.filter((one) => one.at <= at + revokedMs && one.until >= at);
  const losses = disturbances.filter(
    (one) => one.losesFrom <= at && at <= one.until && one.at <= visit.askedAt,
  );
  const isUnknown = startedAt > at || losses.some((loss) => around.includes(loss));
  const wasOpen = visit.askedAt <= at;
  const waits = [...(visit.isRevocable && !wasOpen ? [] : around), ...(isUnknown ? losses : [])];
  return Math.max(at + revokedMs, ...waits.map(({ until }) => until + writtenBackMs)) + slackMs;
}

/** Nobody is told that a member left who was there, or came back in time. */
function faultsOfChanges(history: TrustHistory): string[] {
  const { changes, disturbances, promises } = history;
  const { graceMs, leaseMs } = promises;
  const faults: string[] = [];
  const present = new Set<string>();
  for (const { at, joined, updated, left, count } of changes) {
    const isStalled = disturbances.some(
      (one) => one.name === 'stall' && one.until > at - graceMs - 2 * leaseMs && one.at < at,
    );
    for (const member of left) {
      if (!present.delete(member)) {
        faults.push(`${member} was told to have left, and was not there.`);
      }
      const awayMs = awayMsAt(history, member, at);
      if (awayMs < graceMs && !isStalled) {
        faults.push(
          `${member} was told to have left after ${awayMs} ms of the ${graceMs} that it had to come back.`,
        );
      }
    }
    for (const member of joined) {
      if (present.has(member)) {
        faults.push(`${member} was told to have joined, and was there.`);
      }
      present.add(member);
    }
    faults.push(...updated.map((member) => `${member} was told to have other data.`));
    if (count !== present.size) {
      faults.push(`A change told ${count} members, and there were ${present.size}.`);
    }
  }
  return faults;
}

/**
 * For how long a member had no stream when it was told to have left. A member that came back a moment before that is
 * judged by the time before it came back.
 */
function awayMsAt({ stays, promises }: TrustHistory, member: string, at: number): number {
  const own = stays.filter((stay) => stay.member === member && stay.from <= at);
  const seenUntil = ({ endedAt, seenUntil: seen }: Stay) => (endedAt === undefined ? at : Math.min(at, seen));
  const returns = own.map(({ from }) => from).filter((from) => from > at - promises.slackMs);
  const awayMs = [at, ...returns].map(
    (moment) => moment - Math.max(-Infinity, ...own.filter(({ from }) => from < moment).map(seenUntil)),
  );
  // Before its first stream it was not away.
  return Math.max(...awayMs.filter(Number.isFinite));
}

/** An instance that is asked knows who is there, as soon as it is promised, and who is not. */
function faultsOfLists(history: TrustHistory): string[] {
  const members = new Set(history.stays.map(({ member }) => member));
  return history.lists.flatMap((list) => {
    const has = new Set(list.members);
    const what = (member: string, text: string) => `At ${list.instance}, ${member} ${text}.`;
    return Array.from(members).flatMap((member) => {
      const state = stateAt(history, member, list.at);
      if (state === 'present' && !has.has(member)) {
        return [what(member, 'was missing')];
      }
      return state === 'away' && has.has(member) ? [what(member, 'was still there')] : [];
    });
  });
}

function stateAt(history: TrustHistory, member: string, at: number): 'present' | 'away' | 'either' {
  const { disturbances, promises } = history;
  const { graceMs, leaseMs, writtenBackMs, slackMs } = promises;
  const own = history.stays.filter((stay) => stay.member === member && stay.from <= at);
  const calmAt = Math.max(-Infinity, ...disturbances.filter((one) => one.at <= at).map(({ until }) => until));
  const open = own.filter(({ endedAt }) => endedAt === undefined || endedAt > at);
  if (open.length > 0) {
    const since = Math.max(calmAt, Math.min(...open.map(({ from }) => from)));
    const isSeen = open.some(({ seenUntil, endedAt }) => endedAt === undefined || seenUntil >= at);
    return isSeen && at > since + writtenBackMs + slackMs ? 'present' : 'either';
  }
  const endedAt = Math.max(calmAt, ...own.map((stay) => stay.endedAt!));
  // While the log is away, leases begin anew when it is back.
  const isLeased = calmAt > -Infinity || own.some(({ isKilled }) => isKilled);
  return at > endedAt + graceMs + (isLeased ? leaseMs : 0) + 1_000 + slackMs ? 'away' : 'either';
}

/** Whether the log may have lost what it had acknowledged at one time, and was asked for at a later one. */
function isLost(ackedAt: number, askedAt: number, disturbances: readonly Disturbance[]): boolean {
  return disturbances.some((one) => one.losesFrom <= ackedAt && ackedAt <= one.until && askedAt >= one.at);
}

function isDisturbed(
  from: number,
  to: number,
  disturbances: readonly Disturbance[],
  afterMs: number,
): boolean {
  return disturbances.some((one) => one.at <= to && from <= one.until + afterMs);
}

function groupedBy<T>(values: readonly T[], keyOf: (value: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const value of values) {
    groups.set(keyOf(value), [...(groups.get(keyOf(value)) ?? []), value]);
  }
  return groups;
}

const namesOf = (presentations: readonly Presentation[]) =>
  presentations.map(({ instance }) => instance).join(' and ');

const nameOf = ({ user, instance, isRevocable }: Visit) =>
  `${user} at ${instance}${isRevocable ? ' (revocable)' : ''}`;
