package qtap.jsse;

import java.io.InputStream;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.SSLEngineResult;

/**
 * Tells what a call moved. Nothing is thrown from here: the call was the program's, and it succeeded. What can't be told, because the JVM has no memory or no stack
 * left, is counted, and the next message of its session says so; if not even the session is known, nothing more is told at all: what qtap knows of sessions ends there.
 */
final class Told {
    private Told() {}

    static void received(InputStream stream, byte[] into, int offset, int count) {
        Session session = ofStream(stream);
        if (session != null) {
            moved(session, Channel.RECEIVED, into, offset, count, 0);
        }
    }

    /** A write begins, of this session; null when it is not known. */
    static Session begins(OutputStream stream) {
        return ofStream(stream);
    }

    static void sent(Session session, byte[] from, int offset, int length, long begun, long turn) {
        if (session == null) {
            return;
        }
        if (session.wasAlone(turn)) {
            moved(session, Channel.SENT, from, offset, length, begun);
        } else {
            lost(session, Channel.SENT, length);
        }
    }

    /** Where each buffer stands; arguments that the method itself will refuse have no positions. Null: not known. */
    static int[] positions(ByteBuffer[] buffers, int first, int count) {
        try {
            if (buffers == null || first < 0 || count < 0 || first > buffers.length - count) {
                return new int[0];
            }
            int[] positions = new int[count];
            for (int at = 0; at < count; at++) {
                ByteBuffer buffer = buffers[first + at];
                positions[at] = buffer == null ? 0 : buffer.position();
            }
            return positions;
        } catch (RuntimeException | Error failed) {
            return null;
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
        endIfDone(engine, result);
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
        endIfDone(engine, result);
    }

    /** A session moved bytes that can't be told. */
    static void lost(Session session, byte direction, long bytes) {
        session.lose(direction, bytes);
        try {
            Channel.lost(session, direction);
        } catch (RuntimeException | Error failed) {
            // With its next message.
        }
    }

    private static void endIfDone(SSLEngine engine, SSLEngineResult result) {
        try {
            if (result.getStatus() == SSLEngineResult.Status.CLOSED && engine.isInboundDone() && engine.isOutboundDone()) {
                Sessions.end(engine);
            }
        } catch (RuntimeException | Error failed) {
            // It ends when it is collected.
        }
    }

    private static Session of(SSLEngine engine) {
        try {
            return Sessions.of(engine);
        } catch (RuntimeException | Error failed) {
            Channel.close();
            return null;
        }
    }

    private static Session ofStream(Object stream) {
        try {
            return Sessions.ofStream(stream);
        } catch (RuntimeException | Error failed) {
            Channel.close();
            return null;
        }
    }

    private static void hello(Session session, ByteBuffer wire, int at, int length, boolean isReceived) {
        try {
            Channel.hello(session, wire, at, length, isReceived);
        } catch (RuntimeException | Error failed) {
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
        } catch (RuntimeException | Error failed) {
            lost(session, direction, length - told);
        }
    }

    /** What the call took of buffers, or put into them, since they stood at {@code before}. */
    private static void moved(Session session, byte direction, ByteBuffer[] buffers, int first, int[] before, int length, long begun) {
        long told = 0;
        try {
            for (int at = 0; before != null && at < before.length; at++) {
                ByteBuffer buffer = buffers[first + at];
                int end = buffer == null ? 0 : buffer.position();
                for (int from = before[at]; from < end; from += Channel.PIECE) {
                    int some = Math.min(end - from, Channel.PIECE);
                    Channel.data(session, direction, buffer, from, some, begun);
                    told += some;
                }
            }
        } catch (RuntimeException | Error failed) {
            // Counted below.
        }
        if (told < length) {
            lost(session, direction, length - told);
        }
    }
}
