package qtap.jsse;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.SSLEngineResult;
import javax.net.ssl.SSLException;

/**
 * What JSSE's methods call first. Each makes the same call once more, which then runs the method's own code, and tells what it moved. Its result is the
 * method's; {@link #OWN}, false or null mean: go on with your own code.
 *
 * <p>Whatever goes wrong here must not reach the program: what the method itself throws passes, nothing else does.
 */
public final class Calls {
    /** No result of {@link InputStream#read}: that is at least −1. */
    public static final int OWN = -2;

    /** The stream or engine whose own code this thread is in; inside it may be others, as when a TrustManager asks a server. */
    private static final ThreadLocal<Object[]> INSIDE = new ThreadLocal<Object[]>() {
        @Override
        protected Object[] initialValue() {
            return new Object[1];
        }
    };

    private Calls() {}

    /** {@code SSLSocketImpl.AppInputStream.read}. */
    public static int read(InputStream stream, byte[] into, int offset, int length) throws IOException {
        Object[] inside = inside();
        if (inside == null || inside[0] == stream) {
            return OWN;
        }
        Object before = inside[0];
        inside[0] = stream;
        try {
            int count = stream.read(into, offset, length);
            if (count > 0) {
                Told.received(stream, into, offset, count);
            }
            return count;
        } finally {
            inside[0] = before;
        }
    }

    /** {@code SSLSocketImpl.AppOutputStream.write}. */
    public static boolean write(OutputStream stream, byte[] from, int offset, int length) throws IOException {
        Object[] inside = inside();
        if (inside == null || inside[0] == stream) {
            return false;
        }
        Session session = Told.begins(stream);
        Object before = inside[0];
        inside[0] = stream;
        boolean isDone = false;
        try {
            long turn = session == null ? 0 : session.begin();
            long begun = System.nanoTime();
            stream.write(from, offset, length);
            isDone = true;
            Told.sent(session, from, offset, length, begun, turn);
            return true;
        } finally {
            inside[0] = before;
            if (session != null) {
                if (!isDone && from != null && offset >= 0 && length > 0 && length <= from.length - offset) {
                    // How much of it has left, nobody knows.
                    Told.lost(session, Channel.SENT, length);
                }
                session.end();
            }
        }
    }

    /** {@code SSLEngineImpl.wrap}. */
    public static SSLEngineResult wrap(SSLEngine engine, ByteBuffer[] plain, int first, int count, ByteBuffer wire)
            throws SSLException {
        Object[] inside = inside();
        if (inside == null || inside[0] == engine) {
            return null;
        }
        Object before = inside[0];
        inside[0] = engine;
        try {
            long begun = System.nanoTime();
            int[] positions = Told.positions(plain, first, count);
            int written = wire == null ? 0 : wire.position();
            SSLEngineResult result = engine.wrap(plain, first, count, wire);
            Told.wrapped(engine, plain, first, positions, wire, written, result, begun);
            return result;
        } finally {
            inside[0] = before;
        }
    }

    /** {@code SSLEngineImpl.unwrap}. */
    public static SSLEngineResult unwrap(SSLEngine engine, ByteBuffer wire, ByteBuffer[] plain, int first, int count)
            throws SSLException {
        Object[] inside = inside();
        if (inside == null || inside[0] == engine) {
            return null;
        }
        Object before = inside[0];
        inside[0] = engine;
        try {
            // Before the call: the engine may decipher in place.
            Told.isFed(engine, wire);
            int[] positions = Told.positions(plain, first, count);
            SSLEngineResult result = engine.unwrap(wire, plain, first, count);
            Told.unwrapped(engine, plain, first, positions, result);
            return result;
        } finally {
            inside[0] = before;
        }
    }

    /** Null: nobody listens. */
    private static Object[] inside() {
        if (!Channel.isOpen()) {
            return null;
        }
        try {
            return INSIDE.get();
        } catch (RuntimeException | Error failed) {
            // What this call moves is not seen, and nobody can say of which session it was.
            Channel.close();
            return null;
        }
    }
}
