// A TLS program whose sessions read from and write to memory: its own (BIO_meth_new), OpenSSL's (as part of by_name.c), or one of a pair of BIOs, the first of
// them or the second (-DMEMORY_IN_PAIRS=1 or 2). The program itself moves the bytes to its socket and back.
//
// own_bio serve DIR PORT: answers connections, one request each, with the requested name, until it is killed.
// own_bio get PORT NAME…: requests each name, on a connection each.
#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if defined MEMORY_IN_PAIRS || defined MEMORY_OF_OPENSSL
static BIO *in, *out;

static void give_bios(SSL *ssl) {
#ifdef MEMORY_IN_PAIRS
    BIO *of_session;
    int made = MEMORY_IN_PAIRS == 1 ? BIO_new_bio_pair(&of_session, 0, &in, 0) : BIO_new_bio_pair(&in, 0, &of_session, 0);
    if (!made) abort();
    out = in;
    SSL_set_bio(ssl, of_session, of_session);
#else
    in = BIO_new(BIO_s_mem());
    out = BIO_new(BIO_s_mem());
    SSL_set_bio(ssl, in, out);
#endif
}

static int taken(char *bytes, int most) {
    return BIO_read(out, bytes, most);
}

static void feed(const char *bytes, int len) {
    BIO_write(in, bytes, len);
}
#else
struct memory {
    char bytes[1 << 17];
    int from, to;
};

static int keep(BIO *bio, const char *data, int len) {
    struct memory *memory = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (len > (int)sizeof memory->bytes - memory->to) {
        BIO_set_retry_write(bio);
        return -1;
    }
    memcpy(memory->bytes + memory->to, data, len);
    memory->to += len;
    return len;
}

static int give(BIO *bio, char *data, int len) {
    struct memory *memory = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (memory->from == memory->to) {
        memory->from = memory->to = 0;
        BIO_set_retry_read(bio);
        return -1;
    }
    if (len > memory->to - memory->from) len = memory->to - memory->from;
    memcpy(data, memory->bytes + memory->from, len);
    memory->from += len;
    return len;
}

static long control(BIO *bio, int command, long number, void *pointer) {
    return command == BIO_CTRL_FLUSH;
}

static struct memory in, out;

static BIO *make(struct memory *memory) {
    static BIO_METHOD *method;
    if (!method) {
        method = BIO_meth_new(BIO_TYPE_SOURCE_SINK | BIO_get_new_index(), "own");
        BIO_meth_set_write(method, keep);
        BIO_meth_set_read(method, give);
        BIO_meth_set_ctrl(method, control);
    }
    BIO *bio = BIO_new(method);
    BIO_set_data(bio, memory);
    BIO_set_init(bio, 1);
    return bio;
}

static void give_bios(SSL *ssl) {
    in.from = in.to = out.from = out.to = 0;
    SSL_set_bio(ssl, make(&in), make(&out));
}

// What the session wrote, up to `most` bytes of it.
static int taken(char *bytes, int most) {
    int len = out.to - out.from < most ? out.to - out.from : most;
    memcpy(bytes, out.bytes + out.from, len);
    out.from += len;
    if (out.from == out.to) out.from = out.to = 0;
    return len;
}

// What the session is to read next.
static void feed(const char *bytes, int len) {
    memcpy(in.bytes + in.to, bytes, len);
    in.to += len;
}
#endif

static void end(const char *why) {
    fprintf(stderr, "own_bio: %s\n", why);
    ERR_print_errors_fp(stderr);
    exit(1);
}

// Sends what the session wrote, and reads what it waits for, as the result `did` requires.
static int until(SSL *ssl, int fd, int did) {
    char bytes[1 << 14];
    for (int len; (len = taken(bytes, sizeof bytes)) > 0;)
        if (write(fd, bytes, len) != len) end("write");
    if (did > 0) return 0;
    if (SSL_get_error(ssl, did) != SSL_ERROR_WANT_READ) end("TLS");
    int got = read(fd, bytes, sizeof bytes);
    if (got <= 0) end("read");
    feed(bytes, got);
    return 1;
}

static void talk(SSL_CTX *context, int fd, const char *name) {
    char text[4096], said[4096];
    int did;
    SSL *ssl = SSL_new(context);
    give_bios(ssl);
    if (name) SSL_set_connect_state(ssl); else SSL_set_accept_state(ssl);
    do did = SSL_do_handshake(ssl); while (until(ssl, fd, did));
    if (name) {
        int len = snprintf(text, sizeof text, "GET /echo/%s HTTP/1.1\r\nHost: localhost\r\n\r\n", name);
        do did = SSL_write(ssl, text, len); while (until(ssl, fd, did));
    }
    do did = SSL_read(ssl, said, sizeof said - 1); while (until(ssl, fd, did));
    if (!name) {
        char asked[256] = "";
        said[did] = 0;
        sscanf(said, "GET /echo/%255s", asked);
        int len = snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s", strlen(asked), asked);
        do did = SSL_write(ssl, text, len); while (until(ssl, fd, did));
    }
    SSL_free(ssl);
}

int main(int count, char **words) {
    SSL_CTX *context = SSL_CTX_new(TLS_method());
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (!strcmp(words[1], "get")) {
        address.sin_port = htons(atoi(words[2]));
        for (int at = 3; at < count; at++) {
            int fd = socket(AF_INET, SOCK_STREAM, 0);
            if (connect(fd, (void *)&address, sizeof address)) end("connect");
            talk(context, fd, words[at]);
            close(fd);
        }
        return 0;
    }
    if (chdir(words[2])) end("no such folder");
    if (SSL_CTX_use_certificate_file(context, "cert.pem", SSL_FILETYPE_PEM) != 1) end("certificate");
    if (SSL_CTX_use_PrivateKey_file(context, "key.pem", SSL_FILETYPE_PEM) != 1) end("key");
    int listener = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    address.sin_port = htons(atoi(words[3]));
    if (bind(listener, (void *)&address, sizeof address) || listen(listener, 16)) end("listen");
    // A connection that only checks whether it listens sends nothing.
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        char first;
        if (recv(fd, &first, 1, MSG_PEEK) == 1) talk(context, fd, NULL);
        close(fd);
    }
}
