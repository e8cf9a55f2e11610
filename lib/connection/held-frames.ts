/** Frames that wait for the headers, or for the feed to deliver what comes before them. */
export class HeldFrames {
  readonly #frames: string[] = [];
  #bytes = 0;
  /** How many were sent before there was a feed. */
  #beforeFeed = 0;

  /** UTF-8 bytes of all frames. */
  get bytes(): number {
    return this.#bytes;
  }

  get isEmpty(): boolean {
    return this.#frames.length === 0;
  }

  /** @param bytes - the length of the frame in UTF-8 */
  add(frame: string, bytes: number): void {
    this.#frames.push(frame);
    this.#bytes += bytes;
  }

  /** Notes that a feed begins here: the frames so far come before it, later ones behind it. */
  markFeed(): void {
    this.#beforeFeed = this.#frames.length;
  }

  /** Takes out the frames that come before the feed. */
  takeBeforeFeed(): string {
    const taken = this.#frames.splice(0, this.#beforeFeed).join('');
    this.#bytes -= Buffer.byteLength(taken);
    this.#beforeFeed = 0;
    return taken;
  }

  /** All frames, as one text. */
  join(): string {
    return this.#frames.join('');
  }
}
