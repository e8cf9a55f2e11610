import type { Feed } from '../../client/index.js';
import type { InspectorEvents, TailedEvent } from '../protocol.js';
import type { Asking } from './asking.js';
import { find, make, setText } from './dom.js';
import { count } from './format.js';
import type { Server } from './server.js';

const KEPT = 200;

/** The events of a pattern as they come, and the form that publishes one. */
export class EventsView {
  readonly #server: Server;
  readonly #asking: Asking;
  readonly #follow = find('follow', HTMLFormElement);
  readonly #publish = find('publish', HTMLFormElement);
  readonly #stop = find('stop', HTMLButtonElement);
  readonly #list = find('tailed');
  #feed: Feed<InspectorEvents> | undefined;
  #pattern = '';
  #shown = 0;
  #skipped = 0;

  constructor(server: Server, asking: Asking) {
    this.#server = server;
    this.#asking = asking;
    this.#follow.addEventListener('submit', (event) => {
      event.preventDefault();
      this.follow(textOf(this.#follow, 'pattern'));
    });
    this.#stop.addEventListener('click', () => this.stop());
    find('clear').addEventListener('click', () => this.#clear());
    this.#publish.addEventListener('submit', (event) => {
      event.preventDefault();
      void this.#asking.run(() => this.#send());
    });
  }

  /** Fills in the pattern, and the topic if it is one. */
  suggest(pattern: string): void {
    fieldOf(this.#follow, 'pattern').value = pattern;
    if (!/[*>]/.test(pattern)) {
      fieldOf(this.#publish, 'topic').value = pattern;
    }
  }

  follow(pattern: string): void {
    this.stop();
    this.#clear();
    this.#pattern = pattern;
    const query = new URLSearchParams({ pattern }).toString();
    const feed = this.#server.client.follow<InspectorEvents>(`tail?${query}`, undefined, {
      onStatus: (status) => this.#showStatus(status),
      onError: ({ message }) => setText(find('following'), message),
    });
    feed.on('tail', (event) => this.#add(this.#rowOf(event)));
    feed.on('skipped', ({ count: skipped }) => {
      this.#skipped += skipped;
      this.#showStatus('open');
    });
    feed.on('gap', ({ reason }) => this.#add(make('li', `Events are missing here: ${reason}`, 'note')));
    this.#feed = feed;
    this.#stop.disabled = false;
  }

  stop(): void {
    this.#feed?.close();
    this.#feed = undefined;
    this.#stop.disabled = true;
  }

  #showStatus(status: string): void {
    const skipped = this.#skipped > 0 ? `, ${count(this.#skipped)} more came too fast to be shown` : '';
    const texts: Readonly<Record<string, string>> = {
      open: `Follows ${this.#pattern}: ${count(this.#shown)} shown${skipped}`,
      closed: `Stopped: ${count(this.#shown)} shown${skipped}`,
    };
    setText(find('following'), texts[status] ?? 'Connecting');
  }

  #rowOf({ topic, type, data, isCut, position }: TailedEvent): HTMLLIElement {
    const row = make('li');
    row.append(
      make('b', topic),
      make('span', type),
      make('span', position),
      make('pre', isCut ? `${data}…` : data),
    );
    this.#shown += 1;
    return row;
  }

  #add(row: HTMLLIElement): void {
    this.#list.prepend(row);
    while (this.#list.childElementCount > KEPT) {
      this.#list.lastElementChild!.remove();
    }
    this.#showStatus('open');
  }

  #clear(): void {
    this.#list.replaceChildren();
    this.#shown = 0;
    this.#skipped = 0;
  }

  async #send(): Promise<string> {
    const topic = textOf(this.#publish, 'topic');
    await this.#server.post('publish', {
      topic,
      type: textOf(this.#publish, 'type'),
      data: textOf(this.#publish, 'data'),
    });
    return `Published to ${topic}.`;
  }
}

function fieldOf(form: HTMLFormElement, name: string): HTMLInputElement | HTMLTextAreaElement {
  return form.elements.namedItem(name) as HTMLInputElement;
}

function textOf(form: HTMLFormElement, name: string): string {
  return fieldOf(form, name).value;
}
