import { fileURLToPath } from 'node:url';

const swc = [
  '@swc/jest',
  {
    jsc: {
      target: 'es2022',
      parser: { syntax: 'typescript', decorators: true },
      transform: { legacyDecorator: true, decoratorMetadata: true },
      keepClassNames: true,
    },
    module: { type: 'es6' },
    sourceMaps: 'inline',
  },
];

const project = (displayName, testMatch, moduleNameMapper = {}) => ({
  displayName,
  rootDir: fileURLToPath(new URL('..', import.meta.url)),
  testMatch: testMatch.map((pattern) => `<rootDir>/${pattern}`),
  testEnvironment: 'node',
  extensionsToTreatAsEsm: ['.ts'],
  transform: { '^.+\\.ts$': swc },
  moduleNameMapper: {
    ...moduleNameMapper,
    '^nestjs-event-stream$': '<rootDir>/lib/index.ts',
    '^nestjs-event-stream/testing$': '<rootDir>/lib/testing/index.ts',
    '^(\\.{1,2}/.*)\\.js$': '$1',
  },
  modulePathIgnorePatterns: ['<rootDir>/dist', '<rootDir>/test/package/apps'],
});

const nest11 = { '^@nestjs/(common|core|platform-express|platform-fastify|testing)$': '<rootDir>/test/nest11/node_modules/@nestjs/$1' };

export default {
  projects: [
    project('unit', ['lib/**/*.spec.ts']),
    project('nest12', ['test/e2e/**/*.spec.ts', 'test/fault/**/*.spec.ts']),
    project('nest11', ['test/e2e/**/*.spec.ts', 'test/fault/**/*.spec.ts'], nest11),
  ],
};
