/** The parts of the name of a run. */
export interface RunName {
  readonly id: string;
  readonly owner: string | undefined;
}

const OWNED = /^run-of:(\d+):/;

/**
 * Returns the name of a run's log. Two owners may use the same id for two runs. The length of the owner is part of the
 * name, so that two pairs of owner and id never have the same name.
 */
export function nameOf(id: string, owner?: string): string {
  return owner === undefined ? `run:${id}` : `run-of:${owner.length}:${owner}:${id}`;
}

/** Returns the parts that {@link nameOf} has joined. */
export function partsOf(name: string): RunName {
  const [prefix, length] = OWNED.exec(name) ?? [];
  if (prefix === undefined) {
    return { id: name.slice('run:'.length), owner: undefined };
  }
  const end = prefix.length + Number(length);
  return { owner: name.slice(prefix.length, end), id: name.slice(end + 1) };
}
