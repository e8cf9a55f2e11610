import { getPrismaClient } from '@prisma/client/runtime/client';
import type { GetPrismaClientConfig } from '@prisma/client/runtime/client';

const NO_MODELS = { models: {}, enums: {}, types: {} };
/** Three counts, of nodes and roots: all are 0. */
const EMPTY_GRAPH = 'AAAA';

/** Makes the class `PrismaClient` as `prisma generate` does for a schema without models: statements are all raw. */
export function generatedClient(): ReturnType<typeof getPrismaClient> {
  const config: GetPrismaClientConfig = {
    previewFeatures: [],
    clientVersion: '7.10.0',
    engineVersion: 'unknown',
    activeProvider: 'postgresql',
    inlineSchema: 'datasource db {\n  provider = "postgresql"\n}\n',
    runtimeDataModel: NO_MODELS,
    parameterizationSchema: { strings: [], graph: EMPTY_GRAPH },
    compilerWasm: {
      getRuntime: () => import('@prisma/client/runtime/query_compiler_small_bg.postgresql.mjs'),
      getQueryCompilerWasmModule: async () => {
        const { wasm } =
          await import('@prisma/client/runtime/query_compiler_small_bg.postgresql.wasm-base64.mjs');
        return new WebAssembly.Module(Buffer.from(wasm, 'base64'));
      },
      importName: './query_compiler_small_bg.js',
    },
  };
  return getPrismaClient(config);
}
