/**
 * Loads a package that the app may have installed: the client library of an engine. A bundler packs only imports that
 * it can see. In an app that was bundled into one file, the package is looked up from that file.
 *
 * @returns undefined if the package is not installed
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
  // In CommonJS by require(): jest has no import() there by default.
  return typeof require === 'function' ? (require(name) as unknown) : (import(name) as Promise<unknown>);
}

// A package that lacks one of its own modules is broken, not missing.
function isMissing(error: unknown, name: string): boolean {
  const { code, message } = error as { code?: unknown; message?: unknown };
  return (
    (code === 'ERR_MODULE_NOT_FOUND' || code === 'MODULE_NOT_FOUND') && String(message).includes(`'${name}'`)
  );
}
