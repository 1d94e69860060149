// `uring WAY`: a request and its response over one connection of this program with itself, with io_uring at both ends and no library for it. WAY is how the
// server's end receives and sends: `plain`; `polled`, through a kernel thread; `listed`, with lists of buffers; `several`, with a request that completes more
// than once, into buffers that the kernel chooses. Prints the client's port. Exits with 77 where io_uring is not available.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/io_uring.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { BODY = 400000, ROOM = 4096, SKIPPED = 77 };

struct ring {
    int fd;
    unsigned flags;
    _Atomic unsigned *sq_tail, *sq_flags, *cq_head, *cq_tail;
    unsigned *sq_array;
    struct io_uring_sqe *asked;
    struct io_uring_cqe *done;
};

static const char REQUEST[] = "GET /ring HTTP/1.1\r\nHost: x\r\n\r\n";
static char answer[BODY + 100], came[BODY + 100];
static int way, size;
static struct sockaddr_in address = {.sin_family = AF_INET};

static void check(int holds, const char *what) {
    if (!holds) {
        perror(what);
        exit(1);
    }
}

// A ring of one entry, because each request is waited for.
static struct ring open_ring(unsigned flags) {
    struct io_uring_params given = {.flags = flags, .sq_thread_idle = 2000};
    struct ring ring = {.flags = flags, .fd = syscall(SYS_io_uring_setup, 1, &given)};
    if (ring.fd < 0) exit(SKIPPED);
    char *sq = mmap(0, 65536, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring.fd, IORING_OFF_SQ_RING);
    check(sq != MAP_FAILED && given.features & IORING_FEAT_SINGLE_MMAP, "mmap");
    ring.asked = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring.fd, IORING_OFF_SQES);
    check(ring.asked != MAP_FAILED, "mmap");
    ring.sq_tail = (void *)(sq + given.sq_off.tail);
    ring.sq_flags = (void *)(sq + given.sq_off.flags);
    ring.sq_array = (void *)(sq + given.sq_off.array);
    ring.cq_head = (void *)(sq + given.cq_off.head);
    ring.cq_tail = (void *)(sq + given.cq_off.tail);
    ring.done = (void *)(sq + given.cq_off.cqes);
    return ring;
}

static int ask(struct ring *ring, struct io_uring_sqe asked) {
    ring->asked[0] = asked;
    ring->sq_array[0] = 0;
    ++*ring->sq_tail;
    unsigned flags = IORING_ENTER_GETEVENTS;
    if (ring->flags & IORING_SETUP_SQPOLL && *ring->sq_flags & IORING_SQ_NEED_WAKEUP) flags |= IORING_ENTER_SQ_WAKEUP;
    while (*ring->cq_head == *ring->cq_tail) syscall(SYS_io_uring_enter, ring->fd, ring->flags ? 0 : 1, 1, flags, 0, 0);
    // The completion queue has twice as many entries.
    int result = ring->done[*ring->cq_head & 1].res;
    ++*ring->cq_head;
    return result;
}

static struct io_uring_sqe moves(int what, int fd, const void *at, unsigned len) {
    return (struct io_uring_sqe){.opcode = what, .fd = fd, .addr = (uintptr_t)at, .len = len};
}

// With a list of buffers, which may be gone when the request is done.
static int listed(struct ring *ring, int what, int fd, char *at, unsigned len) {
    struct iovec buffers[2] = {{at, 10}, {at + 10, len - 10}};
    struct msghdr message = {.msg_iov = buffers, .msg_iovlen = 2};
    return ask(ring, moves(what, fd, &message, 1));
}

static void *serve(void *listener) {
    struct ring ring = open_ring(way == 'p' ? IORING_SETUP_SQPOLL : 0);
    int fd = ask(&ring, (struct io_uring_sqe){.opcode = IORING_OP_ACCEPT, .fd = *(int *)listener}), got;
    char room[ROOM];
    check(fd >= 0, "accept");
    if (way == 'l') {
        got = listed(&ring, IORING_OP_RECVMSG, fd, room, ROOM);
    } else if (way == 's') {
        struct io_uring_sqe provide = moves(IORING_OP_PROVIDE_BUFFERS, 1, room, ROOM), receive = moves(IORING_OP_RECV, fd, 0, 0);
        provide.buf_group = receive.buf_group = 7;
        receive.flags = IOSQE_BUFFER_SELECT;
        receive.ioprio = 2; // IORING_RECV_MULTISHOT
        check(ask(&ring, provide) >= 0, "provide");
        got = ask(&ring, receive);
    } else {
        got = ask(&ring, moves(IORING_OP_RECV, fd, room, ROOM));
    }
    check(got == sizeof REQUEST - 1, "receive");
    struct ring second = open_ring(0);
    for (int sent = 0; sent < size;) {
        struct io_uring_sqe send = moves(IORING_OP_SEND, fd, answer + sent, size - sent);
        send.msg_flags = MSG_WAITALL;
        int some = way == 'l' ? listed(&second, IORING_OP_SENDMSG, fd, answer + sent, size - sent) : ask(&second, send);
        check(some > 0, "send");
        sent += some;
    }
    shutdown(fd, SHUT_RDWR);
    close(ring.fd);
    close(second.fd);
    close(fd);
    return 0;
}

int main(int count, char **words) {
    way = count > 1 && !strcmp(words[1], "polled") ? 'p' : count > 1 ? words[1][0] == 'p' ? 0 : words[1][0] : 0;
    size = sprintf(answer, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", BODY);
    for (int at = 0; at < BODY; ++at) answer[size + at] = at * 7 + at / 251;
    size += BODY;
    alarm(30);
    int listener = socket(AF_INET, SOCK_STREAM, 0), fd = socket(AF_INET, SOCK_STREAM, 0), small = 4096;
    socklen_t len = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    check(!bind(listener, (void *)&address, len) && !listen(listener, 1), "listen");
    getsockname(listener, (void *)&address, &len);
    pthread_t server;
    pthread_create(&server, 0, serve, &listener);
    struct ring ring = open_ring(0);
    struct io_uring_sqe connects = moves(IORING_OP_CONNECT, fd, &address, 0);
    connects.off = len;
    check(!ask(&ring, connects), "connect");
    getsockname(fd, (void *)&address, &len);
    printf("%d\n", ntohs(address.sin_port));
    check(ask(&ring, moves(IORING_OP_WRITE, fd, REQUEST, sizeof REQUEST - 1)) == sizeof REQUEST - 1, "write");
    for (int got = 0, some; got < size; got += some) {
        check((some = ask(&ring, moves(IORING_OP_READ, fd, came + got, 8192))) > 0, "read");
    }
    check(!memcmp(came, answer, size), "what came");
    pthread_join(server, 0);
    return 0;
}
