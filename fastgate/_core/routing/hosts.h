/* Hosts as requests name them: what is one (RFC 9110 section 7.2, RFC 3986 section 3.2.2), and the one form in which
 * they are compared.
 *
 * In that form a host has no port and no final dot, its letters are in lower case, and an IPv6 literal is as inet_ntop
 * writes it, without a zone. Everything that compares hosts goes through `write_host`.
 */
#ifndef FASTGATE_HOSTS_H
#define FASTGATE_HOSTS_H

#include <arpa/inet.h>
#include <string.h>

#define HOST_ROOM 256

/* 0: no byte of a host, 1: the dot, 2: any other byte of a name; a name has no empty label. */
static const unsigned char host_bytes[256] = {
    ['!'] = 2, ['$'] = 2, ['%'] = 2, ['&'] = 2, ['\''] = 2, ['('] = 2, [')'] = 2, ['*'] = 2, ['+'] = 2, ['-'] = 2,
    ['.'] = 1, [';'] = 2, ['='] = 2, ['_'] = 2, ['~'] = 2, ['0' ... '9'] = 2, ['A' ... 'Z'] = 2, ['a' ... 'z'] = 2,
};

/* The literal between the brackets as inet_ntop writes it, at most INET6_ADDRSTRLEN bytes with the 0; 0: it is none. */
static inline int write_literal(const unsigned char *text, Py_ssize_t length, char *out)
{
    char copy[INET6_ADDRSTRLEN];
    unsigned char raw[16];
    const unsigned char *zone = (const unsigned char *)memchr(text, '%', (size_t)length);
    Py_ssize_t i;
    if (zone != NULL) {
        /* RFC 6874: "%25" and what is there of the zone. */
        Py_ssize_t left = length - (zone - text);
        if (left < 4 || zone[1] != '2' || zone[2] != '5')
            return 0;
        for (i = 3; i < left; i++)
            if (!host_bytes[zone[i]])
                return 0;
        length = zone - text;
    }
    if (length < 2 || length >= INET6_ADDRSTRLEN)
        return 0;
    memcpy(copy, text, (size_t)length);
    copy[length] = 0;
    /* A 0 among the bytes would end the text before its end. */
    return strlen(copy) == (size_t)length && inet_pton(AF_INET6, copy, raw) == 1
        && inet_ntop(AF_INET6, raw, out, INET6_ADDRSTRLEN) != NULL;
}

/* Where the host ends and, if there is one, the colon before its port stands; -1: it is no host. */
static inline Py_ssize_t end_of_host(const unsigned char *text, Py_ssize_t length)
{
    Py_ssize_t i = 0;
    if (length > 0 && text[0] == '[') {
        char form[INET6_ADDRSTRLEN];
        const unsigned char *end = (const unsigned char *)memchr(text, ']', (size_t)length);
        if (end == NULL || !write_literal(text + 1, end - text - 1, form))
            return -1;
        return end - text + 1;
    }
    unsigned char least = 2;
    while (i < length && host_bytes[text[i]] >= least) {
        least = (unsigned char)(3 - host_bytes[text[i]]);
        i++;
    }
    return i ? i : -1;
}

/* Writes the one form of what `is_host` takes into HOST_ROOM bytes. Its length, -1: it is too long to be a host. */
static inline Py_ssize_t write_host(const unsigned char *text, Py_ssize_t length, char *out)
{
    Py_ssize_t size, i;
    const unsigned char *end;
    if (length <= 0)
        return 0;
    if (text[0] == '[') {
        end = (const unsigned char *)memchr(text, ']', (size_t)length);
        if (end == NULL || !write_literal(text + 1, end - text - 1, out + 1))
            return -1;
        out[0] = '[';
        size = 1 + (Py_ssize_t)strlen(out + 1);
        out[size] = ']';
        return size + 1;
    }
    end = (const unsigned char *)memchr(text, ':', (size_t)length);
    size = end == NULL ? length : end - text;
    if (size > 0 && text[size - 1] == '.')
        size--;
    if (size >= HOST_ROOM)
        return -1;
    for (i = 0; i < size; i++)
        out[i] = (char)(text[i] >= 'A' && text[i] <= 'Z' ? text[i] + 32 : text[i]);
    return size;
}

#endif
