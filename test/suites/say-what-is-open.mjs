// Loaded before jest. On SIGUSR2, which the runner sends to a process that does not end, says what keeps it.
process.on('SIGUSR2', () => {
  const handles = process
    ._getActiveHandles()
    .filter((handle) => handle.hasRef?.() !== false && handle.fd === undefined);
  const names = handles.map((handle) => {
    const ends = [handle.localPort ?? handle.address?.()?.port, handle.remotePort].filter(
      (port) => port !== undefined,
    );
    return [handle.constructor.name, handle.spawnfile, handle.pid, ...ends]
      .filter((part) => part !== undefined)
      .join(' ');
  });
  process.stderr.write(`\nStill open: ${[...names, ...process.getActiveResourcesInfo()].join(', ')}\n`);
});
