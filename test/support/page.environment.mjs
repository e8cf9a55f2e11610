/**
 * The environment of specs that render: Node's own, with the document of a page. Made outside of jest's modules, and so
 * once for each worker, not for each file.
 */
import { TestEnvironment } from 'jest-environment-node';
import { JSDOM, VirtualConsole } from 'jsdom';

// What frameworks look for by name; the rest of a page they take from `window`.
const GLOBALS = [
  'document',
  'navigator',
  'Node',
  'Element',
  'HTMLElement',
  'SVGElement',
  'Text',
  'Comment',
  'MutationObserver',
];

export default class PageEnvironment extends TestEnvironment {
  #page;

  async setup() {
    await super.setup();
    this.#page = new JSDOM('<!doctype html><body></body>', {
      url: 'http://host/',
      // Its own console prints what a boundary of React has caught.
      virtualConsole: new VirtualConsole(),
    });
    const { window } = this.#page;
    const globals = {
      ...Object.fromEntries(GLOBALS.map((name) => [name, window[name]])),
      window,
      // jest replaces them with its timers.
      requestAnimationFrame: (callback) => this.global.setTimeout(callback, 16),
      cancelAnimationFrame: (frame) => this.global.clearTimeout(frame),
    };
    for (const [name, value] of Object.entries(globals)) {
      // Not assigned: newer versions of Node have a navigator that is only read.
      Object.defineProperty(this.global, name, { value, configurable: true, writable: true });
    }
  }

  async teardown() {
    this.#page.window.close();
    await super.teardown();
  }
}
