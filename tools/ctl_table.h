/*
 * Tables for people: columns as wide as what is in them, two blanks apart. Numbers stand on the right.
 */
#ifndef WVUCTL_CTL_TABLE_H
#define WVUCTL_CTL_TABLE_H

#include "ctl_out.h"

#define CTL_COLUMNS_MAX 12u

#define CTL_GREEN  "\x1b[32m"
#define CTL_RED    "\x1b[1;31m"
#define CTL_YELLOW "\x1b[33m"
#define CTL_BOLD   "\x1b[1m"
#define CTL_DIM    "\x1b[2m"
#define CTL_RESET  "\x1b[0m"

struct ctl_column {
    const char *title;
    bool right;
};

struct ctl_cell {
    size_t begin; /* in `texts` */
    size_t size;
    const char *color; /* NULL: none */
    bool note;         /* a line of its own */
};

struct ctl_table {
    const struct ctl_column *columns;
    unsigned column_count;
    bool color;
    struct ctl_out texts;
    struct ctl_out cells; /* array of struct ctl_cell */
};

void ctl_table_begin(struct ctl_table *table, const struct ctl_column *columns, unsigned count,
                     bool color);
/* The next cell of the row, or the first of the next row. `color` may be NULL. */
void ctl_table_cell(struct ctl_table *table, const char *color, struct ctl_text text);
void ctl_table_string(struct ctl_table *table, const char *color, const char *string);
void ctl_table_number(struct ctl_table *table, const char *color, uint64_t number);
/* A line between two rows, as it is given. */
void ctl_table_note(struct ctl_table *table, const char *color, struct ctl_text line);
/* Prints it, titles first unless they are all empty, and frees it. */
void ctl_table_end(struct ctl_table *table, struct ctl_out *out);

#endif
