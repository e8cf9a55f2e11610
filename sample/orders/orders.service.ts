import {
  Inject,
  Injectable,
  Logger,
  type OnApplicationBootstrap,
  type OnApplicationShutdown,
} from '@nestjs/common';
import { defineTopic, SseService } from 'nestjs-event-stream';
import { Pool } from 'pg';

export interface Order {
  id: string;
  item: string;
}

export const orders = defineTopic<{ placed: Order }>('orders.*');

export const DATABASE_URL = Symbol('DATABASE_URL');

// Several instances may start at once, and one of them makes the table.
const MAKE_TABLE = `
  select pg_advisory_xact_lock(hashtext('sse_sample_orders'));
  create table if not exists sse_sample_orders (
    id bigint generated always as identity primary key,
    item text not null
  )`;

/** Stores orders, and publishes an event of each in the same transaction. */
@Injectable()
export class OrdersService
  implements OnApplicationBootstrap, OnApplicationShutdown
{
  private readonly logger = new Logger(OrdersService.name);
  private readonly pool: Pool;

  constructor(
    @Inject(DATABASE_URL) connectionString: string,
    private readonly sse: SseService,
  ) {
    this.pool = new Pool({ connectionString });
    // PostgreSQL may end an idle connection. The pool opens another.
    this.pool.on('error', ({ message }) => this.logger.warn(message));
  }

  // The log has waited for PostgreSQL by then, if it was still starting.
  async onApplicationBootstrap(): Promise<void> {
    await this.pool.query(MAKE_TABLE);
  }

  async onApplicationShutdown(): Promise<void> {
    await this.pool.end();
  }

  // #region order
  /** Both of the row and the event are there, or neither is. */
  async place(item: string, end: 'commit' | 'rollback'): Promise<Order> {
    const client = await this.pool.connect();
    try {
      await client.query('begin');
      const { rows } = await client.query<Order>(
        'insert into sse_sample_orders (item) values ($1) returning id, item',
        [item],
      );
      const [order] = rows;
      await this.sse.publish(
        orders.of(order.id),
        { type: 'placed', data: order },
        { transaction: client },
      );
      await client.query(end);
      return order;
    } catch (error) {
      await client.query('rollback');
      throw error;
    } finally {
      client.release();
    }
  }
  // #endregion
}
