/** The page of the inspector: what its address names is what it shows. */
import type { Feed } from '../../client/index.js';
import { LISTS } from '../protocol.js';
import type { InspectorEvents, ListName, Update } from '../protocol.js';
import { Asking } from './asking.js';
import { find, setText } from './dom.js';
import { EventsView } from './events.js';
import { counted } from './format.js';
import { ListView } from './list.js';
import { Overview } from './overview.js';
import { Server } from './server.js';

const STATUS_TEXTS: Readonly<Record<string, string>> = {
  connecting: 'Connecting',
  open: 'Live',
  waiting: 'No connection. It is tried again',
  closed: 'The server has ended the stream',
};
const VIEWS = ['overview', ...LISTS, 'events'] as const;

class Page {
  readonly #status = find('status');
  readonly #overview = new Overview();
  readonly #list: ListView;
  readonly #events: EventsView;
  readonly #server: Server;
  #view: (typeof VIEWS)[number] = 'overview';
  #feed: Feed<InspectorEvents> | undefined;
  #names = new Map<string, string>();

  constructor(base: URL) {
    const asking = new Asking();
    this.#server = new Server(base);
    this.#events = new EventsView(this.#server, asking);
    this.#list = new ListView(
      {
        server: this.#server,
        asking,
        nameOf: (instance) => this.#names.get(instance) ?? instance,
        go: (hash) => (location.hash = hash),
      },
      () => this.#connect(),
    );
    addEventListener('hashchange', () => this.#show());
    find('again').addEventListener('click', () => this.#connect());
    this.#show();
  }

  /** Shows what the address names. */
  #show(): void {
    const [name, query = ''] = location.hash.slice(1).split('?', 2);
    this.#view = VIEWS.find((view) => view === name) ?? 'overview';
    const params = new URLSearchParams(query);
    const list = this.#listName;
    find('overview').hidden = this.#view !== 'overview';
    find('events').hidden = this.#view !== 'events';
    find('list').hidden = list === undefined;
    for (const link of document.querySelectorAll('nav a')) {
      if (link.getAttribute('href') === `#${this.#view}`) {
        link.setAttribute('aria-current', 'page');
      } else {
        link.removeAttribute('aria-current');
      }
    }
    if (list) {
      this.#list.begin(list, params.get('filter') ?? '');
    }
    const pattern = params.get('pattern');
    if (this.#view === 'events' && pattern !== null) {
      this.#events.suggest(pattern);
      this.#events.follow(pattern);
    }
    this.#connect();
  }

  get #listName(): ListName | undefined {
    return LISTS.find((name) => name === this.#view);
  }

  /** Opens the stream of what is shown, in place of the one before. */
  #connect(): void {
    this.#feed?.close();
    const query = this.#listName ? `?${new URLSearchParams(this.#list.query).toString()}` : '';
    const feed = this.#server.client.follow<InspectorEvents>(`stream${query}`, undefined, {
      onStatus: (status) => {
        if (feed === this.#feed) {
          this.#showStatus(status);
        }
      },
      onError: ({ message }, { willRetry }) => {
        if (feed === this.#feed && !willRetry) {
          setText(this.#status, message);
        }
      },
    });
    this.#feed = feed;
    feed.on('update', (update) => {
      if (feed === this.#feed) {
        this.#onUpdate(update);
      }
    });
    this.#showStatus('connecting');
  }

  #showStatus(status: string): void {
    this.#status.dataset['status'] = status;
    find('again').hidden = status !== 'closed';
    const text = STATUS_TEXTS[status];
    if (text !== undefined) {
      setText(this.#status, text);
    }
  }

  #onUpdate({ instances, list }: Update): void {
    this.#names = new Map(instances.map(({ id, name }) => [id, name]));
    const sum = (figure: string) => instances.reduce((all, { figures }) => all + (figures[figure] ?? 0), 0);
    const totals = [
      counted(instances.length, 'instance'),
      counted(sum('connections'), 'connection'),
      counted(sum('runs'), 'run'),
    ];
    setText(find('totals'), totals.join(', '));
    if (this.#view === 'overview') {
      this.#overview.show(instances);
    } else if (list) {
      this.#list.show(list);
    }
  }
}

const script = document.querySelector<HTMLScriptElement>('script[type="module"]')!;
// The script's own address, for the page's may end with a slash or not.
void new Page(new URL('../../../', script.src));
