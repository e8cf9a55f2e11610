import { expect } from '@jest/globals';

/** What was sent, one after the other, and when it arrived. */
export interface Delivery {
  sentAt: readonly number[];
  receivedAt: readonly number[];
}

/** The events that arrived only when a later one had been sent: a proxy that gathers does that to most of them. */
export function gathered({ sentAt, receivedAt }: Delivery): number[] {
  return receivedAt.flatMap((at, n) => (at < (sentAt[n + 1] ?? Infinity) ? [] : [n]));
}

const ATTEMPTS = 5;

/** A machine that stalls gathers events now and then, a proxy each time: of a few attempts one must be clean. */
export async function expectOneByOne(deliver: () => Promise<Delivery>): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    const delivery = await deliver();
    expect(delivery.receivedAt).toHaveLength(delivery.sentAt.length);
    const late = gathered(delivery);
    if (late.length === 0) {
      return;
    }
    if (attempt === ATTEMPTS) {
      expect(late).toEqual([]);
    }
  }
}
