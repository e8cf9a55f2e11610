import { once } from 'node:events';
import * as http2 from 'node:http2';
import { connect } from 'node:net';
import type { Readable } from 'node:stream';

/** As much as a number and the space after it can take. */
const NUMBER_LENGTH = 12;

/** Reads events whose data is a number that counts from 0, a space and padding; cheap enough for many. */
export class SequenceReader {
  /** The number that has to come next. */
  next = 0;
  readonly close: () => void;
  #rest = '';

  private constructor(body: Readable, close: () => void) {
    this.close = close;
    body.setEncoding('latin1').on('data', (text: string) => this.#read(text));
    body.on('error', close);
  }

  /** Resolves when the first bytes have come. */
  static async open(base: string, isHttp2: boolean, path: string): Promise<SequenceReader> {
    const { hostname, port } = new URL(base);
    if (isHttp2) {
      const session = http2.connect(base);
      const stream = session.request({ ':path': path });
      const reader = new SequenceReader(stream, () => session.destroy());
      await once(stream, 'response');
      return reader;
    }
    const socket = connect(Number(port), hostname);
    const reader = new SequenceReader(socket, () => socket.destroy());
    socket.write(`GET ${path} HTTP/1.1\r\nHost: ${hostname}\r\n\r\n`);
    await once(socket, 'data');
    return reader;
  }

  #read(text: string): void {
    const received = this.#rest + text;
    let at = received.indexOf('data: ');
    while (at >= 0 && at + NUMBER_LENGTH + 6 <= received.length) {
      const number = Number.parseInt(received.slice(at + 6, at + 6 + NUMBER_LENGTH), 10);
      // What is no number is none of them. One that is missing, doubled or out of order stops the count for good.
      if (number === this.next) {
        this.next += 1;
      } else if (!Number.isNaN(number)) {
        this.next = Number.NaN;
      }
      at = received.indexOf('data: ', at + 6);
    }
    this.#rest = at < 0 ? received.slice(-5) : received.slice(at);
  }
}
