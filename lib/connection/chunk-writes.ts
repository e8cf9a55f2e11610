import type { Socket } from 'node:net';
import { Chunk } from '../wire/index.js';
import { now } from '../time/index.js';

/** The output of one response, as {@link ChunkWrites} sees it. */
export interface DirectOutput {
  /** Whether bytes that are written to the socket still belong to this response. */
  passesTo(socket: Socket): boolean;
  /** Writes a chunk to the socket, past the response. */
  writeTo(socket: Socket, chunk: Chunk): void;
}

/** Writes nothing. */
const NOTHING = new Chunk('');

/**
 * The writes of one turn to many clients. All checks are made before the first write: a system call between two checks
 * would push out of the processor's caches what the next check needs.
 */
export class ChunkWrites {
  readonly #outputs: DirectOutput[] = [];
  readonly #sockets: Socket[] = [];
  readonly #chunks: Chunk[] = [];

  /** The time of the writes, by the clock of {@link DeadlineWheel}. */
  readonly now = now();

  /** Adds a write to a socket that takes chunks. It must be flushed in this turn. */
  add(output: DirectOutput, socket: Socket, chunk: Chunk): void {
    this.#outputs.push(output);
    this.#sockets.push(socket);
    this.#chunks.push(chunk);
  }

  /** Whether the write that was added last is to an output. */
  endsWith(output: DirectOutput): boolean {
    return this.#outputs.at(-1) === output;
  }

  /** Makes the write to one output now, before something else is written to it. */
  flushTo(output: DirectOutput): void {
    const index = this.#outputs.indexOf(output);
    const chunk = this.#chunks[index];
    if (chunk) {
      this.#chunks[index] = NOTHING;
      const socket = this.#sockets[index]!;
      if (output.passesTo(socket)) {
        output.writeTo(socket, chunk);
      }
    }
  }

  /** Makes the writes. Call it in the turn in which they were added: in a later turn they may be wrong. */
  flush(): void {
    // Not within the loop that writes. The app's `authorize` may have ended a stream since its write was added.
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
