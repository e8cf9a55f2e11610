import type { OpenConnection } from '../index.js';
import { SseError } from '../../errors/index.js';
import type { PostgresConnection } from './connections.js';
import { codeOf, PostgresFailure } from './failure.js';
import { installation, SCHEMA_VERSION } from './schema.js';

const MISSING = new Set(['3F000', '42883', '42P01']);
const DENIED = '42501';

/** Opens connections, each to a database that has the schema: it is made if it is missing, or of an earlier version. */
export function installing(
  open: OpenConnection<PostgresConnection>,
  schema: string,
): OpenConnection<PostgresConnection> {
  const openInstalled = async (abandoned: AbortSignal) => {
    const connection = await open(abandoned);
    try {
      await refuseOtherEncodings(connection);
      if ((await installedVersion(connection, schema)) < SCHEMA_VERSION) {
        await install(connection, schema);
      }
      return connection;
    } catch (error) {
      connection.destroy();
      throw error;
    }
  };
  return Object.assign(openInstalled, { server: open.server });
}

async function refuseOtherEncodings(connection: PostgresConnection): Promise<void> {
  const [row] = await connection.query("select current_setting('server_encoding') as reply", []);
  if (row?.['reply'] !== 'UTF8') {
    throw new SseError(
      'log-unavailable',
      `The database has the encoding ${row?.['reply']}, and events are UTF-8. Give postgres() a database that was made ` +
        "with encoding 'UTF8'.",
    );
  }
}

/** Returns 0 if there is no schema. */
async function installedVersion(connection: PostgresConnection, schema: string): Promise<number> {
  try {
    const [row] = await connection.query(`select "${schema}".version()::text as reply`, []);
    return Number(row?.['reply']);
  } catch (error) {
    const code = codeOf(error);
    if (code === DENIED) {
      throw denied(error, `the right to use the schema ${schema}`);
    }
    if (code === undefined || !MISSING.has(code)) {
      throw error;
    }
    return 0;
  }
}

async function install(connection: PostgresConnection, schema: string): Promise<void> {
  try {
    await connection.query(installation(schema));
  } catch (error) {
    if (codeOf(error) === DENIED) {
      throw denied(error, `the right to make the schema ${schema} and its tables`);
    }
    throw error;
  }
}

function denied(error: unknown, right: string): PostgresFailure {
  return new PostgresFailure(
    `The user of the connection lacks ${right} (${(error as Error).message}). Run what postgresSchema() returns as ` +
      'the owner of the database, and grant the rights that the guide names',
    { cause: error, code: DENIED, mayHaveRun: false },
  );
}
