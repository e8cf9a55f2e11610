import { coversTopic } from '../wire/topic-cover.js';
import type { EventInfo, FeedEvent } from './feed.types.js';

/** What a view needs of its feed. */
interface Viewed<Events extends object> extends AsyncIterable<FeedEvent<Events>> {
  on<Type extends keyof Events & string>(
    type: Type,
    listener: (data: Events[Type], info: EventInfo) => void,
  ): () => void;
}

/** The events of some topics of a feed: see `Feed.only`. */
export class FeedView<Events extends object> implements AsyncIterable<FeedEvent<Events>> {
  readonly #feed: Viewed<Events>;
  readonly #pattern: string;

  /** @internal */
  constructor(feed: Viewed<Events>, pattern: string) {
    this.#feed = feed;
    this.#pattern = pattern;
  }

  /** As `Feed.on`. */
  on<Type extends keyof Events & string>(
    type: Type,
    listener: (data: Events[Type], info: EventInfo) => void,
  ): () => void {
    return this.#feed.on(type, (data, info) => {
      if (this.#covers(info)) {
        listener(data, info);
      }
    });
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<FeedEvent<Events>, void> {
    for await (const event of this.#feed) {
      if (this.#covers(event)) {
        yield event;
      }
    }
  }

  #covers({ topic }: EventInfo): boolean {
    return topic !== undefined && coversTopic(this.#pattern, topic) === true;
  }
}
