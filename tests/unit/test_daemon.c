/*
 * The small parts of the daemon: rations of log lines, the machine's identity, the service manager, the
 * words about missing rights, reply packets.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <linux/capability.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "identity.h"
#include "notify.h"
#include "ration.h"
#include "reply.h"
#include "rights.h"

/* ---- ration.h ------------------------------------------------------------------------------ */

static void test_ration_tells_the_first_at_once_and_the_rest_as_a_sum(void **state)
{
    (void)state;
    struct wvu_ration ration = {0};
    uint64_t now = 5;
    assert_true(wvu_ration_due(&ration) == UINT64_MAX);
    assert_true(wvu_ration_count(&ration, now));
    assert_true(wvu_ration_due(&ration) == UINT64_MAX); /* nothing more to tell */
    for (int i = 0; i < 100; i++)
        assert_false(wvu_ration_count(&ration, now + 1));
    assert_true(wvu_ration_due(&ration) == now + WVU_RATION_PERIOD_NS);
    assert_int_equal(wvu_ration_sum(&ration, now + WVU_RATION_PERIOD_NS - 1), 0);
    assert_int_equal(wvu_ration_sum(&ration, now + WVU_RATION_PERIOD_NS), 100);
    assert_int_equal(wvu_ration_sum(&ration, now + WVU_RATION_PERIOD_NS), 0);
    /* The sum was a line as well: the next one waits its time, and comes at once after it. */
    now += WVU_RATION_PERIOD_NS;
    assert_false(wvu_ration_count(&ration, now + 1));
    assert_int_equal(wvu_ration_sum(&ration, now + WVU_RATION_PERIOD_NS), 1);
    now += WVU_RATION_PERIOD_NS;
    assert_true(wvu_ration_count(&ration, now + WVU_RATION_PERIOD_NS));
    assert_int_equal(ration.total, 103);
}

/* ---- identity.c ---------------------------------------------------------------------------- */

static void test_identity_texts(void **state)
{
    (void)state;
    static const uint8_t expected[16] = {0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef,
                                         0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54, 0x32, 0x10};
    static const char *const right[] = {
        "0123456789abcdeffedcba9876543210",
        "0123456789ABCDEFFEDCBA9876543210\n",
        "01234567-89ab-cdef-fedc-ba9876543210 \n",
    };
    static const char *const wrong[] = {
        "",
        "\n",
        "uninitialized\n",
        "0123456789abcdeffedcba987654321",
        "0123456789abcdeffedcba98765432100",
        "0123456789abcdeffedcba987654321g",
        "0123456789abcdef fedcba9876543210",
        "00000000000000000000000000000000",
        "00000000-0000-0000-0000-000000000000",
    };
    uint8_t id[16];
    for (size_t i = 0; i < sizeof right / sizeof *right; i++) {
        memset(id, 0, sizeof id);
        assert_true(wvu_identity_parse(right[i], id));
        assert_memory_equal(id, expected, 16);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(wvu_identity_parse(wrong[i], id));
}

static void test_identity_of_this_machine(void **state)
{
    (void)state;
    struct wvu_identity first, second;
    char name[256] = "";
    gethostname(name, sizeof name - 1);
    wvu_identity_read(&first);
    wvu_identity_read(&second);
    assert_memory_equal(first.host_id, second.host_id, 16);
    assert_memory_not_equal(first.host_id, (uint8_t[16]){0}, 16);
    assert_string_equal(first.host_name, name);
    assert_int_equal(strncmp(first.system_version, "Linux ", 6), 0);
}

/* ---- notify.c ------------------------------------------------------------------------------ */

/* Listens where the variable says; returns the socket. */
static int listen_at(const char *name, struct sockaddr_un *address)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(address->sun_path, name, strlen(name));
    if (name[0] == '@')
        address->sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));
    assert_int_equal(bind(fd, (const struct sockaddr *)address, length), 0);
    setenv("NOTIFY_SOCKET", name, 1);
    return fd;
}

static void check_notified(const char *name)
{
    struct sockaddr_un address;
    char text[512] = "";
    int fd = listen_at(name, &address);
    assert_int_equal(wvu_notify("READY=1\nSTATUS=%d probes", 2), WVU_STATUS_OK);
    assert_int_equal(recv(fd, text, sizeof text - 1, 0), 23);
    assert_string_equal(text, "READY=1\nSTATUS=2 probes");
    close(fd);
    if (name[0] == '/')
        unlink(name);
    assert_int_equal(wvu_notify("READY=1"), WVU_STATUS_IO_ERROR); /* nobody listens any more */
}

static void test_notify(void **state)
{
    (void)state;
    char name[64];
    unsetenv("NOTIFY_SOCKET");
    assert_int_equal(wvu_notify("READY=1"), WVU_STATUS_OK);
    snprintf(name, sizeof name, "/tmp/wvu-notify-%ld", (long)getpid());
    check_notified(name);
    snprintf(name, sizeof name, "@wvu-notify-%ld", (long)getpid());
    check_notified(name);
    setenv("NOTIFY_SOCKET", "relative", 1);
    assert_int_equal(wvu_notify("READY=1"), WVU_STATUS_INVALID_PARAMETER);
    setenv("NOTIFY_SOCKET", "/", 1);
    assert_int_equal(wvu_notify("READY=1"), WVU_STATUS_INVALID_PARAMETER);
    char longest[200] = "/";
    memset(longest + 1, 'x', 150);
    setenv("NOTIFY_SOCKET", longest, 1);
    assert_int_equal(wvu_notify("READY=1"), WVU_STATUS_INVALID_PARAMETER);
    unsetenv("NOTIFY_SOCKET");
}

/* ---- rights.c ------------------------------------------------------------------------------ */

#define CAPABILITY(name) (UINT64_C(1) << (name))

static void test_rights(void **state)
{
    (void)state;
    const uint64_t all = CAPABILITY(CAP_BPF) | CAPABILITY(CAP_PERFMON) |
                         CAPABILITY(CAP_SYS_PTRACE) | CAPABILITY(CAP_DAC_READ_SEARCH);
    char text[512];
    wvu_rights_explain_facts(0, 1, 0, text, sizeof text);
    assert_non_null(strstr(text, "missing: CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE, "
                                 "CAP_DAC_READ_SEARCH;"));
    assert_non_null(strstr(text, "sudo"));
    wvu_rights_explain_facts(all & ~CAPABILITY(CAP_PERFMON), 1, 0, text, sizeof text);
    assert_non_null(strstr(text, "missing: CAP_PERFMON;"));
    wvu_rights_explain_facts(CAPABILITY(CAP_SYS_ADMIN), 1, 0, text, sizeof text);
    assert_non_null(strstr(text, "missing: CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH;"));
    wvu_rights_explain_facts(all, 0, 0, text, sizeof text);
    assert_non_null(strstr(text, "user namespace"));
    wvu_rights_explain_facts(all, 1, 1, text, sizeof text);
    assert_non_null(strstr(text, "confidentiality"));
    wvu_rights_explain_facts(all, 1, 0, text, sizeof text);
    assert_non_null(strstr(text, "seccomp"));
    char small[8];
    wvu_rights_explain_facts(0, 1, 0, small, sizeof small);
    assert_string_equal(small, "missing");
}

/* ---- reply.c ------------------------------------------------------------------------------- */

static void test_reply_packets(void **state)
{
    (void)state;
    unsigned char packet[64] = {0};
    const struct wvu_reply_header header = {.status = -7, .message_id = 0x0102030405060708};
    memcpy(packet + 1, &header, sizeof header); /* not aligned */
    struct wvu_reply_packet reply;
    for (size_t length = 0; length <= 40; length++) {
        bool fits = length >= sizeof header && length <= sizeof header + 16;
        memset(&reply, 0, sizeof reply);
        assert_int_equal(wvu_reply_parse(packet + 1, length, 16, &reply),
                         fits ? WVU_STATUS_OK : WVU_STATUS_BAD_MESSAGE);
        assert_int_equal(reply.body_size, fits ? length - sizeof header : 0);
        assert_int_equal(reply.status, fits ? -7 : 0);
        assert_true(reply.message_id == (fits ? header.message_id : 0));
        assert_ptr_equal(reply.body, fits ? packet + 1 + sizeof header : NULL);
    }
    memset(packet, 0, sizeof packet); /* id 0 was never given */
    assert_int_equal(wvu_reply_parse(packet, 32, 16, &reply), WVU_STATUS_BAD_MESSAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ration_tells_the_first_at_once_and_the_rest_as_a_sum),
        cmocka_unit_test(test_identity_texts),
        cmocka_unit_test(test_identity_of_this_machine),
        cmocka_unit_test(test_notify),
        cmocka_unit_test(test_rights),
        cmocka_unit_test(test_reply_packets),
    };
    return cmocka_run_group_tests_name("daemon", tests, NULL, NULL);
}
