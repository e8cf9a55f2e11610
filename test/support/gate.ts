/** What a test holds something up with, until it opens it. */
export class Gate {
  readonly opened: Promise<void>;
  /** Lets everyone through who waits for {@link opened}. */
  open!: () => void;

  constructor() {
    this.opened = new Promise((resolve) => (this.open = resolve));
  }
}
