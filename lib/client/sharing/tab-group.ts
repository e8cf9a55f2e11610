import type { GroupMessage, LeaderMessage, TabMessage } from './messages.js';
import { holdLock } from './tab-environment.js';
import type { TabChannel, TabEnvironment } from './tab-environment.js';

type Body<Message, Common extends string> = Message extends unknown ? Omit<Message, Common> : never;
/** What a leader says, before its term is added. */
export type LeaderBody = Body<LeaderMessage, 'term' | 'leader'>;
/** What a tab says, before its name is added. */
export type TabBody = Body<TabMessage, 'term' | 'from'>;

/** What a tab answers to the census of a new leader. */
export type CensusAnswer = Omit<Extract<TabMessage, { kind: 'here' }>, 'kind' | 'from' | 'term'>;

/** What a group tells the link that is in it. */
export interface GroupListener {
  /** The leader says something, in the newest term. */
  onLeaderMessage(message: LeaderMessage): void;
  /** A tab asks the leader, which is this one. */
  onHello(from: string, place: string | undefined): void;
  answerCensus(): CensusAnswer;
  /** This tab leads from now on. @param answers - of the other tabs, as far as they have answered in time */
  onElected(answers: readonly CensusAnswer[]): void;
  /** This tab leads no more. */
  onDeposed(): void;
  /** Called once a second or so; a hidden tab is called less often. */
  onTick(): void;
}

const TICK_MS = 1_000;
// A leader that has said nothing for QUIET_MS is asked, and has ANSWER_MS to answer.
const QUIET_MS = 2_000;
const ANSWER_MS = 3_000;
// Of several visible tabs one is first, and the others notice.
const ANSWER_SPREAD_MS = 500;
// A timer that is so late says that this tab was stopped itself, perhaps with the whole computer.
const LATE_MS = 1_000;
const CENSUS_MS = 300;

/**
 * The tabs that share one connection: elects a leader by a lock, and replaces one that does not answer. A new leader
 * has a higher term, and what an older one still says is dropped.
 */
export class TabGroup {
  readonly id = crypto.randomUUID();
  readonly #environment: TabEnvironment;
  readonly #key: string;
  readonly #listener: GroupListener;
  readonly #channel: TabChannel;
  readonly #ticks: ReturnType<typeof setInterval>;
  #isClosed = false;
  /** The highest term that is known, and whose it is. */
  #term = 0;
  #leader: string | undefined;
  #leads = false;
  #releaseLock: (() => void) | undefined;
  #heardAt = Date.now();
  #answerTimer: ReturnType<typeof setTimeout> | undefined;
  #census:
    { readonly answers: Map<string, TabMessage>; expected: number; readonly end: () => void } | undefined;

  constructor(environment: TabEnvironment, key: string, listener: GroupListener) {
    this.#environment = environment;
    this.#key = key;
    this.#listener = listener;
    this.#channel = environment.openChannel(key);
    this.#channel.addEventListener('message', ({ data }) => this.#onMessage(data as GroupMessage));
    this.#ticks = setInterval(() => this.#onTick(), TICK_MS);
    this.#requestLock(false);
  }

  /** Says something to all other tabs, as the leader. */
  announce(body: LeaderBody): void {
    const message = { ...body, term: this.#term, leader: this.id };
    if (!this.#isClosed && this.#leads) {
      this.#channel.postMessage(message);
    }
  }

  /** Says something to the leader. */
  tell(body: TabBody): void {
    const message = { ...body, term: this.#term, from: this.id };
    if (!this.#isClosed) {
      this.#channel.postMessage(message);
    }
  }

  /** Releases the lock and the channel. */
  close(): void {
    this.#isClosed = true;
    clearInterval(this.#ticks);
    clearTimeout(this.#answerTimer);
    this.#leads = false;
    this.#census?.end();
    this.#channel.close();
    this.#releaseLock?.();
  }

  /** Asks a leader that has been quiet; if it does not answer, this tab takes its place. A hidden tab does not. */
  watchLeader(): void {
    const isQuiet = Date.now() - this.#heardAt >= QUIET_MS;
    if (this.#isClosed || this.#leads || this.#answerTimer || !isQuiet || !this.#environment.isVisible()) {
      return;
    }
    const askedAt = Date.now();
    const answerMs = ANSWER_MS + Math.random() * ANSWER_SPREAD_MS;
    this.tell({ kind: 'ping' });
    this.#answerTimer = setTimeout(() => {
      this.#answerTimer = undefined;
      const isLate = Date.now() - askedAt > answerMs + LATE_MS;
      if (!this.#leads && this.#heardAt < askedAt && !isLate) {
        this.#requestLock(true);
      }
    }, answerMs);
  }

  #onTick(): void {
    if (!this.#releaseLock) {
      this.#requestLock(false);
    }
    this.watchLeader();
    this.#listener.onTick();
  }

  #requestLock(isStolen: boolean): void {
    this.#releaseLock?.();
    const release = holdLock(this.#environment.locks, this.#key, isStolen, {
      onHeld: () => void this.#onHeld(),
      onLost: () => {
        if (this.#releaseLock === release) {
          // One that was never held is requested again at the next tick.
          this.#releaseLock = undefined;
          if (this.#leads) {
            this.#depose();
          }
        }
      },
    });
    this.#releaseLock = release;
  }

  /** Leads no more, and waits for its next turn. */
  #depose(): void {
    this.#leads = false;
    this.#census?.end();
    this.#heardAt = Date.now();
    this.#listener.onDeposed();
    if (!this.#isClosed) {
      this.#requestLock(false);
    }
  }

  async #onHeld(): Promise<void> {
    this.#leads = true;
    this.#beginTerm(this.#term);
    this.announce({ kind: 'census' });
    const answers = await this.#takeCensus();
    if (!this.#leads) {
      return;
    }
    const known = answers.reduce((highest, { term }) => Math.max(highest, term), 0);
    if (known >= this.#term) {
      this.#beginTerm(known);
    }
    this.#listener.onElected(answers.flatMap((answer) => (answer.kind === 'here' ? answer : [])));
  }

  /** The clock of the computer is the same for all tabs, also for one that knows no term yet. */
  #beginTerm(known: number): void {
    this.#term = Math.max(known + 1, Date.now());
    this.#leader = this.id;
  }

  /** Waits until all tabs that wait for the lock have answered, or for a moment. */
  async #takeCensus(): Promise<readonly TabMessage[]> {
    const answers = new Map<string, TabMessage>();
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, CENSUS_MS);
      const end = (): void => {
        clearTimeout(timer);
        resolve();
      };
      this.#census = { answers, expected: Infinity, end };
      void this.#countWaiting().then((expected) => {
        if (this.#census?.answers === answers) {
          this.#census.expected = expected;
          this.#endFullCensus();
        }
      });
    });
    if (this.#census?.answers === answers) {
      this.#census = undefined;
    }
    return [...answers.values()];
  }

  #endFullCensus(): void {
    if (this.#census && this.#census.answers.size >= this.#census.expected) {
      this.#census.end();
    }
  }

  async #countWaiting(): Promise<number> {
    try {
      const { pending } = await this.#environment.locks.query();
      return pending?.filter(({ name }) => name === this.#key).length ?? Infinity;
    } catch {
      return Infinity;
    }
  }

  #onMessage(message: GroupMessage): void {
    if (this.#isClosed) {
      return;
    }
    if ('leader' in message) {
      this.#onLeaderMessage(message);
    } else if (this.#leads) {
      this.#onTabMessage(message);
    }
  }

  #onLeaderMessage(message: LeaderMessage): void {
    const { kind, term, leader } = message;
    if (kind === 'census') {
      // Answered whatever its term: the new leader learns from it that there was a higher one.
      this.tell({ kind: 'here', ...this.#listener.answerCensus() });
    }
    const begins = kind === 'census' || kind === 'lead';
    const isCurrent = term > this.#term || (term === this.#term && (begins || leader === this.#leader));
    if (!isCurrent) {
      return;
    }
    this.#term = term;
    this.#leader = leader;
    this.#heardAt = Date.now();
    if (this.#leads) {
      this.#depose();
    }
    this.#listener.onLeaderMessage(message);
  }

  #onTabMessage(message: TabMessage): void {
    if (message.kind === 'ping') {
      this.announce({ kind: 'pong' });
    } else if (message.kind === 'hello') {
      this.#listener.onHello(message.from, message.place);
    } else {
      this.#census?.answers.set(message.from, message);
      this.#endFullCensus();
    }
  }
}
