/*
 * What ntfltmgr and wvuctl ask of the system they run on, besides stop.h: system_posix.c, system_windows.c. One
 * thread.
 *
 * Paths and arguments are UTF-8 on Windows and bytes elsewhere.
 */
#ifndef NTFLTMGR_SYSTEM_H
#define NTFLTMGR_SYSTEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "winvirtue/winvirtue.h"

#define SYSTEM_OUTPUT 1
#define SYSTEM_ERROR  2

#if defined(__GNUC__) || defined(__clang__)
#define SYSTEM_PRINTF(text, first) __attribute__((format(printf, text, first)))
#else
#define SYSTEM_PRINTF(text, first)
#endif

/* First of all: standard files, arguments, terminal. *output_closed: there is no standard output. False:
 * errno says why. */
bool system_begin(int *argc, char ***argv, bool *output_closed);

enum system_wait { SYSTEM_READY, SYSTEM_OUTPUT_GONE, SYSTEM_FAILED };

/* Waits for any of: something from the sensor (or nothing, for NULL), a request to stop, the other side
 * of `output` gone (where the system tells), `timeout_ms` over (-1: never). FAILED: errno says why. */
enum system_wait system_wait(wvu_client *client, int output, int timeout_ms);

/* Waits until a descriptor that took nothing may take something, or a request to stop. */
void system_wait_writable(int fd);

/* As write(2); EINTR also when a request to stop ended it. */
int64_t system_write(int fd, const char *bytes, size_t size);

/* Opens a file to write to, makes it if need be. -1: errno says why. */
int system_open(const char *path, bool append);
int system_close(int fd); /* as close(2) */

/* Of a regular file; 0 for anything else (a pipe, a terminal). -1: errno says why. */
int64_t system_file_size(int fd);

/* Opens a file to read. NULL: errno says why. */
FILE *system_open_stream(const char *path);

bool system_is_terminal(int fd);
int64_t system_now_ms(void); /* monotonic */

/* The name of the sensor's port ("WVUPort", "WVUCommand"), for messages. */
const char *system_port_name(const char *run_dir, const char *port, char *buffer, size_t size);
/* Why there is no connection, and what to do; NULL: as wvu_strerror says. */
const char *system_connect_advice(int status);

#endif
