import { SseClient } from '../../client/index.js';
import { PAGE_HEADER } from '../protocol.js';

const HEADERS = { [PAGE_HEADER]: '1' };

/** The app, as its inspector serves this page. */
export class Server {
  /** The client of this package, which the page's streams come by. */
  readonly client: SseClient;
  readonly #base: URL;

  /** @param base - the address of the inspector, with a slash at its end */
  constructor(base: URL) {
    this.#base = base;
    this.client = new SseClient({ baseUrl: base.href, headers: HEADERS });
  }

  /** Asks for an action. @throws Error with what the server says */
  async post(path: string, body: object): Promise<Readonly<Record<string, unknown>>> {
    const response = await fetch(new URL(path, this.#base), {
      method: 'POST',
      headers: { ...HEADERS, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    const answer = await readJson(response);
    if (!response.ok) {
      const { message } = answer;
      throw new Error(typeof message === 'string' ? message : `The server answers ${response.status}.`);
    }
    return answer;
  }
}

async function readJson(response: Response): Promise<Readonly<Record<string, unknown>>> {
  try {
    const answer: unknown = await response.json();
    return typeof answer === 'object' && answer !== null ? (answer as Record<string, unknown>) : {};
  } catch {
    // A proxy's page.
    return {};
  }
}
