// Mounts an ext4 image through a loop device at DIRECTORY/image. The target freezes it; whoever has its root can thaw
// it.

#define _GNU_SOURCE
#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { IMAGE_SIZE = 8 << 20, ATTEMPTS = 16 };

static void make_file_system(char *image) {
    char *arguments[] = {"mkfs.ext4", "-q", "-F", image, NULL};
    char *environment[] = {"PATH=/usr/sbin:/sbin:/usr/bin:/bin", NULL};
    pid_t maker;
    int status;
    // By path: posix_spawnp would look at our own PATH, which need not hold the directories of the superuser.
    for (const char **place = (const char *[]){"/usr/sbin/mkfs.ext4", "/sbin/mkfs.ext4", NULL};; place++) {
        if (!*place) skip("mkfs.ext4");
        errno = posix_spawn(&maker, *place, NULL, NULL, arguments, environment);
        if (errno == 0) break;
    }
    if (waitpid(maker, &status, 0) < 0 || status != 0) fail("mkfs.ext4");
}

// Attaches the image to a free loop device that detaches itself after its last use.
static int attach(int image, char *path, size_t size) {
    int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    if (control < 0) skip("/dev/loop-control");
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        int number = ioctl(control, LOOP_CTL_GET_FREE);
        if (number < 0) skip("a free loop device");
        snprintf(path, size, "/dev/loop%d", number);
        int device = open(path, O_RDWR | O_CLOEXEC);
        if (device < 0) skip("%s", path);
        struct loop_config config = {.fd = (uint32_t)image, .info = {.lo_flags = LO_FLAGS_AUTOCLEAR}};
        if (ioctl(device, LOOP_CONFIGURE, &config) == 0) {
            close(control);
            return device;
        }
        // EBUSY: somebody else was told of the same free one, and was faster.
        if (errno != EBUSY) skip("LOOP_CONFIGURE");
        close(device);
    }
    skip("a free loop device after %d attempts", ATTEMPTS);
}

void mount_image(struct fixture *fixture) {
    char image[PAGE], mounted[PAGE], device_path[32];
    // The test looks for this name among the files behind loop devices.
    snprintf(image, sizeof image, "%s/unstoppable-%d.ext4", fixture->directory, getpid());
    snprintf(mounted, sizeof mounted, "%s/image", fixture->directory);
    int file = open(image, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0 || ftruncate(file, IMAGE_SIZE) < 0 || mkdir(mounted, 0700) < 0) fail("an image");
    make_file_system(image);
    int device = attach(file, device_path, sizeof device_path);
    if (mount(device_path, mounted, "ext4", 0, NULL) < 0) skip("mounting ext4");
    close(device);
    close(file);
    fixture->frozen_root = open(mounted, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fixture->frozen_root < 0) fail(mounted);
}
