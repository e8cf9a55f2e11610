import { EventSourceParserStream } from 'eventsource-parser/stream';

const RETRY_MS = 500;
// What comes this soon after a client has come back was made before.
const REPLAY_MS = 100;
// A proxy that reaches no instance answers so, and an instance that is closing.
const AWAY = [502, 503, 504];

/** Reads a run, and comes back for the rest wherever the connection is lost. */
export class RunClient {
  #id;
  #client;
  #show;
  #leaving = new AbortController();
  #lastEventId;
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
  /** EventSource has no POST. */
  ask(question) {
    return this.#read('POST', '', question);
  }

  /** All of it, or what comes after the last token seen. */
  resume() {
    return this.#read('GET', `/${this.#id}/stream`);
  }

  /** It ends for everybody. To leave is another thing. */
  stop() {
    return this.#fetch('DELETE', `/${this.#id}`);
  }

  leave() {
    this.#leaving.abort();
  }

  async #read(method, path, body) {
    const { signal } = (this.#leaving = new AbortController());
    try {
      const answer = await this.#fetch(method, path, body, signal);
      if (await this.#isOver(answer, method)) {
        return;
      }
    } catch {
      // The connection was lost, or this page has left.
    }
    if (signal.aborted) {
      return;
    }
    this.#show.state('wait', 'Lost. It comes back for the rest');
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    if (!signal.aborted) {
      await this.resume();
    }
  }

  async #isOver(answer, method) {
    if (AWAY.includes(answer.status)) {
      return false;
    }
    if (answer.status !== 200) {
      return this.#refused(answer);
    }

    this.#begin(answer, method);
    const events = answer.body
      .pipeThrough(new TextDecoderStream())
      .pipeThrough(new EventSourceParserStream())
      .getReader();
    for (;;) {
      const { done, value } = await events.read();
      // An end without a last event is a lost connection.
      if (done) {
        return false;
      }
      if (value.event === 'done') {
        return this.#end('done', 'Complete');
      }
      if (value.event === 'error') {
        return this.#failed(JSON.parse(value.data));
      }
      this.#lastEventId = value.id;
      this.#show.token(JSON.parse(value.data), this.#isReplay);
    }
  }

  #fetch(method, path, body, signal) {
    return fetch(`/chat${path}?client=${this.#client}`, {
      method,
      signal,
      cache: 'no-store',
      headers: {
        ...(body && { 'Content-Type': 'application/json' }),
        ...(this.#lastEventId && { 'Last-Event-ID': this.#lastEventId }),
      },
      body: JSON.stringify(body),
    });
  }
  // #endregion

  #begin({ headers }, method) {
    this.#replayEnds = method === 'GET' ? performance.now() + REPLAY_MS : 0;
    this.#show.instance(headers.get('X-Instance'));
    this.#show.state('open', 'Streaming');
  }

  get #isReplay() {
    return performance.now() < this.#replayEnds;
  }

  async #refused(answer) {
    if (answer.status === 204) {
      return this.#end('none', 'Nothing to resume');
    }
    const { message } = await answer.json();
    return this.#end('error', `${answer.status}: ${message}`);
  }

  #failed({ reason, message }) {
    return reason === 'aborted'
      ? this.#end('stopped', 'Stopped')
      : this.#end('error', `Failed: ${message}`);
  }

  #end(kind, text) {
    this.#show.state(kind, text);
    return true;
  }
}
