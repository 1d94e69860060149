/* A server and its client, linked statically with OpenSSL: static_tls FOLDER PATH TIMES. The server uses cert.pem and key.pem of FOLDER; the client requests PATH
   TIMES times, on a connection each, with a body of BODY bytes, which the server echoes. Every read and write function of the API is used in turn. */
#include <arpa/inet.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BODY = 100000, ROOM = BODY + 4096 };

static int turn;
static char message[ROOM];

static void fail(const char *what) {
    fprintf(stderr, "static_tls: %s\n", what);
    exit(1);
}

static size_t some(SSL *session, char *to, size_t room) {
    size_t got = 0;
    int result;
    switch (turn++ % 3) {
    case 0:
        result = SSL_read(session, to, (int)room);
        return result > 0 ? (size_t)result : 0;
    case 1:
        /* SSL_peek does not consume the bytes. */
        if (SSL_peek(session, to, (int)room) <= 0) return 0;
        result = SSL_read(session, to, (int)room);
        return result > 0 ? (size_t)result : 0;
    default:
        return SSL_read_ex(session, to, room, &got) == 1 ? got : 0;
    }
}

static void all(SSL *session, const char *from, size_t size) {
    size_t written = 0;
    if (turn++ % 2 == 0) {
        if (SSL_write(session, from, (int)size) != (int)size) fail("SSL_write");
    } else if (SSL_write_ex(session, from, size, &written) != 1 || written != size) {
        fail("SSL_write_ex");
    }
}

/* Reads a message with a body of BODY bytes; returns the start of the body. */
static char *whole(SSL *session) {
    size_t have = 0;
    for (;;) {
        size_t more = some(session, message + have, ROOM - 1 - have);
        if (more == 0) fail("the message is not whole");
        have += more;
        message[have] = 0;
        char *end = strstr(message, "\r\n\r\n");
        if (end && have - (size_t)(end + 4 - message) >= BODY) return end + 4;
    }
}

static void serve(SSL_CTX *context, int listener, int times) {
    for (int number = 0; number < times; number++) {
        int fd = accept(listener, NULL, NULL);
        SSL *session = SSL_new(context);
        SSL_set_fd(session, fd);
        if (SSL_accept(session) != 1) fail("SSL_accept");
        char *body = whole(session);
        char head[128];
        int size = sprintf(head, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n", BODY);
        all(session, head, (size_t)size);
        all(session, body, BODY);
        SSL_shutdown(session);
        SSL_free(session);
        close(fd);
    }
}

static void ask(SSL_CTX *context, int port, const char *path, int times) {
    char *request = malloc(ROOM);
    for (int number = 0; number < times; number++) {
        struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
        to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(fd, (struct sockaddr *)&to, sizeof to) != 0) fail("connect");
        SSL *session = SSL_new(context);
        SSL_set_fd(session, fd);
        if (SSL_connect(session) != 1) fail("SSL_connect");
        int size = sprintf(request, "POST %s?%d HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n", path, number, BODY);
        memset(request + size, 'a' + number % 26, BODY);
        all(session, request, (size_t)size + BODY);
        if (memcmp(whole(session), request + size, BODY) != 0) fail("another body");
        SSL_shutdown(session);
        SSL_free(session);
        close(fd);
    }
}

int main(int count, char **arguments) {
    if (count != 4) fail("FOLDER PATH TIMES");
    char cert[512], key[512];
    int times = atoi(arguments[3]);
    SSL_CTX *server = SSL_CTX_new(TLS_server_method());
    snprintf(cert, sizeof cert, "%s/cert.pem", arguments[1]);
    snprintf(key, sizeof key, "%s/key.pem", arguments[1]);
    if (SSL_CTX_use_certificate_file(server, cert, SSL_FILETYPE_PEM) != 1) fail("certificate");
    if (SSL_CTX_use_PrivateKey_file(server, key, SSL_FILETYPE_PEM) != 1) fail("key");
    struct sockaddr_in here = {.sin_family = AF_INET};
    socklen_t size = sizeof here;
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&here, size) != 0 || listen(listener, 16) != 0) fail("listen");
    getsockname(listener, (struct sockaddr *)&here, &size);
    if (fork() == 0) {
        ask(SSL_CTX_new(TLS_client_method()), ntohs(here.sin_port), arguments[2], times);
        return 0;
    }
    serve(server, listener, times);
    int status = 1;
    wait(&status);
    return status != 0;
}
