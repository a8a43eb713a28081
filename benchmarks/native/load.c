/* The load that wrk cannot make: a connection for each request, large bodies, and a fixed rate.
 *
 *     load --port N --head FILE [--connections N] [--duration SECONDS] [--body BYTES] [--length BYTES] [--fresh] [--rate N]
 *          [--count] [--spin]
 *
 * FILE holds one complete request head; --body bytes follow it. Every response must have status 200 and a body of
 * exactly --length bytes by its Content-Length; anything else is counted under `errors` and its connection replaced.
 *
 * Without --rate the loop is closed: each connection sends its next request when the last is answered. With --rate it
 * is open: request i is due at start + i/rate, whatever became of the ones before it, and its latency is counted from
 * that moment, so that a stall of the server shows in every request it delayed (no coordinated omission). A request
 * that is due while all connections are busy waits for one, and the waiting counts. The schedule ticks every 100 us: at
 * 20,000/s two requests are due at each tick. A timer interrupt for each request would cost this core more than the
 * request does.
 *
 * With --fresh every request has its own connection; its latency starts before connect(), and the server must close it
 * after the response (the head says Connection: close). Connections come from 127.0.0.1 to 127.0.0.32, so that ports in
 * TIME_WAIT do not run out.
 *
 * With --count the sixteen zeros that stand somewhere in the head are a number in hexadecimal digits, another one in each
 * request: no request has the bytes of one before.
 *
 * With --spin it never sleeps, so that nobody who sends to it has to wake it up.
 *
 * One line of JSON on stdout: counts, seconds, bytes, latency percentiles in microseconds (of every sample, sorted; no
 * buckets), and the processor time of this process.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

enum { HEAD_LIMIT = 8192, READ_SIZE = 1 << 18, EVENTS = 256, SOURCES = 32 };
static const int64_t SECOND = 1000000000, GRACE = 2000000000, TICK = 100000;

enum state { CLOSED, IDLE, SENDING, HEAD, BODY, ENDING };

struct connection {
    int fd;
    enum state state;
    int writing;            /* EPOLLOUT is armed */
    int64_t due;            /* when this request should have left, nanoseconds */
    size_t sent;
    size_t held;            /* response head so far */
    uint64_t left;          /* response body still to come */
    struct connection *next_idle;
    char head[HEAD_LIMIT];
};

static struct {
    int port, connections, fresh, count, spin;
    double duration, rate;
    uint64_t body, length;
} want = {.connections = 32, .duration = 1, .length = 110};

static char request_head[HEAD_LIMIT], scratch[READ_SIZE], *request, *counter;
static size_t request_size;
static int poller;
static struct connection *connections, *idle;
static int64_t started, deadline;
static uint64_t scheduled, backlog;     /* open loop: requests that came due; those of them that wait for a connection */
static uint64_t completed, bytes_in, bytes_out, opened;
static uint64_t bad_status, bad_length, bad_framing, failed_connect, cut_short, surplus, unanswered;
static uint32_t *samples;
static size_t sample_room;

static int64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * SECOND + time.tv_nsec;
}

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static int64_t due_time(uint64_t number)
{
    int64_t after = (int64_t)((double)number * 1e9 / want.rate);
    return started + (after + TICK - 1) / TICK * TICK;
}

static void record(int64_t latency)
{
    if (completed == sample_room) {
        sample_room = sample_room ? sample_room * 2 : 1 << 16;
        samples = realloc(samples, sample_room * sizeof *samples);
        if (samples == NULL)
            fail("load");
    }
    int64_t tenths = latency / 100;     /* a tenth of a microsecond; 32 bits hold seven minutes */
    samples[completed++] = tenths > UINT32_MAX ? UINT32_MAX : (uint32_t)tenths;
}

static void arm(struct connection *connection, int writing, int operation)
{
    struct epoll_event event = {.events = EPOLLIN | (writing ? EPOLLOUT : 0), .data.ptr = connection};
    epoll_ctl(poller, operation, connection->fd, &event);
    connection->writing = writing;
}

static int begin_connect(struct connection *connection)
{
    int on = 1;
    struct sockaddr_in target = {.sin_family = AF_INET, .sin_port = htons((uint16_t)want.port),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (connection->fd < 0)
        fail("socket");
    setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (want.fresh) {
        struct sockaddr_in source = {.sin_family = AF_INET,
                                     .sin_addr.s_addr = htonl(INADDR_LOOPBACK + (uint32_t)(opened % SOURCES))};
        setsockopt(connection->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
        if (bind(connection->fd, (struct sockaddr *)&source, sizeof source) != 0)
            fail("bind");
    }
    opened++;
    if (connect(connection->fd, (struct sockaddr *)&target, sizeof target) != 0 && errno != EINPROGRESS) {
        failed_connect++;
        close(connection->fd);
        connection->state = CLOSED;
        return -1;
    }
    arm(connection, 1, EPOLL_CTL_ADD);
    return 0;
}

static void hang_up(struct connection *connection)
{
    if (connection->state != CLOSED)
        close(connection->fd);
    connection->state = CLOSED;
}

/* The number of the next request, where it is sent; a head goes out in one piece, so no other one has it. */
static void count_request(void)
{
    static uint64_t number;
    uint64_t rest = ++number;
    for (int place = 15; place >= 0; place--, rest >>= 4)
        counter[place] = "0123456789abcdef"[rest & 15];
}

/* Push the request out. 0 = go on, -1 = the connection is gone. */
static int send_request(struct connection *connection)
{
    if (counter != NULL && connection->sent == 0)
        count_request();
    while (connection->sent < request_size) {
        ssize_t sent = send(connection->fd, request + connection->sent, request_size - connection->sent, MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno == EINTR)
                continue;
            if (errno == EAGAIN || errno == ENOTCONN) {
                if (!connection->writing)
                    arm(connection, 1, EPOLL_CTL_MOD);
                return 0;
            }
            return -1;
        }
        connection->sent += (size_t)sent;
        bytes_out += (uint64_t)sent;
    }
    if (connection->writing)
        arm(connection, 0, EPOLL_CTL_MOD);
    return 0;
}

static void start_request(struct connection *connection, int64_t due)
{
    connection->due = due;
    connection->sent = connection->held = 0;
    if (connection->state == CLOSED) {
        if (begin_connect(connection) == 0)
            connection->state = SENDING;    /* the request leaves when the connection is writable */
        return;
    }
    connection->state = SENDING;
    if (send_request(connection) != 0) {
        cut_short++;
        hang_up(connection);
    }
}

/* A connection can take its next request: at once in the closed loop, in order of the schedule in the open one. */
static void next_request(struct connection *connection)
{
    int64_t time = now();
    if (want.rate == 0) {
        if (time < deadline)
            start_request(connection, time);
        else
            connection->state = connection->state == CLOSED ? CLOSED : IDLE;
        return;
    }
    if (backlog > 0) {
        start_request(connection, due_time(scheduled - backlog--));
        return;
    }
    if (connection->state != CLOSED)
        connection->state = IDLE;
    connection->next_idle = idle;
    idle = connection;
}

static void complete(struct connection *connection)
{
    record(now() - connection->due);
    if (want.fresh) {
        connection->state = ENDING;         /* until the server closes */
        return;
    }
    next_request(connection);
}

static void give_up(struct connection *connection, uint64_t *counter)
{
    (*counter)++;
    hang_up(connection);
    next_request(connection);
}

/* 0 = fine so far; otherwise the error's counter. */
static uint64_t *read_head(struct connection *connection, const char *end)
{
    const char *line = memchr(connection->head, '\n', (size_t)(end - connection->head)), *length = NULL;
    if (end - connection->head < 16 || memcmp(connection->head, "HTTP/1.", 7) != 0)
        return &bad_framing;
    if (memcmp(connection->head + 8, " 200", 4) != 0)
        return &bad_status;
    while (line != NULL && line + 16 < end) {
        if (strncasecmp(line + 1, "content-length:", 15) == 0)
            length = line + 16;
        line = memchr(line + 1, '\n', (size_t)(end - line - 1));
    }
    if (length == NULL)
        return &bad_framing;
    connection->left = strtoull(length, NULL, 10);
    return connection->left == want.length ? NULL : &bad_length;
}

/* Returns 0 when the connection may be read again, 1 when it has been replaced or is done. */
static int take(struct connection *connection, const char *data, size_t size)
{
    bytes_in += size;
    if (connection->state == HEAD || connection->state == SENDING) {
        size_t room = HEAD_LIMIT - 1 - connection->held, part = size < room ? size : room, before = connection->held;
        memcpy(connection->head + before, data, part);
        connection->held += part;
        connection->head[connection->held] = 0;
        const char *end = memmem(connection->head, connection->held, "\r\n\r\n", 4);
        if (end == NULL) {
            if (connection->held == HEAD_LIMIT - 1) {
                give_up(connection, &bad_framing);
                return 1;
            }
            return 0;
        }
        uint64_t *error = read_head(connection, end + 2);
        if (error != NULL) {
            give_up(connection, error);
            return 1;
        }
        size_t used = (size_t)(end + 4 - connection->head) - before;
        data += used;
        size -= used;
        connection->state = BODY;
    }
    if (connection->state != BODY || size > connection->left) {
        give_up(connection, &surplus);
        return 1;
    }
    connection->left -= size;
    if (connection->left == 0) {
        if (connection->sent < request_size) {      /* an answer before the whole body was taken */
            give_up(connection, &cut_short);
            return 1;
        }
        complete(connection);
        return !want.fresh;
    }
    return 0;
}

static void serve(struct connection *connection, uint32_t events)
{
    if (connection->state == CLOSED)
        return;
    if (connection->state == SENDING && (events & (EPOLLOUT | EPOLLERR))) {
        int error = 0;
        socklen_t size = sizeof error;
        getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error != 0) {
            give_up(connection, connection->sent == 0 ? &failed_connect : &cut_short);
            return;
        }
        if (send_request(connection) != 0) {
            give_up(connection, &cut_short);
            return;
        }
    }
    if (connection->state == SENDING && connection->sent == request_size)
        connection->state = HEAD;
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
        return;
    ssize_t got = recv(connection->fd, scratch, sizeof scratch, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got > 0) {
        take(connection, scratch, (size_t)got);
    } else if (connection->state == ENDING && got == 0) {
        hang_up(connection);
        next_request(connection);
    } else if (connection->state == IDLE) {
        hang_up(connection);        /* a keep-alive connection that the server closed: opened again when needed */
    } else {
        give_up(connection, &cut_short);
    }
}

static void release_due(void)
{
    int64_t time = now();
    while (due_time(scheduled) <= time && due_time(scheduled) < deadline) {
        int64_t due = due_time(scheduled++);
        if (idle == NULL) {
            backlog++;
            continue;
        }
        struct connection *connection = idle;
        idle = connection->next_idle;
        start_request(connection, due);
    }
}

static int compare(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

static double percentile(double share)
{
    if (completed == 0)
        return 0;
    size_t rank = (size_t)(share * (double)completed);
    return samples[rank < completed ? rank : completed - 1] / 10.0;
}

static int busy(void)
{
    for (int i = 0; i < want.connections; i++)
        if (connections[i].state >= SENDING)
            return 1;
    return 0;
}

static void run(void)
{
    struct epoll_event ready[EVENTS];
    int timer = -1;
    uint64_t ticks;
    for (int i = 0; i < want.connections; i++)
        next_request(&connections[i]);
    if (want.rate > 0) {
        timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
        epoll_ctl(poller, EPOLL_CTL_ADD, timer, &event);
        struct itimerspec at = {.it_value = {.tv_sec = started / SECOND, .tv_nsec = started % SECOND},
                                .it_interval = {.tv_nsec = TICK}};
        timerfd_settime(timer, TFD_TIMER_ABSTIME, &at, NULL);
    }
    for (;;) {
        int64_t time = now();
        if (time >= deadline && ((!busy() && backlog == 0) || time >= deadline + GRACE))
            break;
        int count = epoll_wait(poller, ready, EVENTS, want.spin ? 0 : 100);
        for (int i = 0; i < count; i++) {
            if (ready[i].data.ptr != NULL)
                serve(ready[i].data.ptr, ready[i].events);
            else
                (void)!read(timer, &ticks, sizeof ticks);
        }
        if (want.rate > 0)
            release_due();
    }
    for (int i = 0; i < want.connections; i++)
        unanswered += connections[i].state >= SENDING;
    unanswered += backlog;
}

static void read_request(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        fail(path);
    size_t size = fread(request_head, 1, sizeof request_head, file);
    fclose(file);
    request_size = size + want.body;
    request = malloc(request_size);
    if (request == NULL)
        fail("load");
    memcpy(request, request_head, size);
    memset(request + size, 'u', want.body);
    if (want.count && (counter = memmem(request, size, "0000000000000000", 16)) == NULL)
        fail("load: --count needs sixteen zeros in the head");
}

static void report(double seconds)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    qsort(samples, completed, sizeof *samples, compare);
    double sum = 0;
    for (size_t i = 0; i < completed; i++)
        sum += samples[i] / 10.0;
    printf("{\"requests\": %llu, \"seconds\": %.6f, \"bytes_in\": %llu, \"bytes_out\": %llu, \"connections_opened\": %llu, ",
           (unsigned long long)completed, seconds, (unsigned long long)bytes_in, (unsigned long long)bytes_out,
           (unsigned long long)opened);
    printf("\"errors\": {\"status\": %llu, \"length\": %llu, \"framing\": %llu, \"connect\": %llu, \"cut\": %llu, "
           "\"surplus\": %llu, \"unanswered\": %llu}, ",
           (unsigned long long)bad_status, (unsigned long long)bad_length, (unsigned long long)bad_framing,
           (unsigned long long)failed_connect, (unsigned long long)cut_short, (unsigned long long)surplus,
           (unsigned long long)unanswered);
    printf("\"latency_us\": {\"mean\": %.1f, \"p50\": %.1f, \"p90\": %.1f, \"p99\": %.1f, \"p999\": %.1f, \"max\": %.1f}, ",
           completed ? sum / (double)completed : 0, percentile(0.5), percentile(0.9), percentile(0.99),
           percentile(0.999), completed ? samples[completed - 1] / 10.0 : 0);
    printf("\"cpu_seconds\": %.6f}\n", (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec)
           + (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"port", required_argument, NULL, 'p'},     {"head", required_argument, NULL, 'h'},
        {"connections", required_argument, NULL, 'c'}, {"duration", required_argument, NULL, 'd'},
        {"body", required_argument, NULL, 'b'},     {"length", required_argument, NULL, 'l'},
        {"fresh", no_argument, NULL, 'f'},          {"rate", required_argument, NULL, 'r'},
        {"count", no_argument, NULL, 'n'},          {"spin", no_argument, NULL, 's'},
        {NULL, 0, NULL, 0}};
    const char *head = NULL;
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'p': want.port = atoi(optarg); break;
        case 'h': head = optarg; break;
        case 'c': want.connections = atoi(optarg); break;
        case 'd': want.duration = atof(optarg); break;
        case 'b': want.body = strtoull(optarg, NULL, 10); break;
        case 'l': want.length = strtoull(optarg, NULL, 10); break;
        case 'f': want.fresh = 1; break;
        case 'r': want.rate = atof(optarg); break;
        case 'n': want.count = 1; break;
        case 's': want.spin = 1; break;
        default: return 2;
        }
    }
    if (head == NULL || want.port == 0 || want.connections < 1) {
        fprintf(stderr, "load: --port and --head are required\n");
        return 2;
    }
    read_request(head);
    connections = calloc((size_t)want.connections, sizeof *connections);
    if (connections == NULL)
        fail("load");
    prctl(PR_SET_TIMERSLACK, 1UL);
    poller = epoll_create1(EPOLL_CLOEXEC);
    started = now();
    deadline = started + (int64_t)(want.duration * 1e9);
    run();
    report((double)(now() - started) / 1e9);
    return 0;
}
