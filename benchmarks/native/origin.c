/* The origin behind every proxy that is measured.
 *
 * One thread, one epoll set, no parsing beyond what finds the end of a message, so that it costs the load generator's
 * core as little as a server can. It answers
 *
 *     GET  /large    1 MiB (or --large BYTES)
 *     GET  /cached/N N bytes that may be stored for an hour, with an entity tag; something may follow N
 *     GET  /count    the counters below, as JSON (asked for by the harness directly, never through a proxy)
 *     any other      a 110-byte JSON document
 *
 * at 127.0.0.1, or with --addresses N at 127.0.0.1 to 127.0.0.N as if it were N servers. It reads a request body of Content-Length bytes, whatever the method, before it answers. Chunked requests are
 * answered 501: the lanes do not send any, and a proxy that re-frames a body would show.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { STORED_ANSWERS = 16, HEAD_LIMIT = 16384, READ_SIZE = 1 << 18, EVENTS = 256, DOCUMENT = 110, MOST_ADDRESSES = 254 };

struct connection {
    int fd;
    int waiting;            /* EPOLLOUT is armed */
    int close_after;
    size_t held;            /* bytes of an incomplete head in `head` */
    uint64_t body_left;     /* request body still to be read */
    const char *answer;     /* what is sent once the body is in */
    size_t answer_left;
    int answering;
    char *head;             /* HEAD_LIMIT bytes, allocated when a head arrives in pieces */
};

static char scratch[READ_SIZE];
static char *small_answer, *large_answer, *refusal;
static size_t small_size, large_size, large_body, refusal_size;
static char count_answer[512];
static struct {
    size_t body, size;
    char *answer;
} stored_answers[STORED_ANSWERS];
static int poller;
static uint64_t requests, accepted, body_bytes;

static char *make_answer(const char *status, const char *type, const char *body, size_t length, size_t *size)
{
    char head[256];
    int head_size = snprintf(head, sizeof head,
                             "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n\r\n", status, type, length);
    char *answer = malloc((size_t)head_size + length);
    if (answer == NULL) {
        perror("origin");
        exit(1);
    }
    memcpy(answer, head, (size_t)head_size);
    memcpy(answer + head_size, body, length);
    *size = (size_t)head_size + length;
    return answer;
}

static void make_answers(size_t large)
{
    static const char start[] = "{\"id\": 4711, \"name\": \"Ada Lovelace\", \"roles\": [\"author\"], \"note\": \"";
    char document[DOCUMENT];
    memset(document, 'x', sizeof document);
    memcpy(document, start, sizeof start - 1);
    memcpy(document + DOCUMENT - 2, "\"}", 2);
    small_answer = make_answer("200 OK", "application/json", document, DOCUMENT, &small_size);

    char *body = malloc(large);
    if (body == NULL) {
        perror("origin");
        exit(1);
    }
    for (size_t i = 0; i < large; i++)
        body[i] = (char)('a' + i % 26);
    large_answer = make_answer("200 OK", "application/octet-stream", body, large, &large_size);
    free(body);
    large_body = large;
    refusal = make_answer("501 Not Implemented", "text/plain", "chunked\n", 8, &refusal_size);
}

/* The answer with a body of so many bytes, made when it is first asked for; the refusal when there are too many sizes. */
static const char *stored_answer(size_t length, size_t *size)
{
    char head[512], date[64];
    time_t now = time(NULL);
    int i = 0;
    while (i < STORED_ANSWERS && stored_answers[i].answer != NULL && stored_answers[i].body != length)
        i++;
    if (i == STORED_ANSWERS || length > large_body) {
        *size = refusal_size;
        return refusal;
    }
    if (stored_answers[i].answer == NULL) {
        strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime(&now));
        size_t head_size = (size_t)snprintf(head, sizeof head,
            "HTTP/1.1 200 OK\r\nDate: %s\r\nServer: origin\r\nContent-Type: application/octet-stream\r\n"
            "Content-Length: %zu\r\nCache-Control: max-age=3600\r\nETag: \"of-%zu-bytes\"\r\n\r\n", date, length, length);
        char *answer = malloc(head_size + length);
        if (answer == NULL) {
            perror("origin");
            exit(1);
        }
        memcpy(answer, head, head_size);
        memcpy(answer + head_size, large_answer + (large_size - large_body), length);
        stored_answers[i].body = length;
        stored_answers[i].size = head_size + length;
        stored_answers[i].answer = answer;
    }
    *size = stored_answers[i].size;
    return stored_answers[i].answer;
}

static void drop(struct connection *connection)
{
    close(connection->fd);
    free(connection->head);
    free(connection);
}

/* Send what is left of the answer. 0 = all sent, 1 = the peer takes no more now, -1 = gone. */
static int send_answer(struct connection *connection)
{
    while (connection->answer_left > 0) {
        ssize_t sent = send(connection->fd, connection->answer, connection->answer_left, MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno == EINTR)
                continue;
            return errno == EAGAIN ? 1 : -1;
        }
        connection->answer += sent;
        connection->answer_left -= (size_t)sent;
    }
    connection->answering = 0;
    return connection->close_after ? -1 : 0;
}

static void wait_writable(struct connection *connection, int wanted)
{
    if (connection->waiting == wanted)
        return;
    struct epoll_event event = {.events = wanted ? EPOLLOUT : EPOLLIN, .data.ptr = connection};
    epoll_ctl(poller, EPOLL_CTL_MOD, connection->fd, &event);
    connection->waiting = wanted;
}

/* Choose the answer to a complete head and say how much body follows it. */
static void read_head(struct connection *connection, const char *head, size_t length)
{
    const char *end = head + length;
    const char *target = memchr(head, ' ', length);
    const char *line = memchr(head, '\n', length);
    target = target == NULL ? end : target + 1;
    connection->body_left = 0;
    connection->close_after = 0;
    connection->answer = small_answer;
    connection->answer_left = small_size;
    if (end - target > 6 && memcmp(target, "/large", 6) == 0) {
        connection->answer = large_answer;
        connection->answer_left = large_size;
    } else if (end - target > 8 && memcmp(target, "/cached/", 8) == 0) {
        connection->answer = stored_answer(strtoull(target + 8, NULL, 10), &connection->answer_left);
    } else if (end - target > 6 && memcmp(target, "/count", 6) == 0) {
        char body[256];
        int size = snprintf(body, sizeof body, "{\"requests\": %llu, \"accepted\": %llu, \"body_bytes\": %llu}",
                            (unsigned long long)requests, (unsigned long long)accepted,
                            (unsigned long long)body_bytes);
        connection->answer_left = (size_t)snprintf(count_answer, sizeof count_answer,
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", size, body);
        connection->answer = count_answer;
        requests--;
    }
    while (line != NULL && line + 1 < end) {
        const char *field = line + 1;
        line = memchr(field, '\n', (size_t)(end - field));
        if (line == NULL)
            break;
        /* First letters decide: most fields of a request are passed over with one comparison. */
        if ((*field | 32) == 'c' && line - field > 15) {
            if (strncasecmp(field, "content-length:", 15) == 0)
                connection->body_left = strtoull(field + 15, NULL, 10);
            else if (strncasecmp(field, "connection:", 11) == 0 && memmem(field, (size_t)(line - field), "close", 5))
                connection->close_after = 1;
        } else if ((*field | 32) == 't' && strncasecmp(field, "transfer-encoding:", 18) == 0) {
            connection->answer = refusal;
            connection->answer_left = refusal_size;
            connection->close_after = 1;
        }
    }
    connection->answering = 1;
    requests++;
}

/* Work through what was read. 0 = go on reading, 1 = wait until the peer takes the answer, -1 = drop. */
static int consume(struct connection *connection, const char *data, size_t length)
{
    while (length > 0) {
        if (connection->answering) {
            uint64_t part = connection->body_left < length ? connection->body_left : length;
            connection->body_left -= part;
            body_bytes += part;
            data += part;
            length -= part;
        } else {
            const char *head = data, *stop;
            size_t before = connection->held, head_size;
            if (before > 0) {
                size_t room = HEAD_LIMIT - before, part = length < room ? length : room;
                memcpy(connection->head + before, data, part);
                head = connection->head;
                stop = memmem(head, before + part, "\r\n\r\n", 4);
                if (stop == NULL) {
                    connection->held += part;
                    return connection->held == HEAD_LIMIT ? -1 : 0;
                }
            } else {
                stop = memmem(data, length, "\r\n\r\n", 4);
                if (stop == NULL) {
                    if (length > HEAD_LIMIT)
                        return -1;
                    if (connection->head == NULL && (connection->head = malloc(HEAD_LIMIT)) == NULL)
                        return -1;
                    memcpy(connection->head, data, length);
                    connection->held = length;
                    return 0;
                }
            }
            head_size = (size_t)(stop + 4 - head);
            read_head(connection, head, head_size);
            connection->held = 0;
            data += head_size - before;
            length -= head_size - before;
        }
        if (connection->answering && connection->body_left == 0) {
            int state = send_answer(connection);
            /* Proxies do not pipeline to an origin: bytes behind an answer that cannot be sent are an error. */
            if (state != 0)
                return length > 0 ? -1 : state;
        }
    }
    return 0;
}

static void serve(struct connection *connection)
{
    if (connection->waiting) {
        int state = send_answer(connection);
        if (state < 0)
            drop(connection);
        else if (state == 0)
            wait_writable(connection, 0);
        return;
    }
    ssize_t got = recv(connection->fd, scratch, sizeof scratch, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    int state = got <= 0 ? -1 : consume(connection, scratch, (size_t)got);
    if (state < 0)
        drop(connection);
    else if (state > 0)
        wait_writable(connection, 1);
}

static void welcome(int listener)
{
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct connection *connection = calloc(1, sizeof *connection);
        if (connection == NULL) {
            close(fd);
            return;
        }
        connection->fd = fd;
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
        accepted++;
    }
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"port", required_argument, NULL, 'p'}, {"large", required_argument, NULL, 'l'},
        {"addresses", required_argument, NULL, 'a'}, {NULL, 0, NULL, 0}};
    int port = 0, addresses = 1, option;
    size_t large = 1 << 20;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'p')
            port = atoi(optarg);
        else if (option == 'l')
            large = strtoull(optarg, NULL, 10);
        else if (option == 'a')
            addresses = atoi(optarg);
        else
            return 2;
    }
    if (addresses < 1 || addresses > MOST_ADDRESSES)
        return 2;
    make_answers(large);

    static int listeners[MOST_ADDRESSES];
    struct epoll_event ready[EVENTS];
    poller = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0, on = 1; i < addresses; i++) {
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port),
                                      .sin_addr.s_addr = htonl(INADDR_LOOPBACK + (uint32_t)i)};
        socklen_t address_size = sizeof address;
        listeners[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        setsockopt(listeners[i], SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        if (bind(listeners[i], (struct sockaddr *)&address, sizeof address) != 0 || listen(listeners[i], 4096) != 0) {
            perror("origin");
            return 1;
        }
        getsockname(listeners[i], (struct sockaddr *)&address, &address_size);
        port = ntohs(address.sin_port);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &listeners[i]};
        epoll_ctl(poller, EPOLL_CTL_ADD, listeners[i], &event);
    }
    printf("%d\n", port);    /* the harness reads the port that port 0 became */
    fflush(stdout);

    for (;;) {
        int count = epoll_wait(poller, ready, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            int *listener = ready[i].data.ptr;
            if (listener >= listeners && listener < listeners + MOST_ADDRESSES)
                welcome(*listener);
            else
                serve(ready[i].data.ptr);
        }
    }
}
