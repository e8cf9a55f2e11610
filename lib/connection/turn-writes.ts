import { Chunk } from '../wire/index.js';

/**
 * The frames of one turn for one client, as a node of a tree that all clients of the turn share. Clients that get the
 * same frames share a node, and the bytes of a node are joined once.
 */
export class TurnWrites {
  readonly #before: TurnWrites | undefined;
  readonly #chunk: Chunk | undefined;
  #joined: Chunk | undefined;
  /** The frame that was added here last: the next client nearly always gets the same. */
  #lastChunk: Chunk | undefined;
  #lastNext: TurnWrites | undefined;
  #next: Map<Chunk, TurnWrites> | undefined;
  /** Bytes of all frames up to this node. */
  readonly bytes: number;

  /** Without arguments it is the root, where every client of a turn begins. */
  constructor(before?: TurnWrites, chunk?: Chunk) {
    this.#before = before;
    this.#chunk = chunk;
    this.bytes = (before?.bytes ?? 0) + (chunk?.frame.length ?? 0);
  }

  /** All frames up to this node, joined. */
  get chunk(): Chunk {
    this.#joined ??= Chunk.join(this.#path());
    return this.#joined;
  }

  /** Returns the node of these frames and one more. */
  after(chunk: Chunk): TurnWrites {
    if (chunk === this.#lastChunk) {
      return this.#lastNext!;
    }
    this.#next ??= new Map();
    let next = this.#next.get(chunk);
    if (!next) {
      next = new TurnWrites(this, chunk);
      this.#next.set(chunk, next);
    }
    this.#lastChunk = chunk;
    this.#lastNext = next;
    return next;
  }

  #path(): Chunk[] {
    const path = this.#chunk ? [this.#chunk] : [];
    for (let place = this.#before; place; place = place.#before) {
      if (place.#chunk) {
        path.push(place.#chunk);
      }
    }
    return path.toReversed();
  }
}
