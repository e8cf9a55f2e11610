/**
 * Finds what a lock file cannot vouch for.
 *
 * @param lock - a parsed package-lock.json of version 3
 * @returns {{ unverified: string[], missing: string[] }} the packages without an integrity hash, by their place; and
 * the optional dependencies without an entry, by name
 */
export function incompleteEntries(lock) {
  const entries = Object.entries(lock.packages);
  const unverified = entries.filter(
    ([place, entry]) => isFetched(place, entry) && entry.integrity === undefined,
  );
  const missing = entries.flatMap(([place, entry]) =>
    Object.keys(entry.optionalDependencies ?? {}).filter((name) => !isFound(lock, place, name)),
  );
  return { unverified: unverified.map(([place]) => place), missing };
}

/** A link leads into this repository, and so does an entry outside of node_modules: nothing is fetched for either. */
function isFetched(place, { link, inBundle }) {
  return place.includes('node_modules/') && link !== true && inBundle !== true;
}

/** As Node resolves a name: from the place of the package that asks for it, upwards. */
function isFound({ packages }, from, name) {
  for (let folder = from; ; folder = folder.slice(0, Math.max(0, folder.lastIndexOf('/node_modules/')))) {
    if (packages[`${folder === '' ? '' : `${folder}/`}node_modules/${name}`] !== undefined) {
      return true;
    }
    if (folder === '') {
      return false;
    }
  }
}
