/* Makes a disk full from the N-th write to a folder on; for `drill_surroundings.py`, by LD_PRELOAD.

   A write is any call that needs space: of bytes, a new file, a new folder, or a larger size. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static const char *folder;
static long most;
static long *calls;

/* Lets `num` writes under `place` succeed, and counts them all in `count`. */
void fill_after(const char *place, long num, long *count) {
    most = num, calls = count, folder = place;
}

static int is_full(const char *place) {
    if (strncmp(place, folder, strlen(folder))) return 0;
    if (__atomic_add_fetch(calls, 1, __ATOMIC_RELAXED) <= most) return 0;
    errno = ENOSPC;
    return 1;
}

static int is_full_for(int fd) {
    char name[64], place[PATH_MAX];
    if (!folder) return 0;
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(name, place, sizeof place - 1);
    if (size < 0) return 0;
    place[size] = 0;
    return is_full(place);
}

static int is_full_at(int dir, const char *path) {
    if (!folder) return 0;
    return path[0] == '/' ? is_full(path) : dir != AT_FDCWD && is_full_for(dir);
}

#define WRAP(type, name, parameters, arguments, full)           \
    type name parameters {                                      \
        static type(*real) parameters;                          \
        if (!real) real = (type(*) parameters)dlsym(RTLD_NEXT, #name); \
        return full ? -1 : real arguments;                      \
    }
#define WRITES(type, name, parameters, arguments) WRAP(type, name, parameters, arguments, is_full_for(fd))

WRITES(ssize_t, write, (int fd, const void *data, size_t size), (fd, data, size))
WRITES(ssize_t, pwrite, (int fd, const void *data, size_t size, off_t at), (fd, data, size, at))
WRITES(ssize_t, pwrite64, (int fd, const void *data, size_t size, off64_t at), (fd, data, size, at))
WRITES(ssize_t, writev, (int fd, const struct iovec *data, int num), (fd, data, num))
WRITES(ssize_t, pwritev, (int fd, const struct iovec *data, int num, off_t at), (fd, data, num, at))
WRITES(ssize_t, pwritev64, (int fd, const struct iovec *data, int num, off64_t at), (fd, data, num, at))
WRITES(ssize_t, sendfile, (int fd, int from, off_t *at, size_t size), (fd, from, at, size))
WRITES(ssize_t, sendfile64, (int fd, int from, off64_t *at, size_t size), (fd, from, at, size))
WRITES(int, ftruncate, (int fd, off_t size), (fd, size))
WRITES(int, ftruncate64, (int fd, off64_t size), (fd, size))
WRITES(int, fallocate, (int fd, int mode, off_t at, off_t size), (fd, mode, at, size))
WRAP(ssize_t, copy_file_range,
     (int from, off64_t *at, int fd, off64_t *to, size_t size, unsigned flags),
     (from, at, fd, to, size, flags), is_full_for(fd))
WRAP(int, mkdir, (const char *path, mode_t mode), (path, mode), is_full_at(AT_FDCWD, path))
WRAP(int, mkdirat, (int dir, const char *path, mode_t mode), (dir, path, mode), is_full_at(dir, path))

#define OPENS(name, parameters, arguments, dir)                                \
    int name parameters {                                                      \
        static int(*real) parameters;                                          \
        if (!real) real = (int(*) parameters)dlsym(RTLD_NEXT, #name);          \
        va_list more;                                                          \
        va_start(more, flags);                                                 \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0; \
        va_end(more);                                                          \
        return flags & O_CREAT && is_full_at(dir, path) ? -1 : real arguments; \
    }
OPENS(open, (const char *path, int flags, ...), (path, flags, mode), AT_FDCWD)
OPENS(open64, (const char *path, int flags, ...), (path, flags, mode), AT_FDCWD)
OPENS(openat, (int dir, const char *path, int flags, ...), (dir, path, flags, mode), dir)
OPENS(openat64, (int dir, const char *path, int flags, ...), (dir, path, flags, mode), dir)
