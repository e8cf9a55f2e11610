import { randomUUID } from 'node:crypto';

/** What `npm run start:cluster` calls this process: A, B, C … Undefined where it runs alone. */
export const instance = process.env.INSTANCE;

/** Whether the log is in a database: then an event can be part of a transaction. */
export const hasDatabase = Boolean(process.env.POSTGRES_URL);

/** What a numbered event says of itself. */
export interface Numbered {
  /** Identifies the count: each process has one for each of its topics. */
  publisher: string;
  /** 1, 2, 3 …: a client can tell that it has them all. */
  n: number;
}

/** Numbers what a process publishes to a topic, one event after the other. */
export class Numbering {
  private publisher = randomUUID();
  private n = 0;

  next(): Numbered {
    return { publisher: this.publisher, n: (this.n += 1) };
  }

  /** After a publish that failed: clients may have that number, or not. */
  startAnew(): void {
    this.publisher = randomUUID();
    this.n = 0;
  }
}
