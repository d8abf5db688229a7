/*
 * Tables for people: see ctl_table.h. Cells are gathered, then measured and printed. Called by wvuctl's
 * commands; one thread.
 */
#include "ctl_table.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void ctl_table_begin(struct ctl_table *table, const struct ctl_column *columns, unsigned count,
                     bool color)
{
    *table = (struct ctl_table){.columns = columns, .column_count = count, .color = color};
}

static void add(struct ctl_table *table, const char *color, struct ctl_text text, bool note)
{
    struct ctl_cell cell = {.begin = table->texts.buffer.size, .color = color, .note = note};
    ctl_put_safe(&table->texts, text);
    cell.size = table->texts.buffer.size - cell.begin;
    ctl_put(&table->cells, (const char *)&cell, sizeof cell);
}

void ctl_table_cell(struct ctl_table *table, const char *color, struct ctl_text text)
{
    add(table, color, text, false);
}

void ctl_table_string(struct ctl_table *table, const char *color, const char *string)
{
    add(table, color, ctl_text_of_string(string), false);
}

void ctl_table_number(struct ctl_table *table, const char *color, uint64_t number)
{
    char digits[24];
    (void)snprintf(digits, sizeof digits, "%" PRIu64, number);
    ctl_table_string(table, color, digits);
}

void ctl_table_note(struct ctl_table *table, const char *color, struct ctl_text line)
{
    add(table, color, line, true);
}

/* ---- printing ------------------------------------------------------------------------------------ */

static size_t cell_count(const struct ctl_table *table)
{
    return table->cells.buffer.size / sizeof(struct ctl_cell);
}

static struct ctl_cell cell_at(const struct ctl_table *table, size_t index)
{
    struct ctl_cell cell;
    memcpy(&cell, table->cells.buffer.bytes + index * sizeof cell, sizeof cell);
    return cell;
}

static const char *text_at(const struct ctl_table *table, const struct ctl_cell *cell)
{
    return cell->size != 0 ? table->texts.buffer.bytes + cell->begin : "";
}

static void measure(const struct ctl_table *table, size_t widths[CTL_COLUMNS_MAX])
{
    unsigned column = 0;
    for (unsigned i = 0; i < table->column_count; i++)
        widths[i] = strlen(table->columns[i].title);
    for (size_t i = 0; i < cell_count(table); i++) {
        struct ctl_cell cell = cell_at(table, i);
        if (cell.note)
            continue;
        size_t width = ctl_columns(text_at(table, &cell), cell.size);
        if (width > widths[column])
            widths[column] = width;
        column = (column + 1) % table->column_count;
    }
}

static void put_colored(const struct ctl_table *table, struct ctl_out *out, const char *color,
                        const char *text, size_t size)
{
    bool colored = table->color && color != NULL && size != 0;
    if (colored)
        ctl_put_string(out, color);
    ctl_put(out, text, size);
    if (colored)
        ctl_put_string(out, CTL_RESET);
}

/* Nothing is put behind the last cell of a row. */
static void put_cell(const struct ctl_table *table, struct ctl_out *out, unsigned column,
                     size_t width, const char *color, const char *text, size_t size)
{
    bool last = column + 1 == table->column_count;
    size_t columns = ctl_columns(text, size);
    int room = width > columns ? (int)(width - columns) : 0;
    if (table->columns[column].right)
        ctl_put_format(out, "%*s", room, "");
    put_colored(table, out, color, text, size);
    if (last)
        ctl_put_string(out, "\n");
    else
        ctl_put_format(out, "%*s", 2 + (table->columns[column].right ? 0 : room), "");
}

static bool has_titles(const struct ctl_table *table)
{
    for (unsigned i = 0; i < table->column_count; i++) {
        if (table->columns[i].title[0] != '\0')
            return true;
    }
    return false;
}

static void put_rows(const struct ctl_table *table, struct ctl_out *out,
                     const size_t widths[CTL_COLUMNS_MAX])
{
    unsigned column = 0;
    for (size_t i = 0; i < cell_count(table); i++) {
        struct ctl_cell cell = cell_at(table, i);
        const char *text = text_at(table, &cell);
        if (cell.note) {
            put_colored(table, out, cell.color, text, cell.size);
            ctl_put_string(out, "\n");
            continue;
        }
        put_cell(table, out, column, widths[column], cell.color, text, cell.size);
        column = (column + 1) % table->column_count;
    }
}

void ctl_table_end(struct ctl_table *table, struct ctl_out *out)
{
    size_t widths[CTL_COLUMNS_MAX];
    measure(table, widths);
    for (unsigned i = 0; i < table->column_count && has_titles(table); i++)
        put_cell(table, out, i, widths[i], CTL_BOLD, table->columns[i].title,
                 strlen(table->columns[i].title));
    put_rows(table, out, widths);
    out->failed = out->failed || table->texts.failed || table->cells.failed;
    buffer_free(&table->texts.buffer);
    buffer_free(&table->cells.buffer);
}
