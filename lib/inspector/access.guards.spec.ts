import type { ExecutionContext } from '@nestjs/common';
import { describe, expect, it } from '@jest/globals';
import { LocalGuard, OwnPageGuard } from './access.guards.js';

type Headers = Record<string, string>;

const contextOf = (headers: Headers, remoteAddress = '127.0.0.1', method = 'GET') =>
  ({
    switchToHttp: () => ({ getRequest: () => ({ method, headers, socket: { remoteAddress } }) }),
  }) as unknown as ExecutionContext;

const OWN = { host: 'app.example', 'x-sse-inspector': '1' };

describe('the data of the inspector', () => {
  it.each<[string, Headers]>([
    [
      'to a browser that says same-origin, whatever a proxy has made of the host',
      { 'sec-fetch-site': 'same-origin' },
    ],
    ['with its own origin', { origin: 'https://APP.example' }],
    ['on HTTP/2', { ':authority': 'app.example:8443', host: '', origin: 'https://app.example:8443' }],
    ['to what is no browser', {}],
  ])('is given %s', (_what, headers) => {
    expect(new OwnPageGuard().canActivate(contextOf({ ...OWN, ...headers }))).toBe(true);
  });

  it.each<[string, Headers]>([
    ['another site', { 'sec-fetch-site': 'cross-site', origin: 'https://app.example' }],
    ['another host of the same site', { 'sec-fetch-site': 'same-site' }],
    ['an address that was typed', { 'sec-fetch-site': 'none' }],
    ['another origin', { origin: 'https://evil.example' }],
    ['an origin with the host as a user', { origin: 'https://app.example@evil.example' }],
    ['another port', { origin: 'https://app.example:8443' }],
    ['a page without an origin', { origin: 'null' }],
  ])('is refused to %s', (_what, headers) => {
    const context = contextOf({ ...OWN, ...headers });
    expect(() => new OwnPageGuard().canActivate(context)).toThrow('no page of another origin');
  });

  it('is refused without the header that a page of another origin cannot send', () => {
    const context = contextOf({ host: 'app.example', 'sec-fetch-site': 'same-origin' });
    expect(() => new OwnPageGuard().canActivate(context)).toThrow('which sends x-sse-inspector');
  });
});

it.each(['application/x-www-form-urlencoded', 'text/plain', 'text/plain; application/json', undefined])(
  'the inspector does nothing for a body of the type %s',
  (type) => {
    const headers = { ...OWN, ...(type === undefined ? {} : { 'content-type': type }) };
    expect(() => new OwnPageGuard().canActivate(contextOf(headers, '', 'POST'))).toThrow('takes JSON');
    const json = { ...OWN, 'content-type': 'application/json; charset=utf-8' };
    expect(new OwnPageGuard().canActivate(contextOf(json, '', 'POST'))).toBe(true);
  },
);

describe('an inspector without a guard', () => {
  it.each(['127.0.0.1', '127.8.9.10', '::1', '::ffff:127.0.0.1'])('answers %s', (address) => {
    expect(new LocalGuard().canActivate(contextOf({ host: 'localhost:3000' }, address))).toBe(true);
  });

  it.each<[string, Headers, string]>([
    ['another machine', { host: 'localhost:3000' }, '10.0.0.7'],
    ['an address that only begins as a local one', { host: 'localhost' }, '127.0.0.1.example'],
    ['a name that was made to resolve to this machine', { host: 'rebound.example:3000' }, '127.0.0.1'],
    ['a name that ends as a local one', { host: 'evil.localhost.example' }, '127.0.0.1'],
    ['a proxy on this machine', { host: 'localhost', 'x-forwarded-for': '10.0.0.7' }, '127.0.0.1'],
    ['a proxy that says Forwarded', { host: 'localhost', forwarded: 'for=10.0.0.7' }, '::1'],
    ['a proxy that names itself alone', { host: 'localhost', via: '1.1 edge' }, '127.0.0.1'],
    ['a proxy that tells the address by X-Real-IP', { host: 'localhost', 'x-real-ip': '10.0.0.7' }, '::1'],
    ['a proxy that tells the host alone', { host: 'localhost', 'x-forwarded-host': 'a.example' }, '::1'],
    ['nginx as it is by default', { host: 'localhost:3000', connection: 'close' }, '127.0.0.1'],
  ])('refuses %s', (_what, headers, address) => {
    expect(() => new LocalGuard().canActivate(contextOf(headers, address))).toThrow(
      'answers this machine alone',
    );
  });
});
