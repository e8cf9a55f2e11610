import type { Socket } from 'node:net';
import type { Chunk } from '../wire/index.js';
import { now } from '../time/index.js';
import type { ResponseOutput } from './output.js';

/**
 * Writes to many clients. What stands against each is looked at first, then all are written: a
 * system call between two looks would push out of the processor's caches what the next one needs.
 */
export class ChunkWrites {
  readonly #outputs: ResponseOutput[] = [];
  readonly #sockets: Socket[] = [];
  readonly #chunks: Chunk[] = [];

  /** The time that the writes are made at, by the clock of {@link DeadlineWheel}. */
  readonly now = now();

  /** Takes a write that is to be made in this turn, to a socket that takes chunks. */
  add(output: ResponseOutput, socket: Socket, chunk: Chunk): void {
    this.#outputs.push(output);
    this.#sockets.push(socket);
    this.#chunks.push(chunk);
  }

  /** Makes the writes. In the turn in which they were taken: later they may not be right any more. */
  flush(): void {
    // Not within the loop that writes. A check of the app's may have ended a stream since its write was taken.
    const sockets = this.#sockets.map((socket, index) =>
      this.#outputs[index]!.passesTo(socket) ? socket : undefined,
    );
    for (const [index, socket] of sockets.entries()) {
      if (socket) {
        this.#outputs[index]!.writeTo(socket, this.#chunks[index]!);
      }
    }
  }
}
