// SPDX-License-Identifier: GPL-2.0
/*
 * init of the guest: it mounts the file systems that the tests use, runs the suites that
 * hmm.suites= on the kernel command line names, and reports on two virtio-serial
 * ports, because any process can print any text on a console:
 *
 * hmm.results	the output of the suites (KTAP), between lines that begin with "@":
 *		"@suite NAME", "@end NAME STATUS SECONDS", "@kmemleak TEXT",
 *		"@tainted BITS", "@done". init inserts a space before a line of a
 *		suite that begins with "@".
 * hmm.verdict	the word "success", if every suite ended with status 0 and the kernel
 *		has reported no problem
 *
 * With hmm.shell there is a shell on the console instead.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* G(PROPRIETARY) and T(EST) are no problem; B(ad page), D(ie), W(arn) and L(ockup) are. */
#define TAINT_COMPLAINTS (1UL << 5 | 1UL << 7 | 1UL << 9 | 1UL << 14)

static int results = -1;

static void __attribute__((noreturn)) power_off(void)
{
	sync();
	reboot(RB_POWER_OFF);
	for (;;)
		pause();
}

static void __attribute__((noreturn)) give_up(const char *what)
{
	fprintf(stderr, "init: %s: %s\n", what, strerror(errno));
	power_off();
}

static void mount_at(const char *type, const char *where, const char *from)
{
	mkdir(where, 0755);
	if (mount(from, where, type, 0, NULL))
		give_up(where);
}

static void mount_all(void)
{
	mount_at("devtmpfs", "/dev", "devtmpfs");
	mount_at("proc", "/proc", "proc");
	mount_at("sysfs", "/sys", "sysfs");
	mount_at("tmpfs", "/tmp", "tmpfs");
	mount_at("debugfs", "/sys/kernel/debug", "debugfs");
	mount_at("cgroup2", "/sys/fs/cgroup", "cgroup2");
	/* scripts/boot provides this disk; other ways to boot may not. */
	if (!access("/dev/vda", F_OK))
		mount_at("ext4", "/scratch", "/dev/vda");
}

static void use_console(void)
{
	int fd = open("/dev/console", O_RDWR);

	if (fd < 0)
		give_up("/dev/console");
	dup2(fd, 0);
	dup2(fd, 1);
	dup2(fd, 2);
	if (fd > 2)
		close(fd);
	setvbuf(stdout, NULL, _IOLBF, 0);
}

static bool read_file(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY);
	ssize_t n;

	if (fd < 0)
		return false;
	n = read(fd, buf, size - 1);
	close(fd);
	if (n < 0)
		return false;
	buf[n] = '\0';
	buf[strcspn(buf, "\n")] = '\0';
	return true;
}

/* The port with this name, or -1, because a guest can boot without it */
static int open_port(const char *name)
{
	static const char ports[] = "/sys/class/virtio-ports";
	char path[512], text[64];
	struct dirent *entry;
	int fd = -1;
	DIR *dir = opendir(ports);

	while (dir && fd < 0 && (entry = readdir(dir))) {
		snprintf(path, sizeof(path), "%s/%s/name", ports, entry->d_name);
		if (!read_file(path, text, sizeof(text)) || strcmp(text, name))
			continue;
		snprintf(path, sizeof(path), "/dev/%s", entry->d_name);
		fd = open(path, O_WRONLY | O_CLOEXEC);
	}
	if (dir)
		closedir(dir);
	return fd;
}

static void put(int fd, const char *text, size_t left)
{
	while (left) {
		ssize_t n = write(fd, text, left);

		if (n < 0 && errno != EINTR)
			return;
		if (n > 0) {
			text += n;
			left -= n;
		}
	}
}

static void __attribute__((format(printf, 1, 2))) report(const char *fmt, ...)
{
	char line[1024];
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	if (n >= (int)sizeof(line))
		n = sizeof(line) - 1;
	put(results, line, n);
}

static const char *option(const char *name)
{
	static char cmdline[4096];
	char *word, *rest = cmdline;

	if (!read_file("/proc/cmdline", cmdline, sizeof(cmdline)))
		give_up("/proc/cmdline");
	while ((word = strsep(&rest, " ")))
		if (!strncmp(word, name, strlen(name)))
			return word + strlen(name);
	return NULL;
}

/* Only init may write marks. @last is the character before @text. */
static void put_unmarked(char last, const char *text, size_t left)
{
	while (left) {
		const char *newline = memchr(text, '\n', left);
		size_t n = newline ? (size_t)(newline - text) + 1 : left;

		if (last == '\n' && *text == '@')
			put(results, " ", 1);
		put(results, text, n);
		last = text[n - 1];
		text += n;
		left -= n;
	}
}

/* The output of the suite goes to the results and to the console. */
static int run_suite(const char *name)
{
	char path[256], buf[4096], last = '\n';
	time_t begin = time(NULL);
	int fds[2], status;
	ssize_t n;
	pid_t pid;

	snprintf(path, sizeof(path), "/suites/%s.sh", name);
	report("@suite %s\n", name);
	if (pipe(fds))
		give_up("pipe");
	pid = fork();
	if (pid < 0)
		give_up("fork");
	if (!pid) {
		setsid();
		dup2(fds[1], 1);
		close(fds[0]);
		close(fds[1]);
		execl(path, path, NULL);
		fprintf(stderr, "init: %s: %s\n", path, strerror(errno));
		_exit(127);
	}
	close(fds[1]);
	while ((n = read(fds[0], buf, sizeof(buf))) > 0) {
		put_unmarked(last, buf, n);
		put(1, buf, n);
		last = buf[n - 1];
	}
	close(fds[0]);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			give_up("waitpid");
	status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	/* A suite that ends in the middle of a line must not hide the next mark. */
	if (last != '\n')
		report("\n");
	report("@end %s %d %ld\n", name, status, (long)(time(NULL) - begin));
	return status;
}

static bool write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	bool done;

	if (fd < 0)
		return false;
	done = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	close(fd);
	return done;
}

/* kmemleak reports an object as leaked when two consecutive scans find no pointer to it. */
static bool leaks(void)
{
	static const char path[] = "/sys/kernel/debug/kmemleak";
	bool found = false;
	char line[512];
	FILE *file;

	if (access(path, F_OK))
		return false;
	sleep(6);	/* kmemleak ignores objects that are younger than five seconds */
	for (int scans = 0; scans < 2; scans++)
		if (!write_file(path, "scan"))
			give_up(path);
	file = fopen(path, "r");
	if (!file)
		give_up(path);
	while (fgets(line, sizeof(line), file)) {
		found = true;
		report("@kmemleak %s", line);
		fputs(line, stderr);
	}
	fclose(file);
	return found;
}

static bool tainted(void)
{
	unsigned long taint;
	char text[32];

	if (!read_file("/proc/sys/kernel/tainted", text, sizeof(text)))
		give_up("/proc/sys/kernel/tainted");
	taint = strtoul(text, NULL, 10);
	report("@tainted %lu\n", taint);
	return taint & TAINT_COMPLAINTS;
}

static void shell(void)
{
	pid_t pid;

	puts("\nThe suites are /suites/*.sh, the modules /lib/modules/*.ko. 'exit' powers off.");
	pid = fork();
	if (pid < 0)
		give_up("fork");
	if (!pid) {
		/* cttyhack makes the console the controlling terminal, for job control. */
		setsid();
		execl("/bin/cttyhack", "cttyhack", "/bin/sh", "-l", NULL);
		give_up("/bin/cttyhack");
	}
	while (waitpid(pid, NULL, 0) != pid)
		;
}

int main(void)
{
	const char *list;
	bool good = true;
	char *suites, *name;
	int verdict;

	use_console();
	mount_all();
	setenv("PATH", "/bin", 1);
	setenv("HOME", "/tmp", 1);

	if (option("hmm.shell")) {
		shell();
		power_off();
	}
	list = option("hmm.suites=");
	if (!list) {
		fputs("init: nothing to do: neither hmm.suites= nor hmm.shell\n", stderr);
		power_off();
	}
	results = open_port("hmm.results");
	verdict = open_port("hmm.verdict");

	suites = strdup(list);
	while ((name = strsep(&suites, ",")))
		if (run_suite(name))
			good = false;
	if (leaks())
		good = false;
	if (tainted())
		good = false;
	report("@done\n");
	if (good)
		put(verdict, "success\n", 8);
	power_off();
}
