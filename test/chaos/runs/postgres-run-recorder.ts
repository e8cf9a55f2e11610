import type { PostgresServer } from '../../support/servers/postgres-server.js';
import type { RunRecorder } from './ground.js';
import type { StoredRun } from './history.js';
import { RunBook } from './run-book.js';
import { isRunName, runIdOf } from './run-names.js';

/** Has PostgreSQL write down every log that begins, and every event, in the order of each log. */
export const WRITES_DOWN = `
  create table chaos_written (n bigint generated always as identity, id bigint, name text, epoch text, event jsonb);
  create function chaos_log() returns trigger language plpgsql as $$ begin
    insert into public.chaos_written (id, name, epoch) values (new.id, new.name, new.epoch);
    return null;
  end $$;
  create function chaos_event() returns trigger language plpgsql as $$ begin
    insert into public.chaos_written (id, event) values (new.log_id, to_jsonb(new));
    return null;
  end $$;
  create trigger chaos_begin after insert on sse.logs for each row execute function chaos_log();
  create trigger chaos_again after update of id on sse.logs for each row
    when (old.id is distinct from new.id) execute function chaos_log();
  create trigger chaos_append after insert on sse.events for each row execute function chaos_event()`;
// What is in the middle of a commit comes with the next look: of one log, all comes in order.
const TAKE = `with taken as (delete from chaos_written returning *)
  select id, name, epoch, event from taken order by n`;
const LEASES = 'select name from sse.leases where expires_at > clock_timestamp()';

type Written = { readonly id: string } & (
  | { readonly name: string; readonly epoch: string; readonly event: null }
  | {
      readonly event: Readonly<Record<'nonce' | 'topic' | 'data', string>> & {
        type: string | null;
      } & Numbers;
    }
);

interface Numbers {
  readonly sequence: number;
  readonly time: number;
}

/** What the logs of runs have ever held, out of a table in which PostgreSQL writes down all that is put into others. */
export class PostgresRunRecorder implements RunRecorder {
  readonly #server: PostgresServer;
  readonly #book = new RunBook();
  /** The epochs of logs of runs, by their ids. */
  readonly #epochs = new Map<string, string>();

  constructor(server: PostgresServer) {
    this.#server = server;
  }

  get runs(): readonly StoredRun[] {
    return this.#book.runs;
  }

  async look(): Promise<void> {
    for (const written of (await this.#server.query(TAKE)) as unknown as Written[]) {
      this.#take(written);
    }
  }

  async leases(): Promise<string[]> {
    return (await this.allLeases()).filter(isRunName);
  }

  async allLeases(): Promise<string[]> {
    return (await this.#server.query(LEASES)).map(({ name }) => String(name));
  }

  #take(written: Written): void {
    const { id, event } = written;
    if (event === null) {
      if (isRunName(written.name)) {
        this.#epochs.set(id, written.epoch);
        this.#book.begin(runIdOf(written.name), written.epoch);
      }
      return;
    }
    const epoch = this.#epochs.get(id);
    if (epoch !== undefined) {
      const { sequence, nonce, topic: kind, type, data, time: at } = event;
      const record = { id: `${epoch}-${sequence}-${nonce}`, kind, type: type ?? undefined, data, at };
      this.#book.find(epoch)!.records.push(record);
    }
  }
}
