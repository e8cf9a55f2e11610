import { SseClient } from 'nestjs-event-stream/client';

// What comes this soon after a client has come back was made before.
const REPLAY_MS = 100;

/** Reads a run, and shows it. */
export class RunClient {
  #id;
  #client;
  #show;
  #run;
  #replayEnds = 0;

  /**
   * @param {string} id of the run
   * @param {string} client of the page, by which the server drops its network
   * @param {import('./answer.js').Answer} show
   */
  constructor(id, client, show) {
    this.#id = id;
    this.#client = client;
    this.#show = show;
  }

  // #region run-client
  /** Starts it. EventSource has no POST. */
  ask(question) {
    return this.#read({ start: { url: this.#url(''), body: question } });
  }

  /** All of it: of a page that was reloaded, or that is a second tab. */
  resume() {
    return this.#read({});
  }

  /** Ends it for all clients. Leaving it does not. */
  stop() {
    return this.#run.stop();
  }

  leave() {
    this.#run?.leave();
  }

  async #read(start) {
    const sse = new SseClient({ fetch: this.#fetch, retry: { minMs: 500 } });
    this.#run = sse.run(
      {
        id: this.#id,
        attach: this.#url(`/${this.#id}/stream`),
        stop: this.#url(`/${this.#id}`),
        ...start,
      },
      { onStatus: (status) => this.#tell(status) },
    );
    try {
      for await (const token of this.#run) {
        this.#show.token(token, performance.now() < this.#replayEnds);
      }
    } catch {
      // The outcome says it as well.
    }
    this.#end(await this.#run.outcome);
  }
  // #endregion

  #url(path) {
    return `/chat${path}?client=${this.#client}`;
  }

  // To show which instance has answered.
  #fetch = async (url, init) => {
    const answer = await fetch(url, init);
    if (answer.status === 200) {
      const isReplay = init.method === 'GET';
      this.#replayEnds = isReplay ? performance.now() + REPLAY_MS : 0;
      this.#show.instance(answer.headers.get('X-Instance'));
    }
    return answer;
  };

  #tell(status) {
    if (status === 'open') {
      this.#show.state('open', 'Streaming');
    } else if (status === 'waiting') {
      this.#show.state('wait', 'Lost. It comes back for the rest');
    }
  }

  #end({ reason, error }) {
    if (reason === 'done') {
      this.#show.state('done', 'Complete');
    } else if (reason === 'stopped') {
      this.#show.state('stopped', 'Stopped');
    } else if (reason === 'none') {
      this.#show.state('none', 'Nothing to resume');
    } else if (reason === 'failed') {
      const { status, body, message } = error;
      const text = body
        ? `${status}: ${messageIn(body)}`
        : `Failed: ${message}`;
      this.#show.state('error', text);
    }
  }
}

/** What Nest's exception filter has to say. */
function messageIn(body) {
  try {
    return JSON.parse(body).message;
  } catch {
    return body;
  }
}
