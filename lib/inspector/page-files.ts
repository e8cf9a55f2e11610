import { readFile } from 'node:fs/promises';
import { NotFoundException } from '@nestjs/common';

// The rooms from which the page loads. Names have no slash, and nothing else of the package is served.
const ROOMS = ['inspector', 'inspector/page', 'client', 'wire', 'errors'];
const NAME = /^[a-z][a-z0-9-]*(\.[a-z0-9-]+)*\.js$/;
// Of the inspector's own room the page needs no more.
const SHARED = ['protocol.js'];
const MAX_FILES = 200;
const NO_FILE = 'The inspector has no such file.';

/** The ES modules of the page, as they stand in the package: nothing is built for it. */
export class PageFiles {
  readonly #folder: () => Promise<URL>;
  readonly #texts = new Map<string, Promise<string>>();

  /** @param folder - gives the folder of ES modules */
  constructor(folder = esModules) {
    this.#folder = folder;
  }

  /**
   * Returns the text of a module.
   *
   * @throws NotFoundException if the page loads no such module, or it cannot be read, as in an app that is one file
   */
  async read(room: string, name: string): Promise<string> {
    const isOfPage =
      ROOMS.includes(room) && NAME.test(name) && (room !== 'inspector' || SHARED.includes(name));
    if (!isOfPage) {
      throw new NotFoundException(NO_FILE);
    }
    const path = `${room}/${name}`;
    const text = this.#texts.get(path) ?? this.#load(path);
    if (this.#texts.size < MAX_FILES) {
      this.#texts.set(path, text);
    }
    try {
      return await text;
    } catch (error) {
      this.#texts.delete(path);
      throw error;
    }
  }

  async #load(path: string): Promise<string> {
    try {
      return await readFile(new URL(path, await this.#folder()), 'utf8');
    } catch (error) {
      throw new NotFoundException(
        `${NO_FILE} If the app is bundled, leave nestjs-event-stream out of the bundle.`,
        {
          cause: error,
        },
      );
    }
  }
}

async function esModules(): Promise<URL> {
  const { ES_MODULES } = await import('./here.mjs');
  return ES_MODULES;
}
