import type { Msg } from '@nats-io/transport-node';
import type { Delivery } from './delivery.js';
import { deliveryOf } from './delivery.js';
import type { NatsLink } from './link.js';
import { consumerName, nanoseconds } from './stream.js';

const HEARTBEAT_MS = 500;
const CHECK_MS = 250;
// Counted in checks. A process that was busy has not checked meanwhile, and does not take the server for silent.
const SILENT_CHECKS = 7;
const ABANDONED_MS = 30_000;

/** Receives messages. @returns a promise if no more should come before it resolves */
type OnMessages = (messages: readonly Delivery[]) => Promise<unknown> | undefined;

/**
 * A consumer that delivers a stream to this process, each message once and in order. It breaks if a message is lost on
 * its way, or the server is silent. It keeps no state on the server, so that a new consumer can replace it.
 */
export class Consumer {
  readonly #link: NatsLink;
  readonly #stream: string;
  readonly #onMessages: OnMessages;
  readonly #broken: Promise<string>;
  #break: (why: string) => void = () => undefined;
  /** Its name is chosen here, so that it can be deleted before the server has answered its creation. */
  readonly #name = consumerName();
  #isMade = false;
  #subscription: { unsubscribe(): void } | undefined;
  #stopListening: (() => void) | undefined;
  #timer: NodeJS.Timeout | undefined;
  #silentChecks = 0;
  #sequence = 0;
  #batch: Delivery[] = [];
  /** Whether a listener still works on delivered messages. */
  #isBusy = false;
  /** The subject on which the server waits for a sign that we keep up. */
  #question: string | undefined;
  #isClosed = false;

  constructor(link: NatsLink, stream: string, onMessages: OnMessages) {
    this.#link = link;
    this.#stream = stream;
    this.#onMessages = onMessages;
    this.#broken = new Promise((resolve) => (this.#break = resolve));
  }

  /** Resolves with the reason when it breaks. */
  get broken(): Promise<string> {
    return this.#broken;
  }

  /** Whether a listener still works on delivered messages. */
  get isBusy(): boolean {
    return this.#isBusy;
  }

  /** @param filter - the subject that it delivers; all subjects of the stream if absent */
  async open(from: number, filter?: string): Promise<void> {
    const inbox = this.#link.inbox();
    this.#stopListening = this.#link.onConnection((isConnected) => {
      // The subscription would come back with a new connection, maybe to a server that has lost events: the reader
      // verifies its place first.
      if (!isConnected) {
        this.#break('the connection was lost');
        this.close();
      }
    });
    this.#subscription = this.#link.connection.subscribe(inbox, {
      callback: (error, message) => {
        if (error) {
          this.#break(error.message);
        } else if (!this.#isClosed) {
          this.#receive(message);
        }
      },
    });
    this.#isMade = true;
    await this.#link.request(({ consumers }) =>
      consumers.add(this.#stream, {
        name: this.#name,
        deliver_policy: 'by_start_sequence',
        opt_start_seq: from,
        ...(filter === undefined ? {} : { filter_subject: filter }),
        deliver_subject: inbox,
        ack_policy: 'none',
        max_deliver: 1,
        flow_control: true,
        idle_heartbeat: nanoseconds(HEARTBEAT_MS),
        inactive_threshold: nanoseconds(ABANDONED_MS),
        mem_storage: true,
        num_replicas: 1,
      }),
    );
    if (this.#isClosed) {
      this.#delete();
      return;
    }
    this.#timer = setInterval(() => {
      this.#silentChecks += 1;
      if (this.#silentChecks >= SILENT_CHECKS) {
        this.#break('the server has gone silent');
      }
    }, CHECK_MS);
  }

  close(): void {
    if (this.#isClosed) {
      return;
    }
    this.#isClosed = true;
    clearInterval(this.#timer);
    this.#stopListening?.();
    if (!this.#link.connection.isClosed()) {
      this.#subscription?.unsubscribe();
    }
    if (this.#isMade) {
      this.#delete();
    }
    this.#break('it was closed');
  }

  /** Deletes it on the server. The answer is not needed: the server deletes an unused consumer after a while. */
  #delete(): void {
    this.#link.send(`$JS.API.CONSUMER.DELETE.${this.#stream}.${this.#name}`);
  }

  #receive(message: Msg): void {
    this.#silentChecks = 0;
    const delivery = deliveryOf(message);
    if (!delivery) {
      this.#receiveControl(message);
      return;
    }
    if (delivery.consumerSequence !== this.#sequence + 1) {
      this.#break('a message was lost on its way');
      this.close();
      return;
    }
    this.#sequence += 1;
    this.#batch.push(delivery);
    if (this.#batch.length === 1) {
      // Messages of one read of the socket are delivered together, so that their frames leave in one write for each
      // client.
      queueMicrotask(() => this.#flush());
    }
  }

  /** Delivers messages, and answers the flow control: without an answer the server sends a few MB at most. */
  #flush(): void {
    if (this.#isClosed || this.#isBusy) {
      return;
    }
    const batch = this.#batch;
    this.#batch = [];
    const busy = batch.length > 0 ? this.#onMessages(batch) : undefined;
    if (busy) {
      this.#isBusy = true;
      const goOn = () => {
        this.#isBusy = false;
        this.#flush();
      };
      busy.then(goOn, goOn);
    } else if (this.#question) {
      this.#link.send(this.#question);
      this.#question = undefined;
    }
  }

  #receiveControl({ headers, reply }: Msg): void {
    // A heartbeat, or a flow-control request. The heartbeats repeat the request until it is answered.
    this.#question = reply || headers?.get('Nats-Consumer-Stalled') || this.#question;
    if (this.#question) {
      queueMicrotask(() => this.#flush());
    }
    const last = headers?.get('Nats-Last-Consumer');
    if (last && Number(last) !== this.#sequence) {
      this.#break('a message was lost on its way');
      this.close();
    }
  }
}
