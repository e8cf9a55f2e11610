import { Chunk } from '../wire/index.js';

/**
 * The frames of one turn for one client, as a place in a tree that all clients of the turn share:
 * those that get the same frames stand in the same place, and their bytes are joined once.
 */
export class TurnWrites {
  readonly #before: TurnWrites | undefined;
  readonly #chunk: Chunk | undefined;
  #joined: Chunk | undefined;
  /** Where the last client went on from here: the next one nearly always goes the same way. */
  #lastChunk: Chunk | undefined;
  #lastNext: TurnWrites | undefined;
  #next: Map<Chunk, TurnWrites> | undefined;
  /** Bytes of all frames up to here. */
  readonly bytes: number;

  /** Without arguments, the place where every client of a turn begins. */
  constructor(before?: TurnWrites, chunk?: Chunk) {
    this.#before = before;
    this.#chunk = chunk;
    this.bytes = (before?.bytes ?? 0) + (chunk?.frame.length ?? 0);
  }

  /** All frames up to here, as one. */
  get chunk(): Chunk {
    this.#joined ??= Chunk.join(this.#path());
    return this.#joined;
  }

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
