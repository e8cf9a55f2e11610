import { describe, expect, it } from '@jest/globals';
import { inspectorSettings, refuseUnguarded } from './inspector.options.js';
import type { SseInspectorOptions } from './inspector.options.js';

class Guard {
  canActivate(): boolean {
    return true;
  }
}

describe('the options of the inspector', () => {
  it('have defaults, and a path without slashes at its ends', () => {
    expect(inspectorSettings({})).toEqual({ path: 'sse-inspector', guards: [], imports: [], maxPages: 20 });
    expect(inspectorSettings({ path: '/internal/sse/' }).path).toBe('internal/sse');
  });

  it.each<[string, object]>([
    ['has no option "guard"', { guard: Guard }],
    ['path of SseInspectorModule.forRoot() must be letters', { path: 'a b' }],
    ['path of SseInspectorModule.forRoot() must be letters', { path: '' }],
    ['path of SseInspectorModule.forRoot() must be letters', { path: ':tenant/sse' }],
    ['guards of SseInspectorModule.forRoot() must be a list', { guards: Guard }],
    ['classes or instances with canActivate(), got an object', { guards: [{}] }],
    ['classes or instances with canActivate(), got undefined', { guards: [undefined] }],
    ['maxPages of SseInspectorModule.forRoot() must be a whole number, 1 to 50, got 51', { maxPages: 51 }],
  ])('are refused: %s', (message, options) => {
    expect(() => inspectorSettings(options)).toThrow(message);
  });

  it.each<[string | undefined, SseInspectorOptions, boolean]>([
    ['development', {}, true],
    ['production', {}, false],
    ['test', {}, false],
    ['dev', {}, false],
    [undefined, {}, false],
    ['production', { guards: [Guard] }, true],
    ['production', { guards: [new Guard()] }, true],
  ])('need a guard: with NODE_ENV %s, %j starts: %s', (environment, options, starts) => {
    const start = () => refuseUnguarded(inspectorSettings(options), environment);
    if (starts) {
      expect(start).not.toThrow();
    } else {
      expect(start).toThrow(
        /^SseInspectorModule\.forRoot\(\) has no guards, and NODE_ENV is .*: whoever finds \/sse/,
      );
    }
  });
});
