import { fileURLToPath } from 'node:url';
import { SWC_OPTIONS } from './support/apps/swc-options.mjs';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

const { jsc, module } = SWC_OPTIONS;
const swc = ['@swc/jest', { jsc, module, sourceMaps: 'inline' }];

const project = (displayName, testMatch, moduleNameMapper = {}) => ({
  displayName,
  rootDir: ROOT,
  testMatch: testMatch.map((pattern) => pattern.replace(/^!?/, (not) => `${not}${ROOT}`)),
  testEnvironment: 'node',
  extensionsToTreatAsEsm: ['.ts'],
  transform: { '^.+\\.ts$': swc },
  moduleNameMapper: {
    ...moduleNameMapper,
    '^nestjs-event-stream$': '<rootDir>/lib/index.ts',
    '^nestjs-event-stream/(client|react|ai-sdk|ag-ui|inspector|opentelemetry|prometheus|terminus|testing|swagger)$':
      '<rootDir>/lib/$1/index.ts',
    '^nestjs-event-stream/(redis|nats|postgres)$': '<rootDir>/lib/engines/$1/index.ts',
    '^(\\.{1,2}/.*)\\.js$': '$1',
  },
  modulePathIgnorePatterns: ['<rootDir>/dist/', '<rootDir>/test/package/apps/'],
});

// The same specs on the older major: its copies live under test/nest11.
const nest11 = {
  '^@nestjs/(common|core|platform-express|platform-fastify|swagger|testing)$':
    '<rootDir>/test/nest11/node_modules/@nestjs/$1',
};
// The hooks on the older major of React, and the recipes on their frameworks, are installed under test/frameworks.
const frameworks = {
  '^(react|react-dom)(/.*)?$': '<rootDir>/test/frameworks/node_modules/$1$2',
};
const throughNest = ['test/e2e/**/*.spec.ts', 'test/conformance/**/*.spec.ts', 'test/fault/**/*.spec.ts'];
// Nest has no part in these: how foreign programs and our own client read a stream, what a topic holds and replays, what
// crowds and processes leave behind. The newer major runs them; the rest runs on both.
const besideNest = [
  '!test/e2e/{client,clients}/**',
  '!test/e2e/topics/{returning,snapshot,values,writes}.spec.ts',
  '!test/fault/{clock,cluster,leaving,processes}.spec.ts',
];

export default {
  rootDir: ROOT,
  // A bound for a test that hangs, not a measure: the machine may be slow and busy.
  testTimeout: 30_000,
  projects: [
    project('unit', ['lib/**/*.spec.ts']),
    project('workshop', ['test/suites/**/*.spec.ts']),
    project('nest12', throughNest),
    project('nest11', [...throughNest, ...besideNest], nest11),
    project('orms', ['test/orms/*.spec.ts']),
    project('frameworks', ['lib/react/**/*.spec.ts', 'test/frameworks/*.spec.ts'], frameworks),
    project('sdks', ['test/sdks/**/*.spec.ts']),
    project('stress', ['test/chaos/memory/**/*.spec.ts']),
    project('chaos', ['test/chaos/{runs,soak,topics,trust}/**/*.spec.ts']),
    project('engines', ['test/engines/**/*.spec.ts']),
    project('exporters', ['test/exporters/**/*.spec.ts']),
    project('proxies', ['test/proxies/**/*.spec.ts']),
    {
      ...project('browser', ['test/browser/**/!(copied-*).spec.ts']),
      globalSetup: '<rootDir>/test/browser/jest.setup.mjs',
    },
    project('sample', ['test/browser/copied-*.spec.ts']),
    {
      ...project('package', ['test/package/*.spec.ts']),
      globalSetup: '<rootDir>/test/package/jest.setup.mjs',
      globalTeardown: '<rootDir>/test/package/jest.teardown.mjs',
    },
  ],
};
