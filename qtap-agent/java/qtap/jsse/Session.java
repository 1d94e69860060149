package qtap.jsse;

/** What is kept of one TLS session: a number that no other session of this JVM has, whether its socket was told, and what could not be told. */
final class Session {
    final long number;
    /** True once qtap can know its socket: it was named, or a hello was told. */
    volatile boolean isBound;
    /** Bytes of each direction that were moved and not told. Each direction has one user at a time (JSSE sees to it). */
    private final long[] lost = new long[2];

    Session(long number) {
        this.number = number;
    }

    void lose(byte direction, long bytes) {
        lost[direction] += bytes;
    }

    boolean hasLost(byte direction) {
        return lost[direction] > 0;
    }

    long takeLost(byte direction) {
        long bytes = lost[direction];
        lost[direction] = 0;
        return bytes;
    }
}
