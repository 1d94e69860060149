package qtap.jsse;

import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicLongArray;

/** What is kept of one TLS session: a number that no other session of this JVM has, whether its socket was told, and what could not be told. */
final class Session {
    final long number;
    /** True once qtap can know its socket: it was named, or a hello was told. */
    volatile boolean isBound;
    /** Bytes of each direction that were moved and not told. */
    private final AtomicLongArray lost = new AtomicLongArray(2);
    /** Writes that were begun, and those that are in progress. */
    private final AtomicLong begun = new AtomicLong();
    private final AtomicInteger inProgress = new AtomicInteger();

    Session(long number) {
        this.number = number;
    }

    /** A write begins. Its turn: 0 when another one is in progress. */
    long begin() {
        long turn = begun.incrementAndGet();
        return inProgress.incrementAndGet() > 1 ? 0 : turn;
    }

    /** True when no other write began since that turn: in which order the two left could not be told. */
    boolean wasAlone(long turn) {
        return turn != 0 && begun.get() == turn;
    }

    void end() {
        inProgress.decrementAndGet();
    }

    void lose(byte direction, long bytes) {
        lost.addAndGet(direction, bytes);
    }

    boolean hasLost(byte direction) {
        return lost.get(direction) > 0;
    }

    long takeLost(byte direction) {
        return lost.getAndSet(direction, 0);
    }
}
