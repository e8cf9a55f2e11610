import { describe, expect, it } from '@jest/globals';
import { findRunFaults } from './checker.js';
import type { PageRecord, Report, RunPlan, RunsHistory, Sight, StoredRecord } from './history.js';
import { itemOf, readEvent, toldBy } from './tokens.js';
import type { Token, TokenFormat } from './tokens.js';

// A checker that finds nothing in whatever it is given is worth nothing: each fault here must be found, and the
// story without it must pass.

const ID = 'chat';
const KEY = 'k1';
const TOKENS = 5;
const ENDS: Readonly<Record<TokenFormat, readonly { type?: string; data: string }[]>> = {
  json: [{ type: 'done', data: 'null' }],
  openai: [{ data: '[DONE]' }],
  'ai-sdk': [{ data: '[DONE]' }],
  own: [{ type: 'fine', data: '' }, { data: 'over' }],
  none: [],
};
const ERROR = { type: 'error', data: '{"message":"Internal server error"}' };
type Change = (story: Story) => void;
type PlainSight = Sight extends infer S ? (S extends Sight ? Omit<S, 'at'> : never) : never;

/** A run of five tokens by the producer `a#1`, which one page has got in full, and what a test changes of that. */
class Story {
  readonly format: TokenFormat;
  plan: RunPlan;
  records: StoredRecord[] = [];
  sights: Sight[] = [];
  end: PageRecord['end'] = 'told';
  reports: Report[] = [];
  fate: 'left' | 'killed' | 'closed' = 'left';
  stops: RunsHistory['stops'] = [];
  leases: string[] = [];
  others: RunsHistory['stored'] = [];
  past: StoredRecord[][] = [];
  isLogFaulty = false;
  now = 1_000;

  constructor(format: TokenFormat = 'json') {
    this.format = format;
    this.plan = {
      id: ID,
      turn: 0,
      format,
      tokens: TOKENS,
      pausesMs: [1],
      silentAt: -1,
      failsAt: -1,
      onDisconnect: 'continue',
      orphanMs: 60_000,
      onShutdown: 'end',
    };
    this.records = [this.record(1, 'begin', '{}')];
    this.reports = [this.at({ kind: 'source', producer: 'a#1', id: ID, turn: 0 })];
    for (let index = 0; index < TOKENS; index += 1) {
      this.make(index);
    }
    this.reports.push(this.at({ kind: 'over', producer: 'a#1', how: 'done' }));
    this.finish('done');
    this.see({ kind: 'ask', method: 'POST', after: undefined }, { kind: 'answer', status: 200 });
    this.gets();
    this.see({ kind: 'close', how: 'clean' });
    if (format === 'none') {
      this.end = 'clean';
    }
  }

  at<T>(what: T): T & { at: number } {
    return { ...what, at: this.now };
  }

  record(sequence: number, kind: string, data: string, type?: string): StoredRecord {
    return { id: `${KEY}-${sequence}-${String(sequence).padStart(8, '0')}`, kind, type, data, at: this.now };
  }

  append(kind: string, data: string, type?: string): void {
    this.records.push(this.record(this.records.length + 1, kind, data, type));
  }

  make(index: number, producer = 'a#1'): void {
    const token: Token = { run: ID, turn: 0, producer, index };
    const item = itemOf(this.format, token);
    const data = JSON.stringify(this.format === 'none' ? token : item);
    this.append('item', data, this.format === 'own' || this.format === 'none' ? 'token' : undefined);
    this.reports.push(this.at({ kind: 'token', producer, index }));
  }

  /** Ends it, and has its end told. */
  finish(reason: string, words = ENDS[this.format]): void {
    for (const { data, type } of words) {
      this.append('last', data, type);
    }
    this.append('end', JSON.stringify({ reason, events: this.items.length, bytes: this.bytes }));
    this.reports.push(this.at({ kind: 'end', end: this.saved(reason) }));
  }

  /** Takes back the end, and that it was told, and what comes with it in the page. */
  unfinish(): void {
    this.records = this.records.filter(({ kind }) => kind !== 'last' && kind !== 'end');
    this.reports = this.reports.filter(({ kind }) => kind !== 'end');
  }

  saved(reason: string) {
    const items = this.items.map(
      ({ data }) => (this.format === 'none' ? { data: JSON.parse(data) } : JSON.parse(data)) as unknown,
    );
    const { length: events } = items;
    return { id: ID, key: KEY, reason: reason as 'done', events, bytes: this.bytes, items };
  }

  get items(): StoredRecord[] {
    return this.records.filter(({ kind }) => kind === 'item');
  }

  get bytes(): number {
    return this.items.reduce((sum, { data }) => sum + Buffer.byteLength(data), 0);
  }

  see(...sights: PlainSight[]): void {
    this.sights.push(...sights.map((sight) => this.at(sight) as Sight));
  }

  /** Has the page get what the log has for it, from a place on. */
  gets(from = 0, upTo = Infinity): void {
    const due = this.records.filter(({ kind }) => kind === 'item' || kind === 'last').slice(from, upTo);
    for (const { id, type = 'message', data } of due) {
      this.see({ kind: 'event', id, type, data });
    }
  }

  /** Has the page see nothing but that it asked, so that a test says what it got. */
  asksAgain(): void {
    this.sights = [];
    this.see({ kind: 'ask', method: 'POST', after: undefined }, { kind: 'answer', status: 200 });
  }

  /** Ends the run after some of its tokens, by a failure that the page is told of. */
  fails(tokens: number, reason = 'error'): void {
    const begin = this.records[0]!;
    this.unfinish();
    this.records = [begin, ...this.items.slice(0, tokens)];
    this.reports = this.reports.filter((report) => report.kind !== 'token' || report.index < tokens);
    this.finish(reason, [ERROR]);
    this.asksAgain();
    this.gets();
    this.see({ kind: 'close', how: 'clean' });
  }

  /** Another producer goes on after some of the tokens, from one on. The log has these records between the two. */
  isHandedOver(tokens: number, from: number, between = ['handed-over', 'taken-over']): void {
    this.unfinish();
    this.records = [this.records[0]!, ...this.items.slice(0, tokens)];
    between.forEach((kind) => this.append(kind, '1'));
    for (let index = from; index < TOKENS; index += 1) {
      this.make(index, 'b#1');
    }
    this.finish('done');
    this.asksAgain();
    this.gets();
    this.see({ kind: 'close', how: 'clean' });
  }

  /**
   * The log comes back as it was after some of the tokens. What it made since is lost, and whoever finds it ends it; the
   * page gets that from a place on.
   */
  goesBack(tokens: number): void {
    this.past = [this.records];
    const [begin] = this.records;
    const kept = this.items.slice(0, tokens);
    this.records = [begin!, ...kept];
    this.reports = this.reports.filter(({ kind }) => kind !== 'end');
    this.isLogFaulty = true;
    this.append('last', ERROR.data, ERROR.type);
    // Others draw other nonces.
    const { length } = this.records;
    this.records[length - 1] = { ...this.records[length - 1]!, id: `${KEY}-${length}-000000ff` };
    this.append('end', JSON.stringify({ reason: 'error', events: tokens, bytes: this.bytes }));
    this.reports.push(this.at({ kind: 'end', end: this.saved('error') }));
  }

  /** An old copy comes back that has nothing of the run. The page has seen nothing yet. */
  isTakenAway(): void {
    this.past = [this.records];
    this.records = [];
    this.sights = [];
    this.reports = this.reports.filter(({ kind }) => kind !== 'end');
    this.isLogFaulty = true;
  }

  /** The page gets some events, and the words of a failure that stand in no log. */
  isLost(events = 2): void {
    this.asksAgain();
    this.gets(0, events);
    this.see({ kind: 'event', id: '', ...ERROR }, { kind: 'close', how: 'clean' });
  }

  get faults(): string[] {
    return findRunFaults({
      plans: new Map([[ID, [this.plan]]]),
      stored: [{ id: ID, key: KEY, records: this.records, past: this.past }, ...this.others],
      pages: [{ name: 'Page', id: ID, sights: this.sights, end: this.end }],
      processes: [{ name: 'a', fate: this.fate, reports: this.reports }],
      stops: this.stops,
      isLogFaulty: this.isLogFaulty,
      leases: this.leases,
    });
  }
}

const cut: PlainSight = { kind: 'close', how: 'cut' };
const resume = (story: Story, seen: number): PlainSight => ({
  kind: 'ask',
  method: 'GET',
  after: story.items[seen - 1]!.id,
});
/** The page gets some events, and comes back after those. */
const comesBack =
  (seen: number, from: number): Change =>
  (story) => {
    story.asksAgain();
    story.gets(0, seen);
    story.see(cut, resume(story, seen), { kind: 'answer', status: 200 });
    story.gets(from);
  };
const savedOf = (story: Story) => story.reports.findIndex(({ kind }) => kind === 'end');

const cases: [string, RegExp | undefined, Change][] = [
  ['all of it', undefined, () => undefined],
  ['a resume, exact', undefined, comesBack(2, 2)],
  ['an event twice, over two connections', /Page has the token 1 where 2 is due/, comesBack(2, 1)],
  ['a gap between two connections', /Page has the token 3 where 2 is due/, comesBack(2, 3)],
  [
    'an event twice',
    /Page has the token 0 where 1 is due/,
    (story) => story.sights.splice(2, 0, story.sights[2]!),
  ],
  ['a gap', /Page has the token 2 where 1 is due/, (story) => story.sights.splice(3, 1)],
  [
    'a replay in full, after some of it',
    undefined,
    (story) => {
      story.asksAgain();
      story.gets(0, 3);
      story.see(cut, { kind: 'ask', method: 'GET', after: undefined }, { kind: 'answer', status: 200 });
      story.gets();
    },
  ],
  ['a replay in full where the rest was asked for', /Page has the token 0 where 2 is due/, comesBack(2, 0)],
  [
    'two producers in a log',
    /The run chat \(k1\) has tokens of two producers, a#1 and b#1/,
    (story) => {
      story.unfinish();
      story.records.pop();
      story.make(4, 'b#1');
      story.finish('done');
      story.asksAgain();
      story.gets();
    },
  ],
  ['a run that was handed over', undefined, (story) => story.isHandedOver(3, 3)],
  ['one that was handed over without a token', undefined, (story) => story.isHandedOver(0, 0)],
  ['a hand-over with a gap', /has the token 4 where 3 is due/, (story) => story.isHandedOver(3, 4)],
  ['a hand-over that repeats a token', /has the token 2 where 3 is due/, (story) => story.isHandedOver(3, 2)],
  [
    'one that goes on with its former producer after that',
    /has tokens of two producers, b#1 and a#1/,
    (story) => {
      story.isHandedOver(3, 3);
      const item = story.records.at(-3)!;
      story.records.splice(-3, 1, { ...item, data: item.data.replace('b#1', 'a#1') });
    },
  ],
  [
    'a producer that takes over what was not handed over',
    /was taken over, and was not handed over/,
    (story) => story.isHandedOver(3, 3, ['taken-over']),
  ],
  [
    'a producer that goes on after it has handed over',
    /goes on after it was handed over, and was not taken over/,
    (story) => story.isHandedOver(3, 3, ['handed-over']),
  ],
  [
    'two producers in a page',
    /Page has tokens of two producers, a#1 and b#1/,
    (story) => {
      const event = story.sights[6] as Sight & { kind: 'event' };
      story.sights[6] = { ...event, data: event.data.replace('a#1', 'b#1') };
    },
  ],
  [
    'an answer of another run',
    /Page has a token of other/,
    (story) => {
      const event = story.sights[2] as Sight & { kind: 'event' };
      story.sights[2] = { ...event, data: event.data.replace('"chat"', '"other"') };
    },
  ],
  [
    'a clean end without the last word',
    /saw its response end without the last word/,
    (story) => {
      story.asksAgain();
      story.gets(0, TOKENS);
      story.see({ kind: 'close', how: 'clean' });
      story.end = 'clean';
    },
  ],
  [
    'the last word too early',
    /was told that the answer is complete after 4 of 5 tokens/,
    (story) => story.sights.splice(6, 1),
  ],
  ['a page that waits', /has never come to an end/, (story) => (story.end = undefined)],
  [
    'an event after the end',
    /got a token after done/,
    (story) => {
      story.see({ kind: 'ask', method: 'GET', after: `${KEY}-7-00000007` }, { kind: 'answer', status: 200 });
      story.gets(4, 5);
    },
  ],
  [
    'a 204 in the middle',
    /was told that there is nothing, after 2 events/,
    (story) => {
      story.asksAgain();
      story.gets(0, 2);
      story.see(cut, resume(story, 2), { kind: 'answer', status: 204 });
      story.end = 'none';
    },
  ],
  [
    'a 204 in the middle, where somebody died who was to begin the next run',
    undefined,
    (story) => {
      story.asksAgain();
      story.gets(0, 2);
      story.see(cut, resume(story, 2), { kind: 'answer', status: 204 });
      story.end = 'none';
      story.others = [{ id: ID, key: 'k2', records: [], past: [] }];
    },
  ],
  [
    'a 204 where there is a run',
    /was told that there is nothing where there is a run/,
    (story) => {
      story.sights = [];
      story.see({ kind: 'ask', method: 'GET', after: undefined }, { kind: 'answer', status: 204 });
      story.end = 'nothing';
    },
  ],
  [
    'a 410 without another run',
    /was told that the run of k1-3-00000003 is another, which it is not/,
    (story) => {
      story.asksAgain();
      story.gets(0, 2);
      story.see(cut, resume(story, 2), { kind: 'answer', status: 410 });
      story.see({ kind: 'ask', method: 'GET', after: undefined }, { kind: 'answer', status: 200 });
      story.gets();
    },
  ],
  [
    'a run that is lost to its page, since another has its place',
    undefined,
    (story) => {
      story.isLost();
      story.others = [{ id: ID, key: 'k2', records: [], past: [] }];
    },
  ],
  ['a run that is said to be lost', /got an event with the id ""/, (story) => story.isLost()],
  ['a run whose answer a page had when an old copy came back', undefined, (story) => story.goesBack(3)],
  [
    'a page that is told what is left of a run that came back as an old copy',
    undefined,
    (story) => {
      story.asksAgain();
      story.gets(0, 4);
      story.goesBack(3);
      const last = story.past[0]![4]!.id;
      story.see(cut, { kind: 'ask', method: 'GET', after: last }, { kind: 'answer', status: 410 });
      story.see({ kind: 'ask', method: 'GET', after: undefined }, { kind: 'answer', status: 200 });
      story.gets();
    },
  ],
  [
    'a page that is told the loss where an old copy came back',
    undefined,
    (story) => {
      story.isLost();
      story.goesBack(1);
    },
  ],
  [
    'a page that had nothing yet, and is told the loss where an old copy came back',
    undefined,
    (story) => {
      story.isLost(0);
      story.goesBack(1);
    },
  ],
  [
    'a page that had nothing yet, and is told a loss that was none',
    /got an event with the id ""/,
    (story) => story.isLost(0),
  ],
  [
    'a page that comes back after that, and is told what the old copy has',
    undefined,
    (story) => {
      story.isLost();
      story.goesBack(2);
      story.see(resume(story, 2), { kind: 'answer', status: 200 });
      story.gets(2);
    },
  ],
  [
    'a page that goes on in an old copy as if nothing had been',
    /got k1-5-000000ff after k1-5/,
    (story) => {
      story.asksAgain();
      story.gets(0, 4);
      story.goesBack(3);
      story.see(cut, resume(story, 3), { kind: 'answer', status: 200 });
      story.gets(3);
    },
  ],
  [
    'a producer that goes on in an old copy behind a hole',
    /The run chat \(k1\) has the token 4 where 3 is due/,
    (story) => {
      story.past = [story.records];
      story.records = story.records.filter((_record, index) => index !== 4);
      story.asksAgain();
      story.gets();
    },
  ],
  [
    'a page that is told that an answer is complete, which came back as an old copy without its end',
    /was told the end after 4 events of a log that has more/,
    (story) => {
      story.asksAgain();
      story.gets(0, 3);
      story.goesBack(4);
      story.see({ kind: 'event', id: story.records.at(-2)!.id, ...ERROR });
    },
  ],
  [
    'a run that is not ended when it came back as an old copy',
    /The run chat \(k1\) has not ended/,
    (story) => {
      story.goesBack(3);
      story.records = story.records.slice(0, 4);
    },
  ],
  [
    'a run of which an old copy has nothing, and that others have spoken of',
    undefined,
    (story) => {
      story.past = [story.records];
      story.records = [story.record(1, 'gone', 'null')];
    },
  ],
  [
    'a run of which an old copy has nothing, and whose end was told as that came back',
    undefined,
    (story) => {
      story.past = [story.records];
      story.records = [story.record(1, 'settled', 'null')];
    },
  ],
  [
    'an end of a run in an old copy that nobody was told of',
    /onEnd was never called for the run chat/,
    (story) => {
      story.goesBack(3);
      story.reports = story.reports.filter(({ kind }) => kind !== 'end');
    },
  ],
  [
    'another answer that was saved of a run that came back as an old copy',
    /was given 2 items, which are not the 3 of the log/,
    (story) => {
      story.goesBack(3);
      const end = { ...story.saved('error'), items: story.saved('error').items.slice(1) };
      story.reports[savedOf(story)] = story.at({ kind: 'end', end });
    },
  ],
  [
    'an answer of 500, of no run that has failed',
    /was answered with 500, and no run of its id has failed before it made anything/,
    (story) => story.see({ kind: 'answer', status: 500 }),
  ],
  [
    'an answer of 500, of a run that has failed before it made anything',
    undefined,
    (story) => {
      story.fails(0);
      story.fate = 'killed';
      story.sights = [];
      story.see({ kind: 'ask', method: 'GET', after: undefined }, { kind: 'answer', status: 500 });
      story.end = 'failed';
    },
  ],
  [
    'an answer of 500, of a run that an old copy has taken away before its page had anything',
    undefined,
    (story) => {
      story.isTakenAway();
      story.see({ kind: 'ask', method: 'GET', after: undefined }, { kind: 'answer', status: 500 });
      story.see({ kind: 'ask', method: 'GET', after: undefined }, { kind: 'answer', status: 204 });
      story.end = 'nothing';
    },
  ],
  [
    'a 204 of a run that an old copy has taken away, of which others have spoken since',
    undefined,
    (story) => {
      story.isTakenAway();
      story.records = [story.record(1, 'gone', 'null')];
      story.see({ kind: 'ask', method: 'GET', after: undefined }, { kind: 'answer', status: 204 });
      story.end = 'none';
    },
  ],
  [
    'an answer of 503 while the log is away',
    undefined,
    (story) => {
      story.isLogFaulty = true;
      story.asksAgain();
      story.sights.splice(1, 0, story.at({ kind: 'answer', status: 503 }));
      story.gets();
    },
  ],
  ['a refusal', /was answered with 403/, (story) => story.see({ kind: 'answer', status: 403 })],
  [
    'a failure of a run that has answered',
    /was answered with a failure after 7 events/,
    (story) => {
      story.end = 'failed';
      story.gets(0, 1);
    },
  ],
  [
    'an end of which the log does not know',
    /got k1-7-00000007 where the log has nothing/,
    (story) => {
      story.records.splice(6, 1);
    },
  ],
  [
    'a source that failed',
    undefined,
    (story) => {
      story.plan = { ...story.plan, failsAt: 3 };
      story.fails(3);
    },
  ],
  ['an error for no reason', /ended as error after 3 tokens, for no reason/, (story) => story.fails(3)],
  [
    'an error of a process that was killed',
    undefined,
    (story) => {
      story.fails(3);
      story.fate = 'killed';
    },
  ],
  [
    'a stop that nobody asked for',
    /ended as stop after 3 tokens, for no reason/,
    (story) => story.fails(3, 'stop'),
  ],
  [
    'a stop',
    undefined,
    (story) => {
      story.fails(3, 'stop');
      story.stops = [{ id: ID, askedAt: 900, wasLive: true }];
    },
  ],
  [
    'a stop that was not heard',
    /A stop of chat was answered as done, and no run of that id knows of it/,
    (story) => (story.stops = [{ id: ID, askedAt: 900, wasLive: true }]),
  ],
  [
    'a stop that came too late',
    undefined,
    (story) => (story.stops = [{ id: ID, askedAt: 900, wasLive: false }]),
  ],
  [
    'a run that goes on although it was stopped',
    /was stopped, and ended as done, 8000 ms too late/,
    (story) => {
      story.stops = [{ id: ID, askedAt: 900, wasLive: true }];
      story.records.splice(3, 0, { ...story.record(9, 'stop', 'null'), id: 'k1-3-99999999', at: -9_000 });
    },
  ],
  [
    'a run that ends late because a process stood still',
    undefined,
    (story) => {
      story.stops = [{ id: ID, askedAt: -9_100, wasLive: true }];
      story.records.splice(3, 0, { ...story.record(9, 'stop', 'null'), id: 'k1-3-99999999', at: -9_000 });
      story.reports.push(story.at({ kind: 'stall', ms: 9_000 }));
    },
  ],
  [
    'a source that waits on when its run is over',
    /The source a#1 of the run chat was over 6000 ms too late/,
    (story) => {
      story.now = 9_000;
      story.reports = story.reports.map((report) =>
        report.kind === 'over' ? story.at({ ...report }) : report,
      );
    },
  ],
  [
    'a run that is complete too early',
    /ended as done with 4 of 5 tokens/,
    (story) => {
      story.unfinish();
      story.records.pop();
      story.finish('done');
    },
  ],
  [
    'a log without an end',
    /The run chat \(k1\) has not ended/,
    (story) => {
      story.records.pop();
    },
  ],
  [
    'an append that is there twice, as one that arrives late',
    /has at k1-9-00000001 what it has at k1-1-00000001/,
    (story) => story.records.push({ ...story.records[0]!, id: `${KEY}-9-00000001` }),
  ],
  ['a log that goes on after its end', /goes on after its end with item/, (story) => story.make(5)],
  [
    'an end that counts wrong',
    /holds 5 events of \d+ bytes, and says 6 of 1/,
    (story) => {
      story.records.pop();
      story.append('end', '{"reason":"done","events":6,"bytes":1}');
    },
  ],
  [
    'an end in other words',
    /ended as stop, and says \[done\]/,
    (story) => {
      story.records.pop();
      story.append('end', JSON.stringify({ reason: 'stop', events: TOKENS, bytes: story.bytes }));
    },
  ],
  [
    'an answer that was never saved',
    /onEnd was never called for the run chat/,
    (story) => story.reports.splice(savedOf(story), 1),
  ],
  [
    'an answer that could not be saved, of a process that died, when another run had its place',
    undefined,
    (story) => {
      story.reports.splice(savedOf(story), 1, story.at({ kind: 'refusal', key: KEY }));
      story.fate = 'killed';
      story.others = [{ id: ID, key: 'k2', records: [], past: [] }];
    },
  ],
  [
    'an answer that could not be saved, of a process that died',
    /onEnd was never called for the run chat/,
    (story) => {
      story.reports.splice(savedOf(story), 1, story.at({ kind: 'refusal', key: KEY }));
      story.fate = 'killed';
    },
  ],
  [
    'an answer that was saved twice',
    undefined,
    (story) => void story.reports.push(story.reports[savedOf(story)]!),
  ],
  [
    'another answer that was saved',
    /was given 4 items, which are not the 5 of the log/,
    (story) => {
      const end = { ...story.saved('done'), items: story.saved('done').items.slice(1) };
      story.reports[savedOf(story)] = story.at({ kind: 'end', end });
    },
  ],
  [
    'another reason when it is told again',
    /was given the reason error, where the log has done/,
    (story) => void story.reports.push(story.at({ kind: 'end', end: story.saved('error') })),
  ],
  [
    'an answer of no run',
    /onEnd was called for k9 of chat, which is no run/,
    (story) => void story.reports.push(story.at({ kind: 'end', end: { ...story.saved('done'), key: 'k9' } })),
  ],
  [
    'a source that is not over',
    /The source a#1 is not over, and its process a was there/,
    (story) => (story.reports = story.reports.filter(({ kind }) => kind !== 'over')),
  ],
  [
    'a source that died with its process',
    undefined,
    (story) => {
      story.reports = story.reports.filter(({ kind }) => kind !== 'over');
      story.fate = 'killed';
    },
  ],
  [
    'a source that goes on when its process wakes',
    /The source a#1 made 4 tokens for the run chat \(k1\) after that was over/,
    (story) => {
      story.now = 3_000;
      story.reports.push(story.at({ kind: 'stall', ms: 2_500 }));
      story.now = 3_010;
      for (const index of [5, 6, 7, 8]) {
        story.reports.push(story.at({ kind: 'token', producer: 'a#1', index }));
      }
    },
  ],
  [
    'tokens that come together in the turn in which its process wakes',
    undefined,
    (story) => {
      story.plan = { ...story.plan, pausesMs: [0, 0, 0, 0, 0, 1] };
      story.now = 3_000;
      story.reports.push(story.at({ kind: 'stall', ms: 2_500 }));
      story.now = 3_010;
      for (const index of [5, 6, 7, 8]) {
        story.reports.push(story.at({ kind: 'token', producer: 'a#1', index }));
      }
    },
  ],
  [
    'a token in the turn in which its process wakes',
    undefined,
    (story) => {
      story.now = 3_000;
      story.reports.push(story.at({ kind: 'stall', ms: 2_500 }));
      story.now = 3_010;
      story.reports.push(story.at({ kind: 'token', producer: 'a#1', index: 5 }));
    },
  ],
  [
    'a source that goes on after its run',
    /The source a#1 made 4 tokens for the run chat \(k1\) after that was over/,
    (story) => {
      story.now = 9_000;
      for (const index of [5, 6, 7, 8]) {
        story.reports.push(story.at({ kind: 'token', producer: 'a#1', index }));
      }
    },
  ],
  ['a lease that is left', /The lease l is left/, (story) => story.leases.push('l')],
];

describe('the checker of runs', () => {
  it.each(cases)('judges %s', (_name, expected, change) => {
    const story = new Story();
    change(story);
    const { faults } = story;

    if (expected) {
      expect(faults).toContainEqual(expect.stringMatching(expected));
    } else {
      expect(faults).toEqual([]);
    }
  });

  it.each<TokenFormat>(['json', 'openai', 'ai-sdk', 'own', 'none'])('reads %s', (format) => {
    expect(new Story(format).faults).toEqual([]);
  });

  it('takes a clean end of a run without a format that was stopped before it made anything for its end', () => {
    const story = new Story('none');
    story.unfinish();
    story.records = [story.records[0]!];
    story.reports = story.reports.filter(({ kind }) => kind !== 'token');
    story.finish('stop');
    story.stops = [{ id: ID, askedAt: 900, wasLive: true }];
    story.asksAgain();
    story.see({ kind: 'close', how: 'clean' });

    expect(story.faults).toEqual([]);
    story.past = [story.records];
    story.records = [];
    expect(story.faults).toEqual([]);
    story.past = [];
    expect(story.faults).not.toEqual([]);
  });

  it.each([
    ['takes', true, []],
    ['does not take', false, [expect.stringMatching(/got an event with the id ""/), expect.anything()]],
  ])(
    '%s the first of the words of a loss for those, where the page leaves before the next',
    (_is, isLost, due) => {
      const story = new Story('ai-sdk');
      story.others = isLost ? [{ id: ID, key: 'k2', records: [], past: [] }] : [];
      story.asksAgain();
      const data = '{"type":"error","errorText":"Internal server error"}';
      story.see({ kind: 'event', id: '', type: 'message', data }, { kind: 'close', how: 'left' });
      story.see({ kind: 'ask', method: 'GET', after: undefined }, { kind: 'answer', status: 204 });
      story.end = 'none';
      expect(story.faults).toEqual(due);
    },
  );

  it.each([
    ['of a run that it had something of', 2],
    ['of a run that it had nothing of', 0],
  ])('takes the words of a loss %s for those, where each connection brings them anew', (_of, tokens) => {
    const story = new Story('ai-sdk');
    story.others = [{ id: ID, key: 'k2', records: [], past: [] }];
    story.asksAgain();
    story.gets(0, tokens);
    const words = ['{"type":"error","errorText":"Internal server error"}', '[DONE]'];
    const [first, last] = words.map((data) => ({ kind: 'event' as const, id: '', type: 'message', data }));
    story.see(first!, { kind: 'close', how: 'left' });
    // The parser of a client that had no id says that it is empty.
    const after = story.sights.findLast((sight) => sight.kind === 'event' && sight.id !== '');
    story.see({ kind: 'ask', method: 'GET', after: after && 'id' in after ? after.id : '' });
    story.see({ kind: 'answer', status: 200 }, first!, last!, { kind: 'close', how: 'clean' });
    story.end = 'told';
    expect(story.faults).toEqual([]);
  });

  it('takes what comes after words of a loss for what the log has', () => {
    const story = new Story('ai-sdk');
    story.past = [story.records.slice(0, 1)];
    story.asksAgain();
    const data = '{"type":"error","errorText":"Internal server error"}';
    story.see({ kind: 'event', id: '', type: 'message', data }, { kind: 'close', how: 'left' });
    story.see({ kind: 'ask', method: 'GET', after: '' }, { kind: 'answer', status: 200 });
    story.gets();
    story.see({ kind: 'close', how: 'clean' });
    expect(story.faults).toEqual([]);
  });

  it('takes a 204 for all for that of the next run, which was stopped before it made anything', () => {
    const story = new Story('json');
    story.asksAgain();
    story.gets(0, 2);
    story.see(cut, { kind: 'ask', method: 'GET', after: undefined }, { kind: 'answer', status: 204 });
    story.end = 'none';
    const ofNothing = () => story.faults.filter((fault) => fault.includes('that there is nothing'));
    const end = story.record(1, 'end', JSON.stringify({ reason: 'stop', events: 0, bytes: 0 }));

    story.others = [{ id: ID, key: 'k2', records: [end], past: [] }];
    expect(ofNothing()).toEqual([]);
    story.others = [];
    expect(ofNothing()).toEqual([expect.stringContaining('after 0 events; stored: k1 ')]);
  });

  it('takes a clean end of a run without a format for its end, where it is complete', () => {
    const story = new Story('none');
    story.sights.splice(-2, 1);

    expect(story.faults).toContainEqual(expect.stringMatching(/end as if it were complete, after 4 events/));
  });

  it.each<[TokenFormat, string[], string | undefined]>([
    ['json', [], undefined],
    ['json', ['done', 'done'], undefined],
    ['json', ['error'], 'failed'],
    ['openai', ['error', '[DONE]'], undefined],
    ['ai-sdk', ['error'], undefined],
    ['ai-sdk', ['error', '[DONE]'], 'failed'],
    ['ai-sdk', ['abort', '[DONE]'], 'failed'],
    ['own', ['fine'], undefined],
    ['own', ['fine', 'message'], 'done'],
  ])('takes %s’s %j for %s', (format, words, told) => {
    expect(toldBy(format, words)).toBe(told);
  });

  it('tells a token from a word', () => {
    expect(readEvent('openai', { type: 'message', data: '{"error":{}}' })).toEqual({ word: 'error' });
    expect(readEvent('ai-sdk', { type: 'message', data: '{"type":"finish"}' })).toEqual({ word: 'finish' });
  });
});
