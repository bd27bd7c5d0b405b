/*
 * Preloaded into a server: its wall clock is what a file says, in microseconds since 1970, and its random bytes come
 * from another file, so that two runs of one seed are alike. The monotonic clock is left alone. Uses no malloc.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *wall;

__attribute__((constructor)) static void begin(void) {
  const char *path = getenv("HOLDFAST_CLOCK");
  int file = path ? open(path, O_RDONLY) : -1;
  if (file < 0) return;
  void *mapped = mmap(0, sizeof *wall, PROT_READ, MAP_SHARED, file, 0);
  close(file);
  if (mapped != MAP_FAILED) wall = mapped;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
  if (!wall || (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE)) return syscall(SYS_clock_gettime, clock, time);
  int64_t micros = *wall;
  time->tv_sec = micros / 1000000;
  time->tv_nsec = micros % 1000000 * 1000;
  return 0;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
  (void)zone;
  struct timespec now;
  int result = clock_gettime(CLOCK_REALTIME, &now);
  if (time) {
    time->tv_sec = now.tv_sec;
    time->tv_usec = now.tv_nsec / 1000;
  }
  return result;
}

time_t time(time_t *result) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (result) *result = now.tv_sec;
  return now.tv_sec;
}

static FILE *opened(const char *name, const char *path, const char *mode) {
  const char *bytes = getenv("HOLDFAST_RANDOM");
  FILE *(*next)(const char *, const char *) = (FILE *(*)(const char *, const char *))dlsym(RTLD_NEXT, name);
  return next(bytes && path && strcmp(path, "/dev/urandom") == 0 ? bytes : path, mode);
}

FILE *fopen(const char *restrict path, const char *restrict mode) { return opened("fopen", path, mode); }

FILE *fopen64(const char *restrict path, const char *restrict mode) { return opened("fopen64", path, mode); }
