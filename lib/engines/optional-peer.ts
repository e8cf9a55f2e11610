/**
 * A package that the app may have installed, as its client of an engine. In an app that was bundled into one file it is
 * looked for beside that file: a bundler packs what is named where it is imported, and here it is not.
 *
 * @returns undefined if it is not installed
 */
export async function optionalPeer(name: string): Promise<unknown> {
  try {
    return await load(name);
  } catch (error) {
    if (isMissing(error, name)) {
      return undefined;
    }
    throw error;
  }
}

async function load(name: string): Promise<unknown> {
  // From CommonJS as CommonJS: jest, as it comes, has no import() there.
  return typeof require === 'function' ? (require(name) as unknown) : (import(name) as Promise<unknown>);
}

// A package that is there and lacks one of its own modules is broken, not missing.
function isMissing(error: unknown, name: string): boolean {
  const { code, message } = error as { code?: unknown; message?: unknown };
  return (
    (code === 'ERR_MODULE_NOT_FOUND' || code === 'MODULE_NOT_FOUND') && String(message).includes(`'${name}'`)
  );
}
