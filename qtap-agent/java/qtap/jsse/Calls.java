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

    /** True while this thread is in a method's own code. */
    private static final ThreadLocal<boolean[]> INSIDE = new ThreadLocal<boolean[]>() {
        @Override
        protected boolean[] initialValue() {
            return new boolean[1];
        }
    };

    private Calls() {}

    /** {@code SSLSocketImpl.AppInputStream.read}. */
    public static int read(InputStream stream, byte[] into, int offset, int length) throws IOException {
        boolean[] inside = enter();
        if (inside == null) {
            return OWN;
        }
        try {
            int count = stream.read(into, offset, length);
            if (count > 0) {
                Told.received(stream, into, offset, count);
            }
            return count;
        } finally {
            inside[0] = false;
        }
    }

    /** {@code SSLSocketImpl.AppOutputStream.write}. */
    public static boolean write(OutputStream stream, byte[] from, int offset, int length) throws IOException {
        boolean[] inside = enter();
        if (inside == null) {
            return false;
        }
        try {
            long begun = System.nanoTime();
            stream.write(from, offset, length);
            Told.sent(stream, from, offset, length, begun);
            return true;
        } finally {
            inside[0] = false;
        }
    }

    /** {@code SSLEngineImpl.wrap}. */
    public static SSLEngineResult wrap(SSLEngine engine, ByteBuffer[] plain, int first, int count, ByteBuffer wire)
            throws SSLException {
        boolean[] inside = enter();
        if (inside == null) {
            return null;
        }
        try {
            long begun = System.nanoTime();
            int[] before = positions(plain, first, count);
            int written = wire == null ? 0 : wire.position();
            SSLEngineResult result = engine.wrap(plain, first, count, wire);
            Told.wrapped(engine, plain, first, before, wire, written, result, begun);
            return result;
        } finally {
            inside[0] = false;
        }
    }

    /** {@code SSLEngineImpl.unwrap}. */
    public static SSLEngineResult unwrap(SSLEngine engine, ByteBuffer wire, ByteBuffer[] plain, int first, int count)
            throws SSLException {
        boolean[] inside = enter();
        if (inside == null) {
            return null;
        }
        try {
            // Before the call: the engine may decipher in place.
            Told.isFed(engine, wire);
            int[] before = positions(plain, first, count);
            SSLEngineResult result = engine.unwrap(wire, plain, first, count);
            Told.unwrapped(engine, plain, first, before, result);
            return result;
        } finally {
            inside[0] = false;
        }
    }

    /** Null: the thread is inside already, or nobody listens. */
    private static boolean[] enter() {
        if (!Channel.isOpen()) {
            return null;
        }
        boolean[] inside;
        try {
            inside = INSIDE.get();
        } catch (OutOfMemoryError failed) {
            // What this call moves is not seen, and nobody can say of which session it was.
            Channel.close();
            return null;
        }
        if (inside[0]) {
            return null;
        }
        inside[0] = true;
        return inside;
    }

    /** Where each buffer stands; arguments that the method itself will refuse have no positions. */
    private static int[] positions(ByteBuffer[] buffers, int first, int count) {
        if (buffers == null || first < 0 || count < 0 || first > buffers.length - count) {
            return new int[0];
        }
        int[] positions = new int[count];
        for (int at = 0; at < count; at++) {
            ByteBuffer buffer = buffers[first + at];
            positions[at] = buffer == null ? 0 : buffer.position();
        }
        return positions;
    }
}
