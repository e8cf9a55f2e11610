import { OptionChecks } from './errors/index.js';

/** Options of `publish()`. */
export interface SsePublishOptions {
  /**
   * The app's own transaction, which is open: of pg (a client), postgres.js, TypeORM (an EntityManager or QueryRunner),
   * Drizzle, Kysely, Knex, MikroORM (an EntityManager) or Prisma; or a function `(sql, params) => rows` that runs a
   * statement in it, with the placeholders `$1`, `$2`.
   */
  transaction: object;
}

const checks = new OptionChecks('publish()');

/** @throws SseError `options-invalid`: without its transaction the event would be there also after a rollback */
export function transactionOf(options: SsePublishOptions): unknown {
  checks.refuseUnknown(options, ['transaction']);
  const { transaction } = options as { transaction: unknown };
  if (typeof transaction === 'function' || (typeof transaction === 'object' && transaction !== null)) {
    return transaction;
  }
  throw checks.refusal('transaction', 'the transaction that the event is part of', transaction);
}
