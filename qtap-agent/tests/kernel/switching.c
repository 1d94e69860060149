// A TLS program that switches stacks inside its TLS calls, as runtimes with fibers do: one thread, and a stack for each connection. Its BIO has a
// socket; where that would block, another fiber goes on.
//
// switching PORT FIBERS TIMES: each fiber opens a connection, requests /FIBER-TIME that many times, and compares the answers.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#define FIBERS 16
#define STACK (256 * 1024)

struct fiber {
    ucontext_t context;
    int number, socket, done;
};

static struct fiber fibers[FIBERS];
static ucontext_t outside;
static int count, times, port, current, failed;

// The next fiber's turn.
static void yield(void) {
    int from = current;
    for (int step = 1; step <= count; step++) {
        int to = (from + step) % count;
        if (fibers[to].done) continue;
        if (to == from) return;
        current = to;
        swapcontext(&fibers[from].context, &fibers[to].context);
        return;
    }
    setcontext(&outside);
}

static int give(BIO *bio, char *data, int len) {
    struct fiber *fiber = BIO_get_data(bio);
    for (;;) {
        // The others go first, also where bytes are there: so that calls end in another order than they began.
        yield();
        ssize_t got = recv(fiber->socket, data, len, 0);
        if (got >= 0 || errno != EAGAIN) return got;
        struct pollfd one = {fiber->socket, POLLIN, 0};
        poll(&one, 1, 1);
    }
}

static int take(BIO *bio, const char *data, int len) {
    struct fiber *fiber = BIO_get_data(bio);
    yield();
    return send(fiber->socket, data, len, MSG_NOSIGNAL);
}

static long control(BIO *bio, int command, long number, void *pointer) {
    return command == BIO_CTRL_FLUSH;
}

static BIO *make(struct fiber *fiber) {
    static BIO_METHOD *method;
    if (!method) {
        method = BIO_meth_new(BIO_TYPE_SOURCE_SINK | BIO_get_new_index(), "switching");
        BIO_meth_set_write(method, take);
        BIO_meth_set_read(method, give);
        BIO_meth_set_ctrl(method, control);
    }
    BIO *bio = BIO_new(method);
    BIO_set_data(bio, fiber);
    BIO_set_init(bio, 1);
    return bio;
}

static void fail(const char *what) {
    fprintf(stderr, "fiber %d: %s\n", current, what);
    failed = 1;
}

static void talk(struct fiber *fiber) {
    static SSL_CTX *shared;
    if (!shared) shared = SSL_CTX_new(TLS_client_method());
    fiber->socket = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (connect(fiber->socket, (struct sockaddr *)&to, sizeof to)) return fail("connect");
    fcntl(fiber->socket, F_SETFL, O_NONBLOCK);
    SSL *ssl = SSL_new(shared);
    BIO *bio = make(fiber);
    SSL_set_bio(ssl, bio, bio);
    if (SSL_connect(ssl) != 1) return fail("SSL_connect");
    for (int time = 0; time < times; time++) {
        char text[512], wanted[32];
        snprintf(wanted, sizeof wanted, "%d-%d", fiber->number, time);
        int len = snprintf(text, sizeof text, "GET /%s HTTP/1.1\r\nHost: x\r\n\r\n", wanted);
        if (SSL_write(ssl, text, len) != len) return fail("SSL_write");
        int got = 0;
        char *body = NULL;
        while (!body || strlen(body + 4) < strlen(wanted)) {
            int more = SSL_read(ssl, text + got, sizeof text - 1 - got);
            if (more <= 0) return fail("SSL_read");
            got += more;
            text[got] = 0;
            body = strstr(text, "\r\n\r\n");
        }
        if (strcmp(body + 4, wanted)) return fail("another answer");
    }
    SSL_free(ssl);
    close(fiber->socket);
}

static void run(int number) {
    talk(&fibers[number]);
    fibers[number].done = 1;
    yield();
}

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    port = atoi(argv[1]);
    count = atoi(argv[2]);
    times = atoi(argv[3]);
    if (count > FIBERS) return 2;
    // Neighbours in order, with a guard before each.
    char *stacks = mmap(0, (size_t)count * 2 * STACK, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int number = 0; number < count; number++) {
        struct fiber *fiber = &fibers[number];
        fiber->number = number;
        getcontext(&fiber->context);
        fiber->context.uc_stack.ss_sp = stacks + (2 * number + 1) * (size_t)STACK;
        fiber->context.uc_stack.ss_size = STACK;
        mprotect(fiber->context.uc_stack.ss_sp, STACK, PROT_READ | PROT_WRITE);
        makecontext(&fiber->context, (void (*)(void))run, 1, number);
    }
    volatile int began = 0;
    getcontext(&outside);
    if (!began) {
        began = 1;
        setcontext(&fibers[0].context);
    }
    puts(failed ? "failed" : "done");
    return failed;
}
