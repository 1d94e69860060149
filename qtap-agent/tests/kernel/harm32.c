// A 32-bit program that asks once over plain HTTP, without a C library: socket, connect, write, read and exit as i386 or arm number them. Its arguments are the port and,
// if it is to send a body, how many bytes, each in a call of its own.

enum { EXIT = 1, READ = 3, WRITE = 4 };

#ifdef __arm__

enum { SOCKET = 281, CONNECT = 283 };

static int call(int number, int first, const void *second, int third) {
    register int r7 __asm__("r7") = number;
    register int r0 __asm__("r0") = first;
    register const void *r1 __asm__("r1") = second;
    register int r2 __asm__("r2") = third;
    __asm__ volatile("svc #0" : "+r"(r0) : "r"(r7), "r"(r1), "r"(r2) : "memory");
    return r0;
}

__asm__(".globl _start\n_start:\n mov r0, sp\n bic sp, sp, #7\n bl begin\n");

#else

enum { SOCKET = 359, CONNECT = 362 };

static int call(int number, int first, const void *second, int third) {
    int result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(first), "c"(second), "d"(third) : "memory");
    return result;
}

__asm__(".globl _start\n_start:\n movl %esp, %eax\n andl $-16, %esp\n subl $12, %esp\n pushl %eax\n call begin\n");

#endif

static void quit(int code) {
    call(EXIT, code, 0, 0);
    for (;;) {
    }
}

static int connection;

static void say(const char *text, int length) {
    if (call(WRITE, connection, text, length) != length)
        quit(2);
}

static int length_of(const char *text) {
    int length = 0;
    while (text[length])
        length++;
    return length;
}

static int number(const char *text) {
    int value = 0;
    for (const char *digit = text; *digit; digit++)
        value = value * 10 + *digit - '0';
    return value;
}

// `arguments`: their count, then the address of each.
__attribute__((used)) static void begin(int *arguments) {
    int port = number((const char *)arguments[2]);
    // AF_INET, SOCK_STREAM; the address in network order.
    unsigned char address[16] = {2, 0, port >> 8, port & 0xff, 127, 0, 0, 1};
    connection = call(SOCKET, 2, (const void *)1, 0);
    if (connection < 0 || call(CONNECT, connection, address, sizeof address) < 0)
        quit(1);
    const char *head = "PUT /harm HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: ";
    const char *size = arguments[0] > 2 ? (const char *)arguments[3] : "";
    if (!*size)
        head = "GET /harm HTTP/1.1\r\nHost: x\r\nConnection: close";
    say(head, length_of(head));
    say(size, length_of(size));
    say("\r\n\r\n", 4);
    for (int left = number(size); left > 0; left--)
        say("x", 1);
    static char answer[4096];
    for (int got; (got = call(READ, connection, answer, sizeof answer)) > 0;)
        call(WRITE, 1, answer, got);
    quit(0);
}
