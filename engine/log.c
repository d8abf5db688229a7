/*
 * Filter of log lines. The sink is the host's. Any thread, any IRQL up to DISPATCH.
 *
 * For each level a mask of the modules that print; all that is shared are these four words, each changed
 * as one. Whoever sets levels while somebody else does gets some of both.
 */
#include "log.h"

#include "os.h"
#include "words.h"

#define REASON_SIZE 256

/* Until configured: everything but traces, so that nothing said during set-up is missed. */
uint32_t wvu_log_enabled[4] = {
    [WVU_LOG_ERROR] = WVU_LOG_ALL,
    [WVU_LOG_WARNING] = WVU_LOG_ALL,
    [WVU_LOG_TRACE] = 0,
    [WVU_LOG_INFO] = WVU_LOG_ALL,
};

/* By importance; the numbers are those of the DPFLTR levels, where TRACE comes before INFO. */
static const uint32_t order[4] = {WVU_LOG_ERROR, WVU_LOG_WARNING, WVU_LOG_INFO, WVU_LOG_TRACE};
static const char *const level_names[4] = {"error", "warning", "info", "trace"}; /* in that order */

static const struct {
    uint32_t mask;
    const char *name;
} modules_by_name[] = {
#define WVU_LOG_MODULE_NAME(bit, constant, name) {WVU_LOG_##constant, name},
    WVU_LOG_MODULES
#undef WVU_LOG_MODULE_NAME
};
#define MODULE_COUNT (sizeof modules_by_name / sizeof modules_by_name[0])

void wvu_log_configure(uint32_t modules, uint32_t least_level)
{
    uint32_t mask = modules;
    for (unsigned i = 0; i < 4; i++) {
        wvu_store_relaxed(&wvu_log_enabled[order[i]], mask);
        if (order[i] == least_level)
            mask = 0;
    }
    /* Errors are never filtered by module: nobody looks for a mask before the first failure. */
    wvu_store_relaxed(&wvu_log_enabled[WVU_LOG_ERROR], WVU_LOG_ALL);
}

void wvu_log_write(uint32_t module, uint32_t level, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    wvu_os_log(module, level, format, arguments);
    va_end(arguments);
}

/* ---- levels by name ------------------------------------------------------------------------- */

/* What a text asks for: for each level (in the order of importance) the modules that it switches. */
struct wish {
    uint32_t on[4];
    uint32_t touched; /* modules that are named in it */
};

static bool find_module(const struct wvu_word *name, uint32_t *mask)
{
    *mask = WVU_LOG_ALL;
    if (wvu_word_is(name, "all"))
        return true;
    for (size_t i = 0; i < MODULE_COUNT; i++) {
        *mask = modules_by_name[i].mask;
        if (wvu_word_is(name, modules_by_name[i].name))
            return true;
    }
    return false;
}

static bool find_level(const struct wvu_word *name, uint32_t *importance)
{
    for (*importance = 0; *importance < 4; (*importance)++) {
        if (wvu_word_is(name, level_names[*importance]))
            return true;
    }
    return false;
}

static void list(struct wvu_builder *builder, const char *name)
{
    wvu_build_text(builder, " ");
    wvu_build_text(builder, name);
}

static wvu_status refuse(char *reason, const struct wvu_word *word, const char *why, bool modules,
                         bool levels)
{
    struct wvu_builder builder;
    wvu_build_begin(&builder, reason, REASON_SIZE);
    wvu_build_text(&builder, "'");
    /* So that what may stand there is not pushed out of the reason. */
    wvu_build_word(&builder, &(struct wvu_word){word->text, word->length < 64 ? word->length : 64});
    wvu_build_text(&builder, "' ");
    wvu_build_text(&builder, why);
    for (size_t i = 0; modules && i < MODULE_COUNT; i++)
        list(&builder, modules_by_name[i].name);
    for (size_t i = 0; levels && i < 4; i++)
        list(&builder, level_names[i]);
    return WVU_STATUS_INVALID_PARAMETER;
}

static wvu_status read_level(const struct wvu_word *word, struct wish *wish, char *reason)
{
    struct wvu_word module, level;
    uint32_t mask, importance;
    if (!wvu_word_split(word, '=', &module, &level))
        return refuse(reason, word, "is not of the form MODULE=LEVEL", false, false);
    if (!find_module(&module, &mask))
        return refuse(reason, &module, "is no module; there are: all", true, false);
    if (!find_level(&level, &importance))
        return refuse(reason, &level, "is no level; there are:", false, true);
    wish->touched |= mask;
    for (uint32_t i = 0; i < 4; i++)
        wish->on[i] = i <= importance ? wish->on[i] | mask : wish->on[i] & ~mask;
    return WVU_STATUS_OK;
}

static void take(const struct wish *wish)
{
    for (uint32_t i = 1; i < 4; i++) { /* not of errors: they always print */
        uint32_t *enabled = &wvu_log_enabled[order[i]];
        uint32_t before;
        do {
            before = wvu_load_relaxed(enabled);
        } while (
            !wvu_compare_exchange_full(enabled, before, (before & ~wish->touched) | wish->on[i]));
    }
}

wvu_status wvu_log_set(const char *text, size_t length, char *reason)
{
    struct wvu_word rest = {text, length}, word;
    struct wish wish = {{0}, 0};
    wvu_status status = WVU_STATUS_OK;
    reason[0] = '\0';
    while (status == WVU_STATUS_OK && wvu_word_next(&rest, &word))
        status = read_level(&word, &wish, reason);
    if (status != WVU_STATUS_OK)
        return status;
    if (wish.touched == 0) {
        struct wvu_builder builder;
        wvu_build_begin(&builder, reason, REASON_SIZE);
        wvu_build_text(&builder, "nothing is set: give MODULE=LEVEL");
        return WVU_STATUS_INVALID_PARAMETER;
    }
    take(&wish);
    return WVU_STATUS_OK;
}

size_t wvu_log_describe(char *text, size_t size)
{
    struct wvu_builder builder;
    wvu_build_begin(&builder, text, size);
    for (size_t i = 0; i < MODULE_COUNT; i++) {
        uint32_t importance = 0;
        for (uint32_t j = 1; j < 4; j++) {
            if ((wvu_load_relaxed(&wvu_log_enabled[order[j]]) & modules_by_name[i].mask) != 0)
                importance = j;
        }
        wvu_build_text(&builder, i != 0 ? "\n" : "");
        wvu_build_text(&builder, modules_by_name[i].name);
        wvu_build_text(&builder, "=");
        wvu_build_text(&builder, level_names[importance]);
    }
    return builder.length;
}
