import { HealthState } from '../index.js';

/** What may not work; each of them on its own. */
export type Concern = 'connection' | 'reading' | 'writing';

/** What of writing has no other sign of its end than that requests are answered again. */
export const LATE = 'late';

/** The health of NATS, out of what its parts say. */
export class NatsHealth extends HealthState {
  readonly #troubles = new Map<string, string>();

  constructor() {
    super('down', 'NATS: the app has not started');
  }

  clear(concern: Concern): void {
    for (const key of this.#troubles.keys()) {
      if (key.startsWith(`${concern} `)) {
        this.#troubles.delete(key);
      }
    }
    this.#tell();
  }

  /** @param of - which of several, where one concern has several parts, as reading has logs */
  report(concern: Concern, trouble: string | undefined, of = ''): void {
    const key = `${concern} ${of}`;
    if (trouble === undefined) {
      this.#troubles.delete(key);
    } else {
      this.#troubles.set(key, trouble);
    }
    this.#tell();
  }

  #tell(): void {
    const concerns = new Set([...this.#troubles.keys()].map((each) => each.split(' ')[0]));
    const [reason] = this.#troubles.values();
    const isDown = concerns.has('connection') || (concerns.has('reading') && concerns.has('writing'));
    super.set(isDown ? 'down' : concerns.size > 0 ? 'degraded' : 'ready', reason && `NATS: ${reason}`);
  }
}
