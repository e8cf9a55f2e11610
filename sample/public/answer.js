const CLOCK = new Intl.DateTimeFormat('en-GB', {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  fractionalSecondDigits: 3,
});
// As often as one can read. Laying the text out for each token would keep a slow machine busy with that alone.
const SHOW_MS = 100;
const WHY = { stop: 'stopped', orphan: 'read by nobody' };

/** One of the two answers, as its section of the page shows it. */
export class Answer {
  /** Whether it is over for this page, one way or another. */
  isOver = true;
  /** The instance that made it last, where there are several. */
  madeBy;
  servedBy;
  #section;
  #place;
  /** What each process has counted of it, by its id. */
  #counts = new Map();
  #here = 0;
  /** Tokens that are not shown yet, of one kind. */
  #waiting = { text: '', count: 0, name: 'live' };
  #timer;
  /** Why the run has ended. */
  #reason;
  #part;
  #following = true;
  #changed;

  /**
   * @param {HTMLElement} section
   * @param {() => void} changed called when it has begun, ended, or is somewhere else
   */
  constructor(section, changed) {
    this.#section = section;
    this.#changed = changed;
    this.#place = section.querySelector('.answer');
    this.#place.addEventListener('scroll', () => {
      const { scrollTop, scrollHeight, clientHeight } = this.#place;
      this.#following = scrollHeight - scrollTop - clientHeight < 8;
    });
  }

  startAnew() {
    this.#show();
    this.#place.replaceChildren();
    this.#counts.clear();
    this.#here = 0;
    this.#part = this.#reason = undefined;
    this.madeBy = this.servedBy = undefined;
    this.#following = true;
    for (const name of ['made', 'sent', 'here']) {
      this.#write(name, 0);
    }
    this.#write('model', '–');
    this.state('wait', 'Asked');
    this.#showRoute();
  }

  /** Adds a token; text goes in as text, whatever a model makes. */
  token(text, isReplay = false) {
    const name = isReplay ? 'replayed' : 'live';
    if (this.#waiting.name !== name) {
      this.#show();
      this.#waiting.name = name;
    }
    this.#waiting.text += text;
    this.#waiting.count += 1;
    this.#timer ??= setTimeout(() => this.#show(), SHOW_MS);
  }

  #show() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const { text, count, name } = this.#waiting;
    if (count === 0) {
      return;
    }
    this.#waiting = { text: '', count: 0, name };
    if (this.#part?.className !== name) {
      this.#part = document.createElement('span');
      this.#part.className = name;
      this.#place.append(this.#part);
    }
    this.#part.append(text);
    this.#here += count;
    this.#write('here', this.#here);
    if (this.#following) {
      this.#place.scrollTop = this.#place.scrollHeight;
    }
  }

  /** @param {'wait' | 'open' | 'done' | 'stopped' | 'error' | 'none'} kind */
  state(kind, text) {
    this.#show();
    const status = this.#section.querySelector('.status');
    status.dataset.state = kind;
    status.value = text;
    this.isOver = kind !== 'wait' && kind !== 'open';
    this.#changed();
  }

  instance(name) {
    this.servedBy = name;
    this.#showRoute();
  }

  /** What a process has counted. */
  count(counts) {
    this.#counts.set(counts.process, counts);
    const all = [...this.#counts.values()];
    for (const name of ['made', 'sent']) {
      this.#write(
        name,
        all.reduce((sum, counts) => sum + counts[name], 0),
      );
    }
    this.#showModel();
  }

  /** The run has ended, for all. */
  end(reason) {
    this.#reason = reason;
    this.#showModel();
  }

  #showModel() {
    const makers = [...this.#counts.values()].filter(({ model }) => model);
    const [maker] = makers.sort((a, b) => b.model.at - a.model.at);
    if (!maker) {
      return;
    }
    const { state, at } = maker.model;
    this.#write('model', this.#told(state, CLOCK.format(at)));
    this.#section.querySelector('[data-shows=model]').dataset.state = state;
    this.madeBy = maker.instance;
    this.#showRoute();
  }

  #told(state, at) {
    if (state === 'finished') {
      return 'Has finished';
    }
    if (state === 'failed') {
      return `Failed at ${at}`;
    }
    if (state === 'aborted') {
      return [`Aborted at ${at}`, WHY[this.#reason]].filter(Boolean).join(', ');
    }
    // It did not live to tell.
    return this.#reason === 'error' ? 'Gone with its process' : 'Makes it';
  }

  #showRoute() {
    this.#section.querySelector('.route').textContent = [
      this.madeBy && `made by ${this.madeBy}`,
      this.servedBy && `served by ${this.servedBy}`,
    ]
      .filter(Boolean)
      .join(', ');
    this.#changed();
  }

  #write(name, value) {
    this.#section.querySelector(`[data-shows=${name}]`).textContent = value;
  }
}
