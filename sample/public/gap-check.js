/**
 * Whether all of some events have arrived, each of them once, by what they
 * hold: every publisher numbers its own, 1, 2, 3 …
 */
export class GapCheck {
  received = 0;
  missing = 0;
  twice = 0;
  /** Of each publisher the first number that came, and the last. */
  seen = new Map();
  #knowsAll = false;

  take({ publisher, n }) {
    this.received += 1;
    const seen = this.seen.get(publisher);
    if (!seen) {
      if (this.#knowsAll) {
        this.missing += n - 1;
      }
      this.seen.set(publisher, { first: n, last: n });
    } else if (n > seen.last) {
      this.missing += n - seen.last - 1;
      seen.last = n;
    } else {
      this.twice += 1;
    }
  }

  /** From here on a publisher that was not seen before begins with 1. */
  knowAll() {
    this.#knowsAll = true;
  }

  /** Forgets what was seen: what comes next does not follow it. */
  startAnew() {
    this.seen.clear();
    this.#knowsAll = false;
  }

  /** How many another has received that this one has not. */
  behind(other) {
    let count = 0;
    for (const [publisher, { first, last }] of other.seen) {
      const read = this.seen.get(publisher)?.last ?? first - 1;
      count += Math.max(0, last - read);
    }
    return count;
  }
}
