/*
 * Names and texts of statuses. Compiled into the engine and into the client library. Any thread.
 */
#include "winvirtue/status.h"

struct status_row {
    wvu_status status;
    const char *name;
    const char *text;
};

static const struct status_row status_table[] = {
#define WVU_STATUS(name, value, text) {WVU_STATUS_##name, #name, text},
#include "winvirtue/status.def"
};

static const struct status_row *find(wvu_status status)
{
    for (unsigned i = 0; i < sizeof status_table / sizeof status_table[0]; i++) {
        if (status_table[i].status == status)
            return &status_table[i];
    }
    return 0;
}

const char *wvu_strerror(wvu_status status)
{
    const struct status_row *row = find(status);
    return row != 0 ? row->text : "an unknown status";
}

const char *wvu_status_name(wvu_status status)
{
    const struct status_row *row = find(status);
    return row != 0 ? row->name : "UNKNOWN";
}
