import { parsePosition } from '../../../lib/wire/index.js';
import type { PositionParts } from '../../../lib/wire/index.js';
import { covers, isSecret, passesFilter } from '../memory/history.js';
import { FOREIGN } from './history.js';
import type { Branch, ChaosHistory, ClientRecord, Entry, Sent, Sight } from './history.js';

// What is appended while a reset is on its way to its client.
const ON_ITS_WAY = 500;
// What a reset takes to its client.
const ON_ITS_WAY_MS = 500;

interface Place extends PositionParts {
  readonly isEvent: boolean;
}

/** What an instance takes at most to notice that the log went another way: longest where its reader is deaf. */
const NOTICE_MS = 10_000;

/** What a client saw from its beginning, or from a reset, to the next one. */
interface Segment {
  readonly positions: readonly Place[];
  readonly events: readonly (Sight & { kind: 'event' })[];
}

/**
 * Holds a run against its history, and says what is wrong, in words that name the client and the event.
 *
 * It knows nothing of how the log works: it compares what each client got with what the log held and with what
 * publishers were told.
 */
export function findFaults(history: ChaosHistory): string[] {
  return [
    ...faultsOfPublishers(history),
    ...history.clients.flatMap((client) => new ClientCheck(history, client).faults()),
  ];
}

/**
 * The first event of the log as it stands that a client must get and has not got, after its last id.
 *
 * @param upTo - the sequence up to which it is looked for
 */
export function firstOwed(
  { sent, branches }: Pick<ChaosHistory, 'sent' | 'branches'>,
  client: ClientRecord,
  upTo = Infinity,
): string | undefined {
  const branch = branches.at(-1);
  if (!branch || branch.last === 0) {
    return undefined;
  }
  const sight = client.sights.findLast((one) => one.kind !== 'connect');
  const last = sight && parsePosition(sight.id);
  if (!last) {
    return 'anything';
  }
  if (!branch.holds(last)) {
    return `what follows ${show(last)} in the log that survived, nor a reset`;
  }
  const end = Math.min(upTo, branch.last);
  const entry = owedBetween(client, { branch, sent }, last.sequence, end).next().value;
  return entry && branch.positionOf(entry);
}

/** The entries between the two, the second included, that a client must get. */
function* owedBetween(
  { wishes, isCleared }: ClientRecord,
  { branch, sent }: { branch: Branch; sent: ChaosHistory['sent'] },
  after: number,
  upTo: number,
): Generator<Entry, undefined> {
  for (let sequence = after + 1; sequence <= upTo; sequence += 1) {
    const entry = branch.entries.get(sequence);
    const event = entry && sent.get(entry.n);
    if (!event || (isSecret(event.topic) && !isCleared)) {
      continue;
    }
    if (wishes.some((wish) => isWanted(wish, event))) {
      yield entry;
    }
  }
  return undefined;
}

function faultsOfPublishers({ sent, branches }: ChaosHistory): string[] {
  const faults: string[] = [];
  for (const branch of branches) {
    const first = new Map<number, Entry>();
    for (const entry of branch.entries.values()) {
      if (entry.n === FOREIGN) {
        continue;
      }
      const known = sent.get(entry.n);
      const earlier = first.get(entry.n);
      const place = branch.positionOf(entry);
      if (earlier) {
        faults.push(`Event ${entry.n} is in the log twice: ${branch.positionOf(earlier)}, ${place}.`);
      }
      first.set(entry.n, entry);
      if (!known) {
        faults.push(`The log has ${place}, which nobody published.`);
      } else if (known.outcome.kind === 'refused') {
        faults.push(`Event ${entry.n} is in the log at ${place}; its publisher was told that it is not.`);
      }
    }
  }
  for (const { n, outcome } of sent.values()) {
    if (outcome.kind === 'unresolved') {
      faults.push(`The publish of event ${n} was never resolved.`);
    }
    if (outcome.kind !== 'acknowledged') {
      continue;
    }
    const position = parsePosition(outcome.position);
    const isReal = position && branches.some((branch) => isAt(branch, position, n));
    if (!isReal) {
      faults.push(`Event ${n} was acknowledged at ${outcome.position}, where no log ever had it.`);
    }
  }
  return faults;
}

function isAt(branch: Branch, position: PositionParts, n: number): boolean {
  return branch.holds(position) && branch.entries.get(position.sequence)?.n === n;
}

class ClientCheck {
  readonly #history: ChaosHistory;
  readonly #client: ClientRecord;
  readonly #faults: string[] = [];

  constructor(history: ChaosHistory, client: ClientRecord) {
    this.#history = history;
    this.#client = client;
  }

  faults(): string[] {
    const segments = this.#segments();
    for (const segment of segments) {
      this.#checkSegment(segment);
    }
    // What came before a reset was told, though late.
    const last = segments.at(-1);
    if (last) {
      this.#checkPassedOver(last);
    }
    this.#checkResets();
    const owed = this.#client.hasLeft ? undefined : firstOwed(this.#history, this.#client);
    if (owed) {
      this.#fault(`never got ${owed}`);
    }
    return this.#faults;
  }

  /** What it saw, cut at its resets, and where it began anew. */
  #segments(): Segment[] {
    const segments: { positions: Place[]; events: (Sight & { kind: 'event' })[] }[] = [];
    let current: (typeof segments)[number] | undefined;
    let isForged = false;
    for (const sight of this.#client.sights) {
      if (sight.kind === 'connect') {
        ({ isForged } = sight);
        // It says that it has seen nothing.
        if (sight.id === undefined) {
          current = undefined;
        }
        continue;
      }
      if (isForged && sight.kind !== 'reset') {
        this.#fault(`brought a forged id and got a ${sight.kind}, ${sight.id}`);
      }
      isForged = false;
      const position = parsePosition(sight.id);
      if (!position) {
        this.#fault(`got a ${sight.kind} with the id ${JSON.stringify(sight.id)}`);
        continue;
      }
      if (!current || sight.kind === 'reset') {
        if (!current && sight.kind === 'event') {
          this.#fault(`got ${sight.id} before its place in the log`);
        }
        current = { positions: [], events: [] };
        segments.push(current);
      }
      current.positions.push({ ...position, isEvent: sight.kind === 'event' });
      if (sight.kind === 'event') {
        current.events.push(sight);
      }
    }
    return segments;
  }

  #checkSegment({ positions, events }: Segment): void {
    this.#checkOrder(positions);
    const seen = new Set<number>();
    for (const event of events) {
      const n = this.#checkContent(event);
      if (n === undefined) {
        continue;
      }
      if (seen.has(n)) {
        this.#fault(`got event ${n} twice without a reset, the second time as ${event.id}`);
      }
      seen.add(n);
    }
    const branch = this.#history.branches.find((one) => positions.every((position) => one.holds(position)));
    if (!branch) {
      this.#faultOfNoBranch(positions);
      return;
    }
    const { sent } = this.#history;
    const [first, last] = [positions[0]!.sequence, positions.at(-1)!.sequence];
    if (branch.hasHole(first, last)) {
      this.#fault(`went past a hole after ${show(positions[0]!)} without a reset`);
    }
    for (const entry of owedBetween(this.#client, { branch, sent }, first, last)) {
      if (!seen.has(entry.n)) {
        this.#fault(`missed ${branch.positionOf(entry)} without a reset`);
      }
    }
  }

  /**
   * What other lives of the log took while the client was away, and the one in which it goes on has not: a copy from
   * before a loss goes on from the client's place as if nothing had been.
   */
  #checkPassedOver({ positions }: Segment): void {
    const { branches, sent } = this.#history;
    let life = -1;
    let before: Place | undefined;
    for (const position of positions) {
      const next = branches.findIndex((branch, index) => index >= life && branch.holds(position));
      if (next === -1) {
        return;
      }
      for (const passed of branches.slice(life + 1, before ? next : 0)) {
        for (const entry of owedBetween(this.#client, { branch: passed, sent }, 0, passed.last)) {
          const isKept = [life, next].some((held) =>
            branches[held]!.holds({ ...entry, epoch: branches[held]!.epoch }),
          );
          if (isKept || sent.get(entry.n)?.outcome.kind !== 'acknowledged') {
            continue;
          }
          this.#fault(
            `went on at ${show(position)} without a reset, past ${passed.positionOf(entry)}, which was lost`,
          );
          return;
        }
      }
      life = next;
      before = position;
    }
  }

  #checkOrder(positions: readonly Place[]): void {
    positions.slice(1).forEach((position, index) => {
      const before = positions[index]!;
      // A cursor may say again where it is.
      const rises =
        position.sequence > before.sequence || (!position.isEvent && position.sequence === before.sequence);
      if (position.epoch === before.epoch && !rises) {
        this.#fault(`got ${show(position)} after ${show(before)} without a reset`);
      }
    });
  }

  #faultOfNoBranch(positions: readonly PositionParts[]): void {
    const { branches } = this.#history;
    const unknown = positions.find((position) => !branches.some((branch) => branch.holds(position)));
    if (unknown) {
      this.#fault(`got ${show(unknown)}, which no log ever held`);
      return;
    }
    // The longest way that it could have gone on one of them.
    const ends = branches.map((branch) => positions.findIndex((position) => !branch.holds(position)));
    const at = Math.max(...ends);
    this.#fault(
      `went from ${show(positions[at - 1]!)} to ${show(positions[at]!)} without a reset, past what was lost`,
    );
  }

  /** The number of a received event, where it is one that was published. */
  #checkContent({ id, data }: Sight & { kind: 'event' }): number | undefined {
    const sent = this.#sentOf(data);
    if (!sent) {
      this.#fault(`got ${id}, which is nothing that was published: ${data.slice(0, 80)}`);
      return undefined;
    }
    const { n, topic, outcome } = sent;
    if (outcome.kind === 'refused') {
      this.#fault(`got event ${n}, whose publisher was told that it is not in the log`);
    }
    if (isSecret(topic) && !this.#client.isCleared) {
      this.#fault(`got event ${n} of ${topic}, which is forbidden`);
    }
    const wishes = this.#client.wishes.filter((wish) => isWanted(wish, sent));
    if (wishes.length === 0) {
      this.#fault(`got event ${n} of ${topic}, which it does not follow`);
    } else if (!wishes.some(({ envelope }) => data === contentOf(sent, envelope))) {
      this.#fault(`got event ${n} with another content: ${data.slice(0, 80)}`);
    }
    return n;
  }

  #sentOf(data: string): Sent | undefined {
    // What is no JSON was not published.
    const [, digits] = /"n":(\d+)/.exec(data) ?? [];
    return digits === undefined ? undefined : this.#history.sent.get(Number(digits));
  }

  #checkResets(): void {
    let seen: PositionParts | undefined;
    let isForged = false;
    let connectedAt = 0;
    for (const sight of this.#client.sights) {
      if (sight.kind === 'connect') {
        ({ isForged, at: connectedAt } = sight);
        if (sight.id === undefined) {
          seen = undefined;
        }
        continue;
      }
      const position = parsePosition(sight.id);
      if (!position) {
        continue;
      }
      if (sight.kind === 'reset' && seen && !isForged) {
        this.#checkReset(sight, { position, seen, connectedAt });
      }
      isForged = false;
      seen = position;
    }
  }

  #checkReset(
    { reason, at }: Sight & { kind: 'reset' },
    { position, seen, connectedAt }: { position: PositionParts; seen: PositionParts; connectedAt: number },
  ): void {
    const { branches, limits } = this.#history;
    // What was lost is over, also where an instance that has not heard of it resets to a place there.
    const begun = branches.filter((one) => one.since <= at);
    const branch = begun.at(-1);
    // Until a life was seen, the one before it may still be the log, and with two masters both of them are: a client
    // that comes from the one to an instance that still has the other has nothing there.
    const certain = begun.findLastIndex((one) => one.seenAt + ON_ITS_WAY_MS < at);
    const others = begun.slice(Math.max(0, certain));
    if (!branch?.holds(seen) || others.some((one) => one.holds(position) && !one.holds(seen))) {
      return;
    }
    const missed = position.sequence - seen.sequence;
    // An instance whose own place in the log went, resets who is live there: each stood at that place, whatever
    // the last event of its own was. Those who have seen what came after it are none of them.
    const wentMeanwhile = branches.some(
      ({ since, seenAt }) => since <= at && seenAt + NOTICE_MS >= connectedAt,
    );
    const isOfBefore = branches.some((older) => older !== branch && older.holds(seen));
    const isGone =
      (wentMeanwhile && isOfBefore) ||
      missed + ON_ITS_WAY > limits.maxEvents ||
      missed + ON_ITS_WAY > limits.maxReplayEvents ||
      branch.hasLost(seen.sequence, at) ||
      // A place where nothing ever stood is in no log.
      branch.holes.includes(seen.sequence) ||
      branch.hasHole(seen.sequence, position.sequence);
    if (!isGone || reason === 'invalid') {
      this.#fault(
        `was reset as ${reason} from ${show(seen)} to ${show(position)}, though the log had all of it`,
      );
    }
  }

  #fault(what: string): void {
    this.#faults.push(`${this.#client.name} ${what}.`);
  }
}

/** What a client must read as the data of an event. */
export function contentOf({ n, topic, pad }: Pick<Sent, 'n' | 'topic' | 'pad'>, isEnvelope: boolean): string {
  const plain = JSON.stringify({ n, pad });
  return isEnvelope ? `{"topic":${JSON.stringify(topic)},"data":${plain}}` : plain;
}

function isWanted({ pattern, filter }: ClientRecord['wishes'][number], { topic, n, pad }: Sent): boolean {
  return covers(pattern, topic) && (!filter || passesFilter({ data: { n, pad } }));
}

function show({ epoch, sequence, nonce }: PositionParts): string {
  return `${epoch}-${sequence}-${nonce}`;
}
