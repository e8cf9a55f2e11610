import { describe, expect, it } from '@jest/globals';
import { acceptsGzip } from './accept-encoding.js';

describe('a client takes gzip', () => {
  it.each([
    'gzip',
    'x-gzip',
    'GZip',
    'gzip, deflate, br, zstd',
    'br, gzip',
    'br;q=1, gzip;q=0.1',
    'gzip;q=0.001',
    'gzip ; q=1.000',
    'gzip;Q=0.5',
    '*',
    'br, *;q=0.1',
    'gzip, identity',
    'gzip;q=0.5, identity;q=0.5',
    'gzip, *;q=0',
    'identity;q=0, gzip;q=0.2',
    ', gzip,',
  ])('with Accept-Encoding: %s', (header) => {
    expect(acceptsGzip(header)).toBe(true);
  });

  it.each([
    undefined,
    '',
    'identity',
    'br',
    'deflate, br',
    'gzip;q=0',
    'gzip;q=0.000',
    'x-gzip;q=0, br',
    '*;q=0',
    'gzip;q=0, *',
    'identity, gzip;q=0.9',
    'identity;q=0.6, *;q=0.5',
    'gzip;q=2',
    'gzip;q=-1',
    'gzip;q=0.1234',
    'gzip;q=',
    'gzip;level=9',
    'gzip;q=1;q=0',
    'gzipped',
  ])('not with Accept-Encoding: %s', (header) => {
    expect(acceptsGzip(header)).toBe(false);
  });
});
