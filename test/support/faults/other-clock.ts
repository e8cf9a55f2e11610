import { execFile } from 'node:child_process';
import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

// libfaketime reads the clock by a call that allocates, and redis-server's allocator reads the clock: neither starts.
const SOURCE = `
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
static long ahead(void) {
  const char *text = getenv("CLOCK_AHEAD_SECONDS");
  return text ? atol(text) : 0;
}
int clock_gettime(clockid_t clock, struct timespec *at) {
  int result = syscall(SYS_clock_gettime, clock, at);
  if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) at->tv_sec += ahead();
  return result;
}
int gettimeofday(struct timeval *at, void *zone) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  at->tv_sec = now.tv_sec;
  at->tv_usec = now.tv_nsec / 1000;
  return 0;
}
time_t time(time_t *at) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (at) *at = now.tv_sec;
  return now.tv_sec;
}
`;

let building: Promise<string> | undefined;

/** The environment of a process whose clock is ahead of the machine's, or behind it. Needs a C compiler, `cc`. */
export async function clockAhead(seconds: number): Promise<Record<string, string>> {
  building ??= build();
  return { LD_PRELOAD: await building, CLOCK_AHEAD_SECONDS: String(seconds) };
}

async function build(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'other-clock-'));
  const source = join(folder, 'clock.c');
  const library = join(folder, 'clock.so');
  await writeFile(source, SOURCE);
  await promisify(execFile)('cc', ['-shared', '-fPIC', '-O1', '-o', library, source]);
  return library;
}
