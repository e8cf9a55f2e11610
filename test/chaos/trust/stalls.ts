/** A time in which nothing of a process ran: milliseconds since 1970. */
export interface Stall {
  readonly at: number;
  readonly until: number;
}

const EVERY_MS = 100;
/** Of a lease of some seconds, and of a promise of one. */
const NOTED_MS = 500;

/** @returns a function that ends it */
export function watchStalls(onStall: (stall: Stall) => void): () => void {
  let lastAt = Date.now();
  const timer = setInterval(() => {
    const now = Date.now();
    if (now - lastAt > NOTED_MS) {
      onStall({ at: lastAt, until: now });
    }
    lastAt = now;
  }, EVERY_MS);
  timer.unref();
  return () => clearInterval(timer);
}
