import { ChunkWrites, TurnWrites } from '../connection/index.js';
import type { ResponseOutput } from '../connection/index.js';
import type { Chunk } from '../wire/index.js';
import type { WriteTarget } from './follower.js';

/** Writes an event that is alone in its turn. */
export class SingleWrites implements WriteTarget {
  #writes = new ChunkWrites();

  take(output: ResponseOutput, chunk: Chunk): void {
    output.stageChunk(chunk, this.#writes);
  }

  /** In the turn in which they were taken. */
  flush(): void {
    this.#writes.flush();
    this.#writes = new ChunkWrites();
  }
}

/** Events that came in one turn, to leave in one write for each client. */
export class JoinedWrites implements WriteTarget {
  readonly #start = new TurnWrites();
  readonly #outputs: ResponseOutput[] = [];

  take(output: ResponseOutput, chunk: Chunk): void {
    if (!output.hasQueued) {
      this.#outputs.push(output);
    }
    output.queueChunk(chunk, this.#start);
  }

  /** Writes to some of the clients, whenever. @returns whether more are left */
  flush(limit: number): boolean {
    const writes = new ChunkWrites();
    for (const output of this.#outputs.splice(-limit)) {
      output.stageQueued(writes);
    }
    writes.flush();
    return this.#outputs.length > 0;
  }
}
