import { HealthState } from '../index.js';

/** The parts of the engine that may fail, each independently. */
export type Concern = 'connection' | 'reading' | 'writing';

/** Failures of writing that end when requests are answered again. */
export const LATE = 'late';

/** The health of NATS, from the state of its parts. */
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
    this.#update();
  }

  /** @param of - the part, if there are several of a kind, as logs that are read */
  report(concern: Concern, trouble: string | undefined, of = ''): void {
    const key = `${concern} ${of}`;
    if (trouble === undefined) {
      this.#troubles.delete(key);
    } else {
      this.#troubles.set(key, trouble);
    }
    this.#update();
  }

  #update(): void {
    const concerns = new Set([...this.#troubles.keys()].map((each) => each.split(' ')[0]));
    const [reason] = this.#troubles.values();
    const isDown = concerns.has('connection') || (concerns.has('reading') && concerns.has('writing'));
    super.set(isDown ? 'down' : concerns.size > 0 ? 'degraded' : 'ready', reason && `NATS: ${reason}`);
  }
}
