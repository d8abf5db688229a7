/*
 * Texts that people give (settings, rules, log levels) taken apart, and texts for people put together.
 *
 * Any thread, no state, no allocation. Input is bytes with a length, never terminated; nothing is assumed
 * about it. Output is cut at the end of its buffer and always terminated.
 */
#ifndef WVU_WORDS_H
#define WVU_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A part of somebody else's text. */
struct wvu_word {
    const char *text;
    size_t length;
};

/* Takes the next word off `rest`: what stands between blanks, tabs, line ends. False: there is none. */
bool wvu_word_next(struct wvu_word *rest, struct wvu_word *word);
/* Takes the next line off `rest`, without its end (LF or CR LF). False: there is none. */
bool wvu_word_line(struct wvu_word *rest, struct wvu_word *line);
/* Splits at the first `separator`. False: it is not there. */
bool wvu_word_split(const struct wvu_word *word, char separator, struct wvu_word *before,
                    struct wvu_word *after);
bool wvu_word_is(const struct wvu_word *word, const char *name); /* ignoring ASCII case */
/* Decimal digits, or hexadecimal ones after 0x; nothing else. False: no number, or above UINT64_MAX. */
bool wvu_word_number(const struct wvu_word *word, uint64_t *number);

/* A text that grows in a buffer of `size` bytes (at least 1). `length` never reaches `size`. */
struct wvu_builder {
    char *text;
    size_t size;
    size_t length;
    bool cut; /* something did not fit */
};

void wvu_build_begin(struct wvu_builder *builder, char *buffer, size_t size);
void wvu_build_text(struct wvu_builder *builder, const char *text);
void wvu_build_word(struct wvu_builder *builder, const struct wvu_word *word);
void wvu_build_number(struct wvu_builder *builder, uint64_t number);
void wvu_build_hex(struct wvu_builder *builder, uint64_t number, unsigned digits); /* with 0x */

/* The same text in UTF-16, at most `capacity` units, not terminated; returns how many. What is not UTF-8
 * becomes U+FFFD; a pair is never split. */
size_t wvu_utf16_from_utf8(const char *text, size_t length, uint16_t *units, size_t capacity);
/* Makes a text fit for people, in place: control characters and what is not UTF-8 become '?'. */
void wvu_utf8_clean(char *text, size_t length);

#endif
