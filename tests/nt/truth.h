/*
 * Ground truth: processes and images whose story is written before it happens, so that every record can
 * be held against it.
 */
#ifndef NT_TRUTH_H
#define NT_TRUTH_H

#include "nt.h"
#include "reader.h"

/* What is special about a process. */
enum nt_story {
    NT_PLAIN,
    NT_NO_COMMAND_LINE, /* NULL */
    NT_NO_IMAGE_NAME,   /* NULL */
    NT_NO_TEXTS,        /* both NULL, and no file object: a process of another subsystem */
    NT_EMPTY_TEXTS,     /* strings of length 0 */
    NT_NULL_BUFFERS,    /* strings without a buffer */
    NT_LONGEST,         /* 65,534 bytes of command line */
    NT_TWO_LONGEST,     /* both texts as long as can be */
    NT_SURROGATES,      /* halves of surrogate pairs, and zero units */
    NT_ODD_LENGTH,      /* half a unit at the end */
    NT_NO_USER,         /* the token gives none away */
    NT_UNKNOWN_PARENT,  /* of whom nothing is known any more */
    NT_OTHER_CREATOR,   /* created by another than the parent */
    NT_REFUSED,         /* another driver has refused it: CreationStatus is an error */
    NT_STORIES
};

struct nt_truth;
struct nt_truth *nt_truth_new(void);
void nt_truth_free(struct nt_truth *truth);

/* Any thread. A process that exists and was not announced. */
struct nt_actor;
struct nt_actor *nt_truth_cast(struct nt_truth *truth, enum nt_story story);
void nt_actor_start(struct nt_actor *actor);
void nt_actor_exit(struct nt_actor *actor);
/* `number` from 0, each once. */
void nt_actor_load_image(struct nt_actor *actor, uint32_t number);
void nt_truth_load_driver(struct nt_truth *truth); /* a kernel image */
struct nt_process *nt_actor_process(struct nt_actor *actor);

/* For a stream: holds each record against the truth. */
void nt_truth_on_record(void *truth, const struct wvu_record *record);
/* All that happened was told, but for what the stream says was lost. */
void nt_truth_check(struct nt_truth *truth, const struct nt_stream *stream);
/* Reads until all of it was told, and checks. */
void nt_truth_read(struct nt_truth *truth, struct nt_reader *reader);
/* Events that happened so far. */
uint64_t nt_truth_events(const struct nt_truth *truth);

#endif
