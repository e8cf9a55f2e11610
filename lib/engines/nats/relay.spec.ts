import { beforeEach, describe, expect, it } from '@jest/globals';
import type { LogRecord } from '../../log/index.js';
import { Refusal } from './appends.js';
import { Leases } from './lease.js';
import type { Outgoing, StreamMessage } from './message.js';
import type { NatsContext } from './nats.event-log.js';
import { RelayNotes } from './relay-notes.js';
import { NatsRelayTarget } from './relay.js';
import type { ServerClock } from './server-clock.js';
import type { NatsStream } from './stream.js';

const WRONG_LAST_SEQUENCE = 10_071;

/** The two streams of a log in memory, and the connection to them. */
class FakeStreams {
  epoch = 'e1';
  messages: StreamMessage[] = [];
  last = 0;
  note: StreamMessage | undefined;
  reads = 0;

  readonly events = {
    name: 'events',
    places: async () => {
      const { epoch, last, messages } = this;
      const first = messages[0]?.sequence ?? last + 1;
      return { epoch, first, last, messages: messages.length, bytes: 0, leader: undefined };
    },
    message: async ({ seq }: { seq: number }) => this.messages.find(({ sequence }) => sequence === seq),
    read: async ({ from, to }: { from: number; to: number }) => {
      this.reads += 1;
      return this.messages.filter(({ sequence }) => sequence >= from && sequence <= to);
    },
    replaceEpoch: async () => void (this.epoch += 'x'),
    purge: async ({ seq }: { seq: number }) => this.trim(seq),
  };

  readonly leases = {
    name: 'leases',
    ensure: async () => undefined,
    message: async () => this.note,
    read: async () => (this.note ? [this.note] : []),
    purge: async () => void (this.note = undefined),
  };

  readonly context = {
    closed: new AbortController().signal,
    link: { whenStarted: async () => undefined, requestTimeoutMs: 100, maxPayload: 1_000, losses: 0 },
    publisher: {
      publish: async (stream: string, message: Outgoing) => this.publish(stream, message),
    },
  };

  publish(stream: string, { subject, data, headers }: Outgoing): { sequence: number; losses: number } {
    const all = new Map(headers);
    const expected = all.get('Nats-Expected-Last-Sequence');
    if (expected !== undefined && Number(expected) !== this.last) {
      throw new Refusal('wrong last sequence', WRONG_LAST_SEQUENCE, true);
    }
    const header = (name: string) => all.get(name) ?? '';
    if (stream === 'leases') {
      this.note = { subject, sequence: 1, time: 0, data, header };
      return { sequence: 1, losses: 0 };
    }
    this.last += 1;
    this.messages.push({ subject, sequence: this.last, time: 0, data, header });
    return { sequence: this.last, losses: 0 };
  }

  /** Publishes an event of another program. */
  publishForeign(): void {
    this.publish('events', { subject: 'sse.topics.events.a', data: Buffer.from('x'), headers: [] });
  }

  /** Deletes messages, as for their age. */
  trim(before: number): void {
    this.messages = this.messages.filter(({ sequence }) => sequence >= before);
  }

  target(): NatsRelayTarget {
    const context = this.context as unknown as NatsContext;
    const notes = new RelayNotes(context, this.leases as unknown as NatsStream, 'sse.topics.leases');
    const events = this.events as unknown as NatsStream;
    return new NatsRelayTarget(context, events, { base: 'sse.topics.events', notes });
  }
}

const record = (sequence: number): LogRecord => ({
  sequence,
  nonce: `0000000${sequence}`,
  topic: 'a',
  data: `${sequence}`,
  isJson: true,
  time: 0,
});
const batch = (...sequences: number[]) => ({ epoch: 's1', records: sequences.map(record) });

let streams: FakeStreams;
let target: NatsRelayTarget;

/** Relays events as an instance does that has just read the place. */
async function relay(...sequences: number[]) {
  return target.take(batch(...sequences), await target.place());
}

beforeEach(() => {
  streams = new FakeStreams();
  target = streams.target();
});

describe('the place of a log on NATS in its source', () => {
  it('is that of its last message', async () => {
    expect(await target.place()).toEqual({ epoch: 'e1', source: undefined });
    const taken = await relay(1, 2);
    expect(taken).toEqual({ epoch: 'e1', records: [record(1), record(2)] });
    expect(await streams.target().place()).toEqual({ epoch: 'e1', source: 's1-2-00000002' });
  });

  it('is found before messages of other programs, which are searched once', async () => {
    await relay(1);
    streams.publishForeign();
    streams.publishForeign();
    for (let n = 0; n < 3; n += 1) {
      expect(await target.place()).toEqual({ epoch: 'e1', source: 's1-1-00000001' });
    }
    expect(streams.reads).toBe(1);
    expect(await relay(2)).toMatchObject({ records: [{ sequence: 4, nonce: '00000002' }] });
  });

  it('moves by one instance alone: another that was slower takes nothing', async () => {
    const slower = streams.target();
    const at = await slower.place();
    await relay(1, 2);
    expect(await slower.take(batch(1), at)).toBeUndefined();
    expect(streams.messages.map(({ sequence }) => sequence)).toEqual([1, 2]);
  });

  it('falls back with the stream', async () => {
    await relay(1, 2, 3);
    await target.note(await target.place());
    streams.messages.length = streams.last = 1;
    streams.context.link.losses += 1;
    expect(await target.place()).toEqual({ epoch: 'e1', source: 's1-1-00000001' });
    expect(await relay(2, 3)).toMatchObject({ records: [{ sequence: 2 }, { sequence: 3 }] });
  });

  it('is known from its note if all messages have been deleted', async () => {
    await relay(1, 2);
    await target.note(await target.place());
    streams.trim(3);
    expect(await streams.target().place()).toEqual({ epoch: 'e1', source: 's1-2-00000002' });
  });

  it('is known from its note also after the leases were swept: the note does not expire', async () => {
    await relay(1);
    await target.note(await target.place());
    streams.trim(2);
    const clock = { now: async () => Number.MAX_SAFE_INTEGER } as unknown as ServerClock;
    const stream = streams.leases as unknown as NatsStream;
    await new Leases(streams.context as unknown as NatsContext, stream, clock, 'sse.topics.leases').sweep(0);
    expect(await streams.target().place()).toEqual({ epoch: 'e1', source: 's1-1-00000001' });
  });

  it('is not known if messages were deleted after the note: the log gets a new epoch', async () => {
    await relay(1);
    await target.note(await target.place());
    await relay(2);
    streams.trim(3);
    expect(await streams.target().place()).toEqual({ epoch: 'e1x', source: 's1-1-00000001' });
  });

  it('is not known if its note is lost and messages were deleted: the log gets a new epoch', async () => {
    await relay(1, 2);
    await target.note(await target.place());
    streams.trim(3);
    streams.note = undefined;
    const other = streams.target();
    expect(await other.place()).toEqual({ epoch: 'e1x', source: undefined });
    // The note of that epoch is kept from then on.
    expect(await streams.target().place()).toEqual({ epoch: 'e1x', source: undefined });
    expect(await other.take(batch(1, 2), await other.place())).toMatchObject({ epoch: 'e1x' });
  });

  it('is the beginning if nothing was deleted, and all messages are of other programs', async () => {
    streams.publishForeign();
    expect(await target.place()).toEqual({ epoch: 'e1', source: undefined });
  });

  it('is not known if the stream has fallen back behind the note, and holds nothing', async () => {
    await relay(1, 2);
    await target.note(await target.place());
    streams.messages.length = 0;
    streams.last = 1;
    expect(await streams.target().place()).toEqual({ epoch: 'e1x', source: undefined });
  });

  it('is unknown if another program has written the note', async () => {
    for (const data of ['x', '[]', '["e1",-1,null,0]', '["e1",0,7,0]']) {
      streams.note = { subject: '', sequence: 1, time: 0, data: Buffer.from(data), header: () => '' };
      expect(await streams.target().place()).toEqual({ epoch: 'e1', source: undefined });
    }
  });
});

describe('a renewed log on NATS', () => {
  it('keeps its events, and what they say of the place does not count', async () => {
    await relay(1);
    await target.renew(await target.place(), { source: 's1-5-00000000', keep: true });
    streams.publishForeign();
    const place = { epoch: 'e1x', source: 's1-5-00000000' };
    expect([await target.place(), await streams.target().place()]).toEqual([place, place]);
    await target.note(await target.place());
    expect(await streams.target().place()).toEqual(place);
    expect(await relay(6)).toMatchObject({ records: [{ sequence: 3 }] });
    expect(await streams.target().place()).toEqual({ epoch: 'e1x', source: 's1-6-00000006' });
  });

  it('is emptied if it does not keep its events', async () => {
    await relay(1, 2);
    await target.renew(await target.place(), { source: undefined, keep: false });
    expect(streams.messages).toEqual([]);
    expect(await streams.target().place()).toEqual({ epoch: 'e1x', source: undefined });
  });

  it('is not renewed again by an instance that has seen it before', async () => {
    const slower = streams.target();
    const at = await slower.place();
    await target.renew(at, { source: undefined, keep: false });
    await relay(1);
    await slower.renew(at, { source: undefined, keep: false });
    expect([streams.epoch, streams.messages.length]).toEqual(['e1x', 1]);
  });
});

it('refuses an event that the server would not take', () => {
  expect(() => target.check({ topic: 'a', data: 'x'.repeat(500), isJson: false })).not.toThrow();
  expect(() => target.check({ topic: 'a', data: 'x'.repeat(900), isJson: false })).toThrow(/max_payload/);
});
