/* A disk on which calls fail, for LD_PRELOAD: what a process calls on paths below a folder is told, one call a line, and from the n-th
   call of one kind on so many get an error without being done. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

/* One call at a time, so that the lines stand in the order of what they tell. */
static pthread_mutex_t in_order = PTHREAD_MUTEX_INITIALIZER;
static long seen;

static int is_below(const char *path) {
    const char *folder = getenv("DISK_BELOW");
    return folder && strncmp(path, folder, strlen(folder)) == 0;
}

static int is_file_below(int file, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    path[length < 0 ? 0 : length] = 0;
    return is_below(path);
}

static int fails(const char *call) {
    const char *kind = getenv("DISK_CALL");
    if (!kind || strcmp(kind, call)) return 0;
    long first = atol(getenv("DISK_FIRST")), last = atol(getenv("DISK_LAST"));
    if (++seen < first || seen > last) return 0;
    errno = atoi(getenv("DISK_ERROR"));
    return 1;
}

static void tell(const char *call, const char *from, const char *to, int error) {
    char line[2 * PATH_MAX + 64];
    int length = snprintf(line, sizeof line, "%s\t%s\t%s\t%d\n", call, from, to, error);
    ssize_t (*plain)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
    int log = open(getenv("DISK_LOG"), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (log < 0 || plain(log, line, length) != length) abort();
    close(log);
}

#define DO(type, call, from, to, is_ours, work)                                                                                      \
    if (!(is_ours)) return work;                                                                                                      \
    pthread_mutex_lock(&in_order);                                                                                                    \
    type done = fails(call) ? -1 : work;                                                                                              \
    int error = done < 0 ? errno : 0;                                                                                                 \
    tell(call, from, to, error);                                                                                                      \
    pthread_mutex_unlock(&in_order);                                                                                                  \
    if (error) errno = error;                                                                                                         \
    return done;

ssize_t write(int file, const void *bytes, size_t length) {
    ssize_t (*real)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
    char path[PATH_MAX];
    DO(ssize_t, "write", path, "", is_file_below(file, path), real(file, bytes, length))
}

ssize_t pwrite64(int file, const void *bytes, size_t length, off64_t at) {
    ssize_t (*real)(int, const void *, size_t, off64_t) = dlsym(RTLD_NEXT, "pwrite64");
    char path[PATH_MAX];
    DO(ssize_t, "write", path, "", is_file_below(file, path), real(file, bytes, length, at))
}

int fsync(int file) {
    int (*real)(int) = dlsym(RTLD_NEXT, "fsync");
    char path[PATH_MAX];
    DO(int, "fsync", path, "", is_file_below(file, path), real(file))
}

int fdatasync(int file) {
    int (*real)(int) = dlsym(RTLD_NEXT, "fdatasync");
    char path[PATH_MAX];
    DO(int, "fsync", path, "", is_file_below(file, path), real(file))
}

int rename(const char *from, const char *to) {
    int (*real)(const char *, const char *) = dlsym(RTLD_NEXT, "rename");
    DO(int, "rename", from, to, is_below(to), real(from, to))
}

int linkat(int from_folder, const char *from, int to_folder, const char *to, int flags) {
    int (*real)(int, const char *, int, const char *, int) = dlsym(RTLD_NEXT, "linkat");
    DO(int, "link", from, to, is_below(to), real(from_folder, from, to_folder, to, flags))
}

int unlink(const char *path) {
    int (*real)(const char *) = dlsym(RTLD_NEXT, "unlink");
    DO(int, "unlink", path, "", is_below(path), real(path))
}
