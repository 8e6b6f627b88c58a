// SPDX-License-Identifier: GPL-3.0-or-later
// Makes one thread of a Worker stand still at a call of the C library on a staged file, so that a
// test can kill the Worker right there. Loaded by LD_PRELOAD; does nothing in programs that touch
// no staged file by these calls, as Blender and the supervisor.
//
// TABLAO_TEST_HALT_AT says where ("before linkat", "after linkat"), TABLAO_TEST_HALTED names the
// file that appears when it stands there.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void halt(const char *moment, const char *path)
{
    const char *wanted = getenv("TABLAO_TEST_HALT_AT");
    const char *halted = getenv("TABLAO_TEST_HALTED");
    if (!wanted || !halted || strcmp(moment, wanted) != 0 || !strstr(path, "/.tablao-staging/"))
        return;
    close(open(halted, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    for (;;)
        pause();
}

static int ended(const char *moment, const char *path, int result)
{
    int error = errno;
    if (result == 0)
        halt(moment, path);
    errno = error;
    return result;
}

int fsync(int file)
{
    int (*real)(int) = dlsym(RTLD_NEXT, "fsync");
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    path[length < 0 ? 0 : length] = 0;
    halt("before fsync", path);
    return ended("after fsync", path, real(file));
}

int linkat(int from_folder, const char *from, int to_folder, const char *to, int flags)
{
    int (*real)(int, const char *, int, const char *, int) = dlsym(RTLD_NEXT, "linkat");
    halt("before linkat", from);
    return ended("after linkat", from, real(from_folder, from, to_folder, to, flags));
}

int unlink(const char *path)
{
    int (*real)(const char *) = dlsym(RTLD_NEXT, "unlink");
    return ended("after unlink", path, real(path));
}

int rename(const char *from, const char *to)
{
    int (*real)(const char *, const char *) = dlsym(RTLD_NEXT, "rename");
    halt("before rename", from);
    return ended("after rename", from, real(from, to));
}
