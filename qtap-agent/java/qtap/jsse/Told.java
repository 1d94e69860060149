package qtap.jsse;

import java.io.InputStream;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.SSLEngineResult;

/**
 * Tells what a call moved. Nothing is thrown from here: the call was the program's, and it succeeded. What can't be told, because the JVM has no memory or no stack
 * left, is counted, and the next message of its session says so; if not even the session is known, nothing more is told at all, and qtap says that of the connections.
 */
final class Told {
    private Told() {}

    static void received(InputStream stream, byte[] into, int offset, int count) {
        Session session = ofStream(stream);
        if (session != null) {
            moved(session, Channel.RECEIVED, into, offset, count, 0);
        }
    }

    static void sent(OutputStream stream, byte[] from, int offset, int length, long begun) {
        Session session = ofStream(stream);
        if (session != null) {
            moved(session, Channel.SENT, from, offset, length, begun);
        }
    }

    static void wrapped(SSLEngine engine, ByteBuffer[] plain, int first, int[] before, ByteBuffer wire, int written,
            SSLEngineResult result, long begun) {
        Session session = of(engine);
        if (session == null) {
            return;
        }
        hello(session, wire, written, result.bytesProduced(), false);
        if (result.bytesConsumed() > 0) {
            moved(session, Channel.SENT, plain, first, before, result.bytesConsumed(), begun);
        }
    }

    /** The engine is about to decipher what lies in {@code wire}. */
    static void isFed(SSLEngine engine, ByteBuffer wire) {
        Session session = of(engine);
        if (session != null && wire != null) {
            hello(session, wire, wire.position(), wire.remaining(), true);
        }
    }

    static void unwrapped(SSLEngine engine, ByteBuffer[] plain, int first, int[] before, SSLEngineResult result) {
        Session session = result.bytesProduced() > 0 ? of(engine) : null;
        if (session != null) {
            moved(session, Channel.RECEIVED, plain, first, before, result.bytesProduced(), 0);
        }
    }

    private static Session of(SSLEngine engine) {
        try {
            return Sessions.of(engine);
        } catch (RuntimeException | OutOfMemoryError | StackOverflowError failed) {
            Channel.close();
            return null;
        }
    }

    private static Session ofStream(Object stream) {
        try {
            return Sessions.ofStream(stream);
        } catch (RuntimeException | OutOfMemoryError | StackOverflowError failed) {
            Channel.close();
            return null;
        }
    }

    private static void hello(Session session, ByteBuffer wire, int at, int length, boolean isReceived) {
        try {
            Channel.hello(session, wire, at, length, isReceived);
        } catch (RuntimeException | OutOfMemoryError | StackOverflowError failed) {
            // Its socket is not known, which qtap says of it.
        }
    }

    private static void moved(Session session, byte direction, byte[] bytes, int offset, int length, long begun) {
        long told = 0;
        try {
            while (told < length) {
                int some = (int) Math.min(length - told, Channel.PIECE);
                Channel.data(session, direction, bytes, offset + (int) told, some, begun);
                told += some;
            }
        } catch (RuntimeException | OutOfMemoryError | StackOverflowError failed) {
            session.lose(direction, length - told);
        }
    }

    /** What the call took of buffers, or put into them, since they stood at {@code before}. */
    private static void moved(Session session, byte direction, ByteBuffer[] buffers, int first, int[] before, int length, long begun) {
        long told = 0;
        try {
            for (int at = 0; at < before.length; at++) {
                ByteBuffer buffer = buffers[first + at];
                int end = buffer == null ? 0 : buffer.position();
                for (int from = before[at]; from < end; from += Channel.PIECE) {
                    int some = Math.min(end - from, Channel.PIECE);
                    Channel.data(session, direction, buffer, from, some, begun);
                    told += some;
                }
            }
        } catch (RuntimeException | OutOfMemoryError | StackOverflowError failed) {
            // Counted below.
        }
        if (told < length) {
            session.lose(direction, length - told);
        }
    }
}
