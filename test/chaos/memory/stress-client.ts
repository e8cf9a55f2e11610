import { get } from 'node:http';
import type { ClientRequest, IncomingMessage } from 'node:http';
import { EventStreamParser } from '../../../lib/testing/event-stream.parser.js';
import { parsePosition } from '../../../lib/wire/index.js';
import { codingFor, decodedBody } from '../coding.js';
import { covers, isSecret, passesFilter } from './history.js';
import type { History, Published } from './history.js';
import { LOG_EVENTS, MAX_REPLAY_EVENTS } from './stress-server.js';
import type { Note, State } from './stress-server.js';
import type { Wish } from './wish.js';

/** How a client comes back. */
export interface Return {
  /** Its own id, or one that no log would give it. */
  readonly id: string | undefined;
  /** The reason of the reset that must come, where one must. */
  readonly mustReset?: string;
  /** Whether it may see what is secret. */
  readonly isCleared: boolean;
  /** Brings its id in the URL instead of the header. */
  readonly byQuery?: boolean;
}

interface Following {
  readonly wish: Wish;
  /** What comes after this sequence is owed; what is before it may come. */
  readonly after: number;
  /** Where it has ended: what is up to here may still come. */
  readonly until: number;
}

/** What all clients have got, and what they were rightly not given. */
export interface Tally {
  received: number;
  notes: number;
  states: number;
  /** Events of secret topics, passed over. */
  withheld: number;
  /** Events of which a later one took the place. */
  superseded: number;
  /** Resets that clients were told of, by reason. */
  resets: Record<string, number>;
}

// The log is ahead of its tail by what is published in one turn.
const TURN_EVENTS = 100;

/**
 * A client that checks what it gets against the history, event by event: nothing out of order,
 * nothing twice, nothing missing, nothing that is not its own, and no reset where the log still
 * held what it had missed.
 */
export class StressClient {
  readonly faults: string[] = [];
  readonly tally: Tally = { received: 0, notes: 0, states: 0, withheld: 0, superseded: 0, resets: {} };
  readonly #index: number;
  readonly #url: string;
  readonly #history: History;
  #following: Following[];
  #request: ClientRequest | undefined;
  #response: IncomingMessage | undefined;
  #isCut = false;
  #isCleared = false;
  /** The sequence up to which it holds everything. */
  #seen: number | undefined;
  #lastId: string | undefined;
  /** Of this connection. */
  #notes = 0;
  #mustReset: string | undefined;
  #hasBegun = false;
  #came = 'nothing';
  /** States that come with what was followed later, before its events. */
  readonly #awaited = new Set<number>();
  /** States that came together, before the id of the last of them. */
  #states: State[] = [];

  constructor(options: { index: number; url: string; wishes: readonly Wish[]; history: History }) {
    this.#index = options.index;
    this.#url = options.url;
    this.#history = options.history;
    this.#following = options.wishes.map((wish) => ({ wish, after: 0, until: Infinity }));
  }

  get lastId(): string | undefined {
    return this.#lastId;
  }

  get seen(): number {
    return this.#seen ?? 0;
  }

  get wishes(): Wish[] {
    return this.#following.filter(({ until }) => until === Infinity).map(({ wish }) => wish);
  }

  /** Whether it has got what it came for, and is live. */
  get isSettled(): boolean {
    return this.#notes > 0 && !this.#isCut;
  }

  /** Whether the server, or the network, has ended its stream. */
  get isCut(): boolean {
    return this.#isCut;
  }

  /** The notes of this connection. */
  get notes(): number {
    return this.#notes;
  }

  get isCleared(): boolean {
    return this.#isCleared;
  }

  async connect({ id, mustReset, isCleared, byQuery = false }: Return): Promise<void> {
    this.#begin(mustReset, isCleared);
    if (id === undefined) {
      this.#seen = undefined;
      // If it is cut before it has a place, it comes back as new once more.
      this.#lastId = undefined;
    }
    const query = new URLSearchParams({ client: `${this.#index}`, wishes: JSON.stringify(this.wishes) });
    if (isCleared) {
      query.set('cleared', '');
    }
    if (id !== undefined && byQuery) {
      query.set('lastEventId', id);
    }
    const headers = {
      ...codingFor(`${this.#index}`),
      ...(id !== undefined && !byQuery && { 'Last-Event-ID': id }),
    };
    const request = get(`${this.#url}?${query.toString()}`, { headers, agent: false });
    this.#request = request;
    const leave = () => {
      this.#isCut ||= this.#request === request;
    };
    request.on('error', leave);
    this.#response = await new Promise<IncomingMessage>((resolve, reject) => {
      request.once('response', resolve).once('error', reject);
    });
    const parser = new EventStreamParser({
      // What was on its way when it left is not received.
      event: (event) => void (this.#request === request && this.#take(event)),
      comment: () => undefined,
      retry: () => undefined,
    });
    decodedBody(this.#response)
      .on('data', (bytes) => parser.push(bytes))
      .on('broken', ({ message }) => this.#fault(`It could not decode its stream: ${message}`))
      .on('close', leave);
  }

  stall(): void {
    this.#response?.pause();
  }

  readOn(): void {
    this.#response?.resume();
  }

  drop(): void {
    const request = this.#request;
    this.#request = undefined;
    request?.destroy();
  }

  /** Is owed what comes after that sequence. */
  follows(wish: Wish, after: number): void {
    this.#following.push({ wish, after, until: Infinity });
    if (wish.snapshot !== 'none') {
      this.#awaited.add(wish.uid);
    }
  }

  /** May still get what came up to that sequence. */
  unfollows({ uid }: Wish, until: number): void {
    this.#awaited.delete(uid);
    this.#following = this.#following.map((one) => (one.wish.uid === uid ? { ...one, until } : one));
  }

  /** What it is owed and has not got, up to a sequence. */
  missing(upTo = this.#history.last): Published | undefined {
    return this.#firstOwed(this.seen, upTo + 1);
  }

  #begin(mustReset: string | undefined, isCleared: boolean): void {
    this.#mustReset = mustReset;
    this.#isCleared = isCleared;
    this.#isCut = false;
    this.#hasBegun = false;
    this.#notes = 0;
    this.#came = 'nothing';
    this.#states = [];
    this.#awaited.clear();
    // All that it asks for goes on together, from its id.
    this.#following = this.#following
      .filter(({ until }) => until === Infinity)
      .map(({ wish }) => ({ wish, after: 0, until: Infinity }));
  }

  #take({ type, data, id }: { type: string; data: string; id: string | undefined }): void {
    if (type === 'note') {
      this.#takeNote(JSON.parse(data) as Note);
      return;
    }
    if (type === 'state') {
      this.#takeState(JSON.parse(data) as State, id);
      return;
    }
    this.#states = [];
    const sequence = parsePosition(id ?? '')?.sequence ?? -1;
    if (type === 'reset') {
      const { reason } = JSON.parse(data) as { reason: string };
      this.tally.resets[reason] = (this.tally.resets[reason] ?? 0) + 1;
      this.#checkReset(reason, sequence);
    } else if (!this.#hasBegun && this.#mustReset) {
      this.#fault(`A ${type} came where a reset for ${this.#mustReset} had to.`);
    } else if (this.#seen === undefined) {
      if (type !== 'cursor') {
        this.#fault(`The first event of a new client was a ${type}.`);
      }
    } else {
      this.#checkProgress(type, data, sequence);
    }
    this.#stand(type, sequence, id);
  }

  #stand(type: string, sequence: number, id: string | undefined): void {
    this.#came = `${type} ${sequence}`;
    this.#hasBegun = true;
    this.#mustReset = undefined;
    this.#seen = sequence;
    this.#lastId = id;
  }

  #takeNote({ n, offered }: Note): void {
    this.tally.notes += 1;
    this.#notes += 1;
    if (n !== this.#notes) {
      this.#fault(`Note ${n} came where ${this.#notes} had to.`);
    }
    if (this.#seen === undefined || this.#mustReset) {
      this.#fault(`A note came before the place of the client.`);
      return;
    }
    const missing = this.#firstOwed(this.#seen, offered + 1);
    if (missing) {
      this.#fault(`Note ${n} came before ${missing.sequence}, which was before it.`);
    }
  }

  #takeState(state: State, id: string | undefined): void {
    this.tally.states += 1;
    this.#states.push(state);
    const wish = this.wishes.find(({ uid }) => uid === state.uid);
    if (id === undefined) {
      this.#awaited.delete(state.uid);
      return;
    }
    this.#awaited.clear();
    const together = this.#states.filter(({ asked }) => asked === state.asked);
    const places = together.map(({ asked, own }) => parsePosition(own ?? asked)!.sequence);
    const { sequence } = parsePosition(id)!;
    if (sequence !== Math.min(...places)) {
      this.#fault(`States of ${places.join(' ')} came as of ${sequence}.`);
    }
    if (!wish && !this.#following.some((one) => one.wish.uid === state.uid)) {
      this.#fault(`A state came that nobody had asked for.`);
    }
    if (this.#seen !== undefined) {
      this.#checkReset(undefined, sequence);
    }
    this.#states = [];
    this.#stand('state', sequence, id);
  }

  /** @param reason - undefined where a state came in the place of a reset */
  #checkReset(reason: string | undefined, sequence: number): void {
    // Where the place of the log is that the reset tells of; it may have been a turn ahead of that.
    const isTrimmed = sequence + TURN_EVENTS - LOG_EVENTS + 1 > this.seen;
    const isTooFar = sequence - this.seen > MAX_REPLAY_EVENTS;
    const reasons = [isTrimmed && 'trimmed', isTooFar && 'limit', this.#mustReset].filter(Boolean);
    if (reason === undefined ? reasons.length === 0 : !reasons.includes(reason)) {
      this.#fault(`A reset for ${reason} to ${sequence} came after ${this.#came}, at ${this.seen}.`);
    }
    if (sequence < this.seen) {
      this.#fault(`A reset to ${sequence} came after ${this.#came}.`);
    }
  }

  #checkProgress(type: string, data: string, sequence: number): void {
    const isEvent = type !== 'cursor';
    if (sequence < this.seen || (isEvent && sequence === this.seen)) {
      this.#fault(`The ${type} ${sequence} came after the ${this.#came}.`);
    }
    const before = isEvent ? sequence : sequence + 1;
    const missing = this.#firstOwed(this.seen, before);
    if (missing) {
      this.#fault(`${missing.sequence} of ${missing.topic} is missing before the ${type} ${sequence}.`);
    }
    this.#count(this.seen, before);
    if (isEvent) {
      this.tally.received += 1;
      this.#checkContent(data, sequence);
    }
  }

  #checkContent(data: string, sequence: number): void {
    const event = this.#history.at(sequence);
    if (!event) {
      this.#fault(`${sequence} was never published.`);
      return;
    }
    const plain = JSON.stringify(event.data);
    const envelope = `{"topic":${JSON.stringify(event.topic)},"data":${plain}}`;
    const following = this.#following.filter(({ wish, until }) => sequence <= until && isWanted(wish, event));
    if (following.length === 0 || (isSecret(event.topic) && !this.#isCleared)) {
      this.#fault(`${sequence} of ${event.topic} is not for this client.`);
    } else if (!following.some(({ wish }) => data === (wish.envelope ? envelope : plain))) {
      this.#fault(`${sequence} has not the content that was published.`);
    } else if (following.every(({ wish }) => this.#awaited.has(wish.uid))) {
      this.#fault(`${sequence} of ${event.topic} came before the state that it follows.`);
    }
  }

  /** The first event between the two, both excluded, that it must get. */
  #firstOwed(after: number, before: number): Published | undefined {
    for (let sequence = after + 1; sequence < before; sequence += 1) {
      const event = this.#history.at(sequence);
      if (event && this.#standingOf(event) === 'owed') {
        return event;
      }
    }
    return undefined;
  }

  #count(after: number, before: number): void {
    for (let sequence = after + 1; sequence < before; sequence += 1) {
      const event = this.#history.at(sequence);
      const standing = event && this.#standingOf(event);
      if (standing === 'withheld' || standing === 'superseded') {
        this.tally[standing] += 1;
      }
    }
  }

  #standingOf(event: Published): 'owed' | 'withheld' | 'superseded' | 'none' {
    const { sequence, topic } = event;
    const following = this.#following.filter(
      ({ wish, after, until }) => until === Infinity && sequence > after && isWanted(wish, event),
    );
    if (following.length === 0) {
      return 'none';
    }
    if (isSecret(topic) && !this.#isCleared) {
      return 'withheld';
    }
    const isSuperseded = following.every(
      ({ wish }) => wish.latest && this.#history.lastOf(topic, { filtered: wish.filter }) > sequence,
    );
    return isSuperseded ? 'superseded' : 'owed';
  }

  #fault(what: string): void {
    const wishes = this.#following.map(({ wish: { pattern, uid, ...options }, after, until }) => {
      const set = Object.entries(options).filter(([, value]) => value && value !== 'none');
      return `${pattern}(${uid} ${set.map(([name, value]) => (value === true ? name : value)).join(' ')} ${after}-${until})`;
    });
    this.faults.push(`Client ${this.#index}: ${what} [${wishes.join(', ')}]`);
  }
}

function isWanted({ pattern, filter }: Wish, event: Published): boolean {
  return covers(pattern, event.topic) && (!filter || passesFilter(event));
}
