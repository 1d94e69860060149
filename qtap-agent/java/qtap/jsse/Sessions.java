package qtap.jsse;

import java.io.FileDescriptor;
import java.lang.ref.Reference;
import java.lang.ref.ReferenceQueue;
import java.lang.ref.WeakReference;
import java.lang.reflect.Field;
import java.net.Socket;
import java.net.SocketImpl;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicLong;
import javax.net.ssl.SSLEngine;

/** Sessions by the objects that have them: engines and sockets. An object that is collected ends its session. */
final class Sessions {
    private static final ConcurrentHashMap<Key, Session> OF = new ConcurrentHashMap<Key, Session>();
    /** Sockets by their streams: each stream is asked for its socket once. */
    private static final ConcurrentHashMap<Key, Session> OF_STREAM = new ConcurrentHashMap<Key, Session>();
    private static final ReferenceQueue<Object> COLLECTED = new ReferenceQueue<Object>();
    private static final AtomicLong NEXT = new AtomicLong(1);
    /** How many sessions begin until those are looked for that are over. */
    private static final long SWEEP = 64;

    private Sessions() {}

    /** As if none had been seen. Numbers are not used again. */
    static void forget() {
        OF.clear();
        OF_STREAM.clear();
    }

    static Session of(SSLEngine engine) {
        return of((Object) engine);
    }

    /** The session of the socket that a stream of JSSE belongs to. */
    static Session ofStream(Object stream) {
        Session known = OF_STREAM.get(new Probe(stream));
        if (known != null) {
            return known;
        }
        Socket socket = socketOf(stream);
        Session session = of(socket == null ? stream : socket);
        if (socket != null && !session.isBound) {
            int descriptor = descriptorOf(socket);
            if (descriptor >= 0) {
                Channel.socket(session, descriptor);
            }
        }
        OF_STREAM.put(new Key(stream), session);
        return session;
    }

    /** The session of an engine is over. */
    static void end(SSLEngine engine) {
        Session session = OF.remove(new Probe(engine));
        if (session != null) {
            Channel.ended(session);
        }
    }

    private static Session of(Object object) {
        Session known = OF.get(new Probe(object));
        if (known != null) {
            return known;
        }
        forgetCollected();
        Session made = new Session(NEXT.getAndIncrement());
        if (made.number % SWEEP == 0) {
            endClosed();
        }
        Session other = OF.putIfAbsent(new Key(object), made);
        return other == null ? made : other;
    }

    /** Sockets that are closed may not be collected for hours. */
    private static void endClosed() {
        for (Key key : OF.keySet()) {
            Object object = key.get();
            // (An engine can't be asked here: it would wait for who is in it.)
            boolean isOver = object instanceof Socket && ((Socket) object).isClosed();
            Session session = isOver ? OF.remove(key) : null;
            if (session != null) {
                Channel.ended(session);
            }
        }
    }

    private static void forgetCollected() {
        for (Reference<?> gone = COLLECTED.poll(); gone != null; gone = COLLECTED.poll()) {
            Session session = OF.remove(gone);
            if (session != null) {
                Channel.ended(session);
            }
            OF_STREAM.remove(gone);
        }
    }

    /** The {@code SSLSocketImpl} around one of its streams, which are inner classes. */
    private static Socket socketOf(Object stream) {
        for (Field field : stream.getClass().getDeclaredFields()) {
            if (Socket.class.isAssignableFrom(field.getType())) {
                return (Socket) value(field, stream);
            }
        }
        return null;
    }

    /** The number of the descriptor below; −1: not known. A TLS socket may be layered over another one, its {@code self}. */
    private static int descriptorOf(Socket socket) {
        Object below = value(field(socket.getClass(), "self"), socket);
        Object plain = below instanceof Socket ? below : socket;
        Object implementation = value(field(Socket.class, "impl"), plain);
        for (int depth = 0; implementation instanceof SocketImpl && depth < 4; depth++) {
            Object descriptor = value(field(SocketImpl.class, "fd"), implementation);
            if (descriptor != null) {
                Object number = value(field(FileDescriptor.class, "fd"), descriptor);
                return number instanceof Integer ? (Integer) number : -1;
            }
            // SocksSocketImpl and others delegate.
            implementation = value(field(implementation.getClass(), "delegate"), implementation);
        }
        return -1;
    }

    private static Field field(Class<?> of, String name) {
        for (Class<?> at = of; at != null; at = at.getSuperclass()) {
            try {
                return at.getDeclaredField(name);
            } catch (NoSuchFieldException absent) {
                // The superclass may have it.
            }
        }
        return null;
    }

    private static Object value(Field field, Object of) {
        if (field == null) {
            return null;
        }
        try {
            field.setAccessible(true);
            return field.get(of);
        } catch (IllegalAccessException | RuntimeException closed) {
            return null;
        }
    }

    /** A key that does not keep its object alive. */
    private static final class Key extends WeakReference<Object> {
        private final int hash;

        Key(Object object) {
            super(object, COLLECTED);
            hash = System.identityHashCode(object);
        }

        @Override
        public int hashCode() {
            return hash;
        }

        @Override
        public boolean equals(Object other) {
            if (this == other) {
                return true;
            }
            Object object = get();
            return object != null && other instanceof Key && ((Key) other).get() == object;
        }
    }

    /** To look up an object. */
    private static final class Probe {
        private final Object object;

        Probe(Object object) {
            this.object = object;
        }

        @Override
        public int hashCode() {
            return System.identityHashCode(object);
        }

        /** ConcurrentHashMap asks the key that is looked up. */
        @Override
        public boolean equals(Object other) {
            return other instanceof Key && ((Key) other).get() == object;
        }
    }
}
