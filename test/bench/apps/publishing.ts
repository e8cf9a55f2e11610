/** What is published, and who follows it: alike for every server that is compared. */

/** Followers of many topics: each topic has as many, and each client as many topics. */
export interface Topics {
  topics: number;
  /** Of one client. */
  perClient: number;
}

export interface Publish {
  /** Turns of the event loop. */
  turns: number;
  /** Events in each turn. */
  burst: number;
  /** Of an event's data, as JSON. */
  bytes: number;
  /** From one turn to the next; without it they follow at once. */
  everyMs?: number;
  /** Whether to a topic that nobody follows. */
  isForNobody?: boolean;
}

/** A client's topics: neighbours, from a place of its own. */
export function topicsOf(client: number, { topics, perClient }: Topics): number[] {
  return Array.from({ length: perClient }, (_, n) => (client * perClient + n) % topics);
}

export interface EventData {
  at: string;
  n: number;
  text: string;
}

/** @param send publishes to a topic by its number; its promise, if it gives one, is awaited */
export function publishing({ topics }: Topics, send: (data: EventData, topic: number) => unknown) {
  let published = 0;
  return async ({ turns, burst, bytes, everyMs, isForNobody }: Publish): Promise<void> => {
    const begin = performance.now();
    for (let turn = 0; turn < turns; turn += 1) {
      const sending: unknown[] = [];
      for (let n = 0; n < burst; n += 1) {
        // A large prime: topics that are published to one after the other have no follower in common.
        const topic = isForNobody ? topics : (published * 7_919) % topics;
        sending.push(send(eventData(published, bytes), topic));
        published += 1;
      }
      await Promise.all(sending);
      if (turn < turns - 1) {
        await (everyMs === undefined ? nextTurn() : until(begin + (turn + 1) * everyMs));
      }
    }
  };
}

/**
 * No two of them are alike: a library that keeps what it made of the last one gains nothing. `~` is what the clients
 * count, and after it stands when it was sent, in microseconds of a clock that all processes share.
 */
function eventData(n: number, bytes: number): EventData {
  const data = { at: `~${process.hrtime.bigint() / 1_000n} `, n, text: '' };
  data.text = 'x'.repeat(bytes - JSON.stringify(data).length);
  return data;
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

function until(time: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, time - performance.now());
  });
}
