import type { Frame } from './frame.parser.js';

// Past this nothing is read: the server keeps the rest, which is its log.
const MAX_FRAMES = 1_000;
const MAX_CHARACTERS = 4 * 1_048_576;

/** Frames that wait for a state. */
export class HeldFrames {
  #frames: Frame[] = [];
  #characters = 0;
  #whenTaken: (() => void) | undefined;

  push(frame: Frame): void {
    this.#frames.push(frame);
    this.#characters += frame.data!.length;
  }

  /** Removes all. @returns what there was */
  take(): readonly Frame[] {
    const frames = this.#frames;
    this.#frames = [];
    this.#characters = 0;
    this.#whenTaken?.();
    this.#whenTaken = undefined;
    return frames;
  }

  /** Resolves when there is room for more; undefined if there is. One caller waits at a time: the stream. */
  ready(): Promise<void> | undefined {
    const hasRoom = this.#frames.length < MAX_FRAMES && this.#characters < MAX_CHARACTERS;
    return hasRoom
      ? undefined
      : new Promise((resolve) => {
          this.#whenTaken = resolve;
        });
  }
}
