// A 32-bit program that asks once over plain HTTP, without a C library: socket, connect, write, read and exit as i386 numbers them. Its argument is the port.

static int call(int number, int first, const void *second, int third) {
    int result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(first), "c"(second), "d"(third) : "memory");
    return result;
}

static void quit(int code) {
    call(1, code, 0, 0);
    for (;;) {
    }
}

static const char ask[] = "GET /harm HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

// `arguments`: their count, then the address of each.
__attribute__((used)) static void begin(int *arguments) {
    int port = 0;
    for (const char *digit = (const char *)arguments[2]; *digit; digit++)
        port = port * 10 + *digit - '0';
    // AF_INET, SOCK_STREAM; the address in network order.
    unsigned char address[16] = {2, 0, port >> 8, port & 0xff, 127, 0, 0, 1};
    int connection = call(359, 2, (const void *)1, 0);
    if (connection < 0 || call(362, connection, address, sizeof address) < 0)
        quit(1);
    if (call(4, connection, ask, sizeof ask - 1) != sizeof ask - 1)
        quit(2);
    static char answer[4096];
    for (int got; (got = call(3, connection, answer, sizeof answer)) > 0;)
        call(4, 1, answer, got);
    quit(0);
}

__asm__(".globl _start\n_start:\n movl %esp, %eax\n andl $-16, %esp\n subl $12, %esp\n pushl %eax\n call begin\n");
