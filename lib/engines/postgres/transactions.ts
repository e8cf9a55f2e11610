import { show, SseError } from '../../errors/index.js';

/** A function or an object of a database library, by shape: the app may have another copy of the library. */
type Shape = Readonly<Record<PropertyKey, unknown>>;

/** One library: how its transactions are recognized, and how a statement is run in one. */
interface Library {
  readonly name: string;
  /** Whether a value is of this library: a transaction, or what is no transaction. */
  matches(value: Shape): boolean;
  /** Why the value is no open transaction; undefined if it is one, as far as it can be known. */
  problem(value: Shape): string | undefined;
  run(value: Shape, text: string, params: readonly string[]): unknown;
}

const has = (value: Shape, ...methods: string[]) =>
  methods.every((method) => typeof value[method] === 'function');
/** Calls a method with its object, and returns the result as a shape. */
const on = (value: Shape, method: string, ...args: unknown[]) =>
  (value[method] as (...args: unknown[]) => unknown).call(value, ...args) as Shape | undefined;
/** The placeholders of libraries that number none. */
const questionMarks = (text: string) => text.replace(/\$\d+/g, '?');

/** The keys of what Prisma knows of a transaction: in Prisma 7.0, and in 7.8 and later. */
const PRISMA_TRANSACTION = ['id', 'scope_context'].map((key) =>
  Symbol.for(`prisma.client.transaction.${key}`),
);
const NOT_STARTED = 'it has no open transaction';

/** In this order: the later ones are recognized by less. */
const LIBRARIES: readonly Library[] = [
  {
    name: 'Knex',
    matches: (value) => has(value, 'raw') && 'client' in value,
    problem: (value) => {
      if (value['isTransaction'] !== true) {
        return 'it is the Knex instance, not the trx of knex.transaction()';
      }
      return has(value, 'isCompleted') && on(value, 'isCompleted') ? 'it has ended' : undefined;
    },
    run: (value, text, params) => on(value, 'raw', questionMarks(text), params),
  },
  {
    name: 'postgres.js',
    matches: (value) => has(value, 'unsafe') && (has(value, 'begin') || has(value, 'savepoint')),
    problem: (value) =>
      has(value, 'savepoint') || has(value, 'release')
        ? undefined
        : 'it is sql itself, not the one that sql.begin() gives',
    run: (value, text, params) => on(value, 'unsafe', text, params),
  },
  {
    name: 'MikroORM',
    matches: (value) => has(value, 'getConnection', 'getTransactionContext'),
    problem: (value) => (on(value, 'getTransactionContext') === undefined ? NOT_STARTED : undefined),
    run: (value, text, params) => {
      const context = on(value, 'getTransactionContext');
      return on(on(value, 'getConnection')!, 'execute', questionMarks(text), params, 'run', context);
    },
  },
  {
    name: 'Prisma',
    matches: (value) => has(value, '$executeRawUnsafe'),
    problem: (value) =>
      has(value, '$connect') && PRISMA_TRANSACTION.every((key) => value[key] === undefined)
        ? 'it is the client, not the one that prisma.$transaction() gives'
        : undefined,
    run: (value, text, params) => on(value, '$executeRawUnsafe', text, ...params),
  },
  {
    name: 'Kysely',
    matches: (value) => has(value, 'executeQuery') && 'isTransaction' in value,
    problem: (value) =>
      value['isTransaction'] === true
        ? undefined
        : 'it is the Kysely instance, not the trx of db.transaction()',
    run: (value, text, params) =>
      on(value, 'executeQuery', {
        sql: text,
        parameters: params,
        query: { kind: 'RawNode', sqlFragments: [text], parameters: [] },
        queryId: { queryId: 'nestjs-event-stream' },
      }),
  },
  {
    name: 'Drizzle',
    matches: (value) => has(value, 'execute', 'select') && 'session' in value,
    problem: (value) =>
      has(value, 'rollback') ? undefined : 'it is the database, not the tx that db.transaction() gives',
    run: (value, text, params) => runIn((value['session'] as Shape)['client'], text, params),
  },
  {
    name: 'TypeORM',
    matches: (value) =>
      has(value, 'query') && ('isTransactionActive' in value || has(value, 'getRepository')),
    problem: (value) => {
      const runner = ('isTransactionActive' in value ? value : value['queryRunner']) as Shape | undefined;
      if (runner?.['isTransactionActive'] === true) {
        return undefined;
      }
      return has(value, 'createQueryRunner')
        ? 'it is the DataSource, not the manager that dataSource.transaction() gives'
        : NOT_STARTED;
    },
    run: (value, text, params) => on(value, 'query', text, params),
  },
  {
    name: 'pg',
    matches: (value) => has(value, 'query'),
    problem: (value) => {
      if ('totalCount' in value && 'idleCount' in value) {
        return 'it is a Pool, which runs each statement on a connection of its own: give a client of pool.connect()';
      }
      return has(value, 'getTransactionStatus') && (on(value, 'getTransactionStatus') as unknown) === 'I'
        ? NOT_STARTED
        : undefined;
    },
    run: (value, text, params) => on(value, 'query', text, params),
  },
];

/**
 * Runs a statement in a transaction of the app.
 *
 * @param text - with the placeholders `$1`, `$2`, …
 * @throws SseError `misuse` if it is known to be none; the error of the app's library
 */
export async function runIn(transaction: unknown, text: string, params: readonly string[]): Promise<void> {
  const value = transaction as Shape;
  const isShape = (typeof value === 'object' && value !== null) || typeof value === 'function';
  const library = isShape ? LIBRARIES.find((one) => one.matches(value)) : undefined;
  if (!library) {
    if (typeof transaction === 'function') {
      await (transaction as (sql: string, params: string[]) => unknown)(text, [...params]);
      return;
    }
    throw new SseError(
      'misuse',
      `transaction of publish() must be a transaction of pg, postgres.js, TypeORM, Drizzle, Kysely, Knex, MikroORM or ` +
        `Prisma, or a function (sql, params) => rows, got ${show(transaction)}.`,
      { field: 'transaction' },
    );
  }
  const problem = library.problem(value);
  if (problem !== undefined) {
    throw new SseError(
      'misuse',
      `transaction of publish() is no open transaction of ${library.name}: ${problem}. The event would be there also if ` +
        'your transaction rolls back, so it was not published.',
      { field: 'transaction', isOutcomeKnown: true },
    );
  }
  await library.run(value, text, [...params]);
}
