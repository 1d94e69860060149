package qtap.jsse;

import java.io.FileOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.concurrent.ArrayBlockingQueue;

/**
 * Messages to qtap. Each is one write to the null device, which qtap's probe on system calls recognises by the mark that qtap chose at random for this JVM; nobody
 * else ever sees it, it can't block, and it costs a system call.
 *
 * <p>A message: mark (16 bytes), kind, direction, two bytes zero, payload's length (4), session (8), age of the call in nanoseconds (8), payload. Numbers are
 * little-endian.
 */
final class Channel {
    private static final int MARK = 16;
    private static final int HEADER = MARK + 24;
    /** Longest payload of one message; longer ones are told in pieces. */
    static final int PIECE = 16 << 10;

    private static final byte DATA = 1;
    private static final byte HELLO = 2;
    private static final byte SOCKET = 3;
    private static final byte ENDED = 4;
    private static final byte LOST = 5;

    static final byte SENT = 0;
    static final byte RECEIVED = 1;

    /** Bytes up to the end of a hello's random: header of the record, header of the message, version, random (RFC 8446 §4.1.2). */
    private static final int UP_TO_RANDOM = 5 + 4 + 2 + 32;
    private static final byte HANDSHAKE = 22;

    private static volatile FileOutputStream out;
    private static byte[] mark;

    /** Buffers that are used again: not one for each thread, of which a program may have a million (JEP 444). */
    private static final ArrayBlockingQueue<ByteBuffer> IDLE = new ArrayBlockingQueue<ByteBuffer>(32);

    private Channel() {}

    static synchronized void open(byte[] chosen) throws IOException {
        // What another qtap knew of the sessions, this one does not.
        Sessions.forget();
        mark = chosen;
        out = new FileOutputStream("/dev/null");
    }

    static synchronized void close() {
        out = null;
    }

    static boolean isOpen() {
        return out != null;
    }

    static void data(Session session, byte direction, byte[] bytes, int offset, int length, long begun) {
        ByteBuffer message = message(DATA, direction, session, begun);
        message.put(bytes, offset, length);
        tell(message);
    }

    static void data(Session session, byte direction, ByteBuffer bytes, int offset, int length, long begun) {
        ByteBuffer piece = bytes.duplicate();
        piece.limit(offset + length);
        piece.position(offset);
        ByteBuffer message = message(DATA, direction, session, begun);
        message.put(piece);
        tell(message);
    }

    /** Tells the random of a hello, if these bytes of the wire begin with one: the same bytes pass the session's socket. */
    static void hello(Session session, ByteBuffer wire, int at, int length, boolean isReceived) {
        if (session.isBound || length < UP_TO_RANDOM || wire.get(at) != HANDSHAKE) {
            return;
        }
        byte which = wire.get(at + 5);
        boolean isHello = wire.get(at + 1) == 3 && (which == 1 || which == 2) && wire.get(at + 6) == 0 && wire.get(at + 9) == 3;
        if (!isHello) {
            return;
        }
        ByteBuffer first = wire.duplicate();
        first.limit(at + UP_TO_RANDOM);
        first.position(at);
        ByteBuffer message = message(HELLO, isReceived ? RECEIVED : SENT, session, 0);
        message.put(first);
        tell(message);
        session.isBound = true;
    }

    static void socket(Session session, int descriptor) {
        tell(message(SOCKET, SENT, session, 0).putInt(descriptor));
        session.isBound = true;
    }

    static void ended(Session session) {
        tell(message(ENDED, SENT, session, 0));
    }

    /** Tells how much could not be told since the last time. */
    static void lost(Session session, byte direction) {
        if (session.hasLost(direction)) {
            ByteBuffer message = begin(LOST, direction, session, 0);
            tell(message.putLong(session.takeLost(direction)));
        }
    }

    /** A message without its payload. {@code begun}: when the call began that it tells of; 0: now. */
    private static ByteBuffer message(byte kind, byte direction, Session session, long begun) {
        lost(session, direction);
        return begin(kind, direction, session, begun == 0 ? 0 : System.nanoTime() - begun);
    }

    private static ByteBuffer begin(byte kind, byte direction, Session session, long age) {
        ByteBuffer message = IDLE.poll();
        if (message == null) {
            message = ByteBuffer.allocate(HEADER + PIECE).order(ByteOrder.LITTLE_ENDIAN);
        }
        message.clear();
        return message.put(mark).put(kind).put(direction).putShort((short) 0).putInt(0).putLong(session.number).putLong(age);
    }

    private static void tell(ByteBuffer message) {
        FileOutputStream to = out;
        message.putInt(MARK + 4, message.position() - HEADER);
        if (to != null) {
            try {
                to.write(message.array(), 0, message.position());
            } catch (IOException closed) {
                // The null device takes everything; without a descriptor for it there is no telling.
                close();
            }
        }
        IDLE.offer(message);
    }
}
