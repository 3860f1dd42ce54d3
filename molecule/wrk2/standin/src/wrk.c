// A stand-in for wrk2: its options, its Lua script, real requests over one connection, its output.
#include <arpa/inet.h>
#include <getopt.h>
#include <math.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <openssl/ssl.h>

#include "variant.h"

static const struct luaL_reg none[] = {{NULL, NULL}};

static const struct option options[] = {
    {"threads", required_argument, NULL, 't'},     {"connections", required_argument, NULL, 'c'},
    {"duration", required_argument, NULL, 'd'},    {"rate", required_argument, NULL, 'R'},
    {"timeout", required_argument, NULL, 'T'},     {"script", required_argument, NULL, 's'},
    {"latency", no_argument, NULL, 'L'},           {"u_latency", no_argument, NULL, 'U'},
    {NULL, 0, NULL, 0},
};

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *) a, y = *(const double *) b;
    return (x > y) - (x < y);
}

static double mean(const double *ms, int n) {
    double sum = 0;
    for (int i = 0; i < n; i++) sum += ms[i];
    return sum / n;
}

static double deviation(const double *ms, int n) {
    double m = mean(ms, n), sum = 0;
    for (int i = 0; i < n; i++) sum += (ms[i] - m) * (ms[i] - m);
    return sqrt(sum / n);
}

// One step of the spectrum for each sample.
static void block(const char *kind, double *ms, int n) {
    const double levels[] = {50, 75, 90, 99, 99.9, 99.99, 99.999, 100};
    qsort(ms, n, sizeof *ms, ascending);
    printf("  Latency Distribution (HdrHistogram - %s)\n", kind);
    for (int i = 0; i < 8; i++) {
        int rank = (int) (levels[i] / 100 * n + 0.5);
        printf("%7.3f%% %8.2fms\n", levels[i], ms[rank < 1 ? 0 : rank - 1]);
    }
#ifndef WITHOUT_SPECTRUM
    printf("\n  Detailed Percentile spectrum:\n");
    printf("       Value   Percentile   TotalCount 1/(1-Percentile)\n\n");
    for (int i = 1; i < n; i++)
        printf("%12.3f %12.6f %12d %12.2f\n", ms[i - 1], (i - 1.0) / n, i, n / (n - i + 1.0));
    printf("%12.3f %12.6f %12d          inf\n", ms[n - 1], 1.0, n);
#endif
    printf("#[Mean    = %12.3f, StdDeviation   = %12.3f]\n", mean(ms, n), deviation(ms, n));
    printf("#[Max     = %12.3f, Total count    = %12d]\n", ms[n - 1], n);
    printf("#[Buckets =           27, SubBuckets     =         2048]\n");
    printf("----------------------------------------------------------\n");
}

static int dial(const char *host, const char *port) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    if (getaddrinfo(host, port, &hints, &found)) return -1;
    int fd = socket(found->ai_family, found->ai_socktype, 0);
    if (connect(fd, found->ai_addr, found->ai_addrlen)) fd = -1;
    freeaddrinfo(found);
    return fd;
}

// Reads one answer; it needs a Content-Length. Returns the status, 0 when there is none.
static int answer(int fd) {
    char text[65536];
    size_t have = 0;
    for (;;) {
        ssize_t n = read(fd, text + have, sizeof text - 1 - have);
        if (n <= 0) return 0;
        text[have += n] = 0;
        char *body = strstr(text, "\r\n\r\n");
        if (!body) continue;
        size_t length = 0;
        for (char *line = text; line < body; line = strstr(line, "\r\n") + 2)
            if (!strncasecmp(line, "Content-Length:", 15)) length = strtoul(line + 15, NULL, 10);
        if (have >= (size_t) (body + 4 - text) + length) return atoi(text + 9);
    }
}

int main(int argc, char **argv) {
    int threads = 2, connections = 10, seconds = 10, rate = 0, option, errors = 0;
    const char *script = NULL;
    while ((option = getopt_long(argc, argv, "t:c:d:s:H:T:R:LU", options, NULL)) != -1) {
        if (option == 't') threads = atoi(optarg);
        if (option == 'c') connections = atoi(optarg);
        if (option == 'd') seconds = atoi(optarg);
        if (option == 'R') rate = atoi(optarg);
        if (option == 's') script = optarg;
        if (option == '?') return 1;
    }
    char host[256], port[16];
    if (!rate || optind == argc || sscanf(argv[optind], "http://%255[^:]:%15[0-9]", host, port) != 2) return 1;

    lua_State *L = luaL_newstate();
    luaL_openlibs(L);
    luaL_newmetatable(L, "wrk.none");
    luaL_register(L, NULL, none);
    if (luaL_dostring(L, "wrk = require 'wrk'") || (script && luaL_dofile(L, script)) ||
        luaL_dostring(L, "wrk.start()")) {
        fprintf(stderr, "%s\n", lua_tostring(L, -1));
        return 1;
    }
    int fd = dial(host, port), n = 0, most = rate * seconds;
    if (fd < 0) {
        fprintf(stderr, "unable to connect to %s:%s\n", host, port);
        return 1;
    }
    double *corrected = calloc(most, sizeof *corrected), *uncorrected = calloc(most, sizeof *uncorrected);
    printf("Running %ds test @ %s\n  %d threads and %d connections\n", seconds, argv[optind], threads, connections);
    double start = now();
    for (int i = 0; i < most; i++) {
        double due = start + (double) i / rate, wait = due - now();
        if (wait > 0) {
            struct timespec pause = {(time_t) wait, (long) ((wait - (time_t) wait) * 1e9)};
            nanosleep(&pause, NULL);
        }
        lua_getglobal(L, "request");
        lua_call(L, 0, 1);
        size_t length;
        const char *text = lua_tolstring(L, -1, &length);
        double sent = now();
        int status = write(fd, text, length) == (ssize_t) length ? answer(fd) : 0;
        lua_pop(L, 1);
        if (!status) return 1;
        if (status > 399) errors++;
        corrected[n] = (now() - due) * 1e3;
        uncorrected[n++] = (now() - sent) * 1e3;
    }
    double took = now() - start;
    printf("  Thread Stats   Avg      Stdev     Max   +/- Stdev\n");
    qsort(corrected, n, sizeof *corrected, ascending);
    printf("    Latency  %8.2fms %8.2fms %8.2fms   70.00%%\n", mean(corrected, n), deviation(corrected, n),
           corrected[n - 1]);
    printf("    Req/Sec      -nan      -nan   0.00      0.00%%\n");
    block("Recorded Latency", corrected, n);
    printf("\n");
    block("Uncorrected Latency (measured without taking delayed starts into account)", uncorrected, n);
    printf("  %d requests in %.2fs, 1.00KB read\n", n, took);
    if (errors) printf("  Non-2xx or 3xx responses: %d\n", errors);
    printf("Requests/sec: %9.2f\nTransfer/sec:      1.00KB\n", n / took);
    return SSL_library_init() != 1;
}
