import { describe, expect, it } from '@jest/globals';
import { BranchRecorder } from './branch-recorder.js';
import type { Entry } from './history.js';
import { NatsTap } from './nats-tap.js';

const HEADERS = 'NATS/1.0\r\nSse-Event: 0000000a 5 j\r\n\r\n';
const DATA = '{"n":7,"pad":"\\r\\nMSG sse.topics.events.b 1 5"}';

function told(...bytes: string[]): NatsTap {
  const tap = new NatsTap();
  const { toClient } = tap.open();
  for (const each of bytes) {
    toClient(Buffer.from(each));
  }
  return tap;
}

const delivered = (sequence: number, headers = HEADERS) =>
  `HMSG sse.topics.events.a 1 $JS.ACK.sse-topics.c1.1.${sequence}.1.1700000000.0 ${headers.length} ${headers.length + DATA.length}\r\n${headers}${DATA}\r\n`;

const info = (epoch: string, name = 'sse-topics') => {
  const payload = JSON.stringify({
    type: 'io.nats.jetstream.api.v1.stream_update_response',
    config: { name, description: `events (epoch ${epoch}, after e0)` },
  });
  return `MSG _INBOX.x 1 ${payload.length}\r\n${payload}\r\n`;
};

describe('what instances are told by NATS', () => {
  it('holds what a consumer delivers, however its bytes are parted', () => {
    const bytes = `INFO {}\r\nPING\r\n${delivered(3)}+OK\r\n${delivered(4)}`;
    for (const parts of [[bytes], bytes.split(''), [bytes.slice(0, 90), bytes.slice(90)]]) {
      expect(told(...parts).entries).toEqual([
        { life: 0, sequence: 3, nonce: '0000000a', n: 7 },
        { life: 0, sequence: 4, nonce: '0000000a', n: 7 },
      ]);
    }
  });

  it('holds what a publisher was told, by what it had sent', () => {
    const tap = new NatsTap();
    const { toServer, toClient } = tap.open();
    toServer(
      Buffer.from(
        `HPUB sse.topics.events.a _INBOX.p.1 ${HEADERS.length} ${HEADERS.length + DATA.length}\r\n${HEADERS}${DATA}\r\n`,
      ),
    );
    const answer = '{"stream":"sse-topics","seq":12}';
    toClient(Buffer.from(`MSG _INBOX.p.1 1 ${answer.length}\r\n${answer}\r\n`));
    expect(tap.entries).toEqual([{ life: 0, sequence: 12, nonce: '0000000a', n: 7 }]);
  });

  it('holds each epoch once, in order, of this stream alone', () => {
    expect(told(info('ea'), info('eb'), info('ea'), info('ec', 'sse-topics-logs')).epochs).toEqual([
      'ea',
      'eb',
    ]);
  });

  it('leaves out headers that are read alone', () => {
    expect(told(delivered(3, HEADERS.replace('\r\n\r\n', '\r\nNats-Msg-Size: 9\r\n\r\n'))).entries).toEqual(
      [],
    );
  });

  it('holds apart what was told before the server ended, and after', () => {
    const tap = new NatsTap();
    const before = tap.open();
    tap.life += 1;
    const after = tap.open();
    after.toClient(Buffer.from(delivered(2)));
    before.toClient(Buffer.from(delivered(1)));
    expect(tap.entries.map(({ life, sequence }) => [life, sequence])).toEqual([
      [1, 2],
      [0, 1],
    ]);
  });
});

class Recorder extends BranchRecorder {
  look(): Promise<void> {
    return Promise.resolve();
  }

  /** What the log holds, by the nonces of its entries from the first on. */
  sees(epoch: string, ...nonces: string[]): void {
    this.absorb(epoch, nonces.length, entriesOf(nonces));
  }

  hears(sequence: number, nonce: string): void {
    this.addHeard([{ sequence, nonce, n: sequence }]);
  }

  /** Whether any life of the log has had that. */
  has(epoch: string, sequence: number, nonce: string): boolean {
    return this.branches.some((branch) => branch.holds({ epoch, sequence, nonce }));
  }
}

const entriesOf = (nonces: readonly string[]): Entry[] =>
  nonces.map((nonce, index) => ({ sequence: index + 1, nonce, n: index + 1 }));

describe('the lives of a log', () => {
  it('have what was heard and then lost', () => {
    const recorder = new Recorder();
    recorder.sees('e1', 'a', 'b');
    recorder.hears(3, 'c');
    recorder.sees('e1', 'a', 'b', 'x', 'y', 'z');
    expect(recorder.has('e1', 3, 'c')).toBe(true);
    expect(recorder.has('e1', 3, 'x')).toBe(true);
    // What was lost is none of what goes on.
    expect(recorder.branches.at(-1)!.holds({ epoch: 'e1', sequence: 3, nonce: 'c' })).toBe(false);
  });

  it('have what was heard and then lost, also after something that nobody was told of', () => {
    const recorder = new Recorder();
    recorder.sees('e1', 'a', 'b');
    recorder.hears(4, 'd');
    recorder.sees('e1', 'a', 'b', 'x', 'y', 'z');
    expect(recorder.has('e1', 4, 'd')).toBe(true);
    expect(recorder.has('e1', 3, 'x')).toBe(true);
    const last = recorder.branches.at(-1)!;
    expect(Array.from(last.entries.values(), ({ nonce }) => nonce)).toEqual(['a', 'b', 'x', 'y', 'z']);
    expect(recorder.branches).toHaveLength(2);
  });

  it('have by each of their names what nobody was told of, where nothing was lost', () => {
    const recorder = new Recorder();
    recorder.sees('e1', 'a');
    recorder.sees('e2', 'a', 'b');
    recorder.hears(4, 'd');
    recorder.sees('e2', 'a', 'b', 'c', 'd', 'e');
    for (const epoch of ['e1', 'e2']) {
      expect([3, 4, 5].map((sequence) => recorder.has(epoch, sequence, 'abcde'[sequence - 1]!))).toEqual([
        true,
        true,
        true,
      ]);
    }
    expect(recorder.branches.at(-1)!.holes).toEqual([]);
  });

  it('go on under a name that was replaced, where nothing was lost', () => {
    const recorder = new Recorder();
    recorder.sees('e1', 'a');
    recorder.sees('e2', 'a', 'b');
    recorder.sees('e2', 'a', 'b', 'c');
    expect(recorder.has('e1', 3, 'c')).toBe(true);
    expect(recorder.has('e2', 3, 'c')).toBe(true);
  });

  it('end where another log takes their place', () => {
    const recorder = new Recorder();
    recorder.sees('e1', 'a');
    recorder.sees('e2', 'x', 'y');
    recorder.sees('e2', 'x', 'y', 'z');
    expect(recorder.has('e1', 2, 'y')).toBe(false);
    expect(recorder.has('e1', 3, 'z')).toBe(false);
  });
});
