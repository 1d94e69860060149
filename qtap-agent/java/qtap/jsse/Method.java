package qtap.jsse;

import java.util.HashMap;
import java.util.Map;

/** A method of JSSE that moves plaintext, and the one of {@link Calls} that it calls first, with its own arguments. */
final class Method {
    /** What the result of the call means. */
    enum Answer {
        /** A number, the method's result unless it is {@link Calls#OWN}. */
        NUMBER,
        /** A boolean: true when the method is done. */
        DONE,
        /** The method's result, unless it is null. */
        OBJECT
    }

    final String call;
    final String descriptor;
    final Answer answer;
    /** Instructions that load the method's arguments, `this` first (JVM specification §6.5). */
    final byte[] loads;
    /** Number of the loaded arguments. */
    final int arguments;

    private Method(String call, String descriptor, Answer answer, int arguments, int... loads) {
        this.call = call;
        this.descriptor = descriptor;
        this.answer = answer;
        this.arguments = arguments;
        this.loads = new byte[loads.length];
        for (int at = 0; at < loads.length; at++) {
            this.loads[at] = (byte) loads[at];
        }
    }

    private static final int ALOAD = 0x19, ILOAD = 0x15, ALOAD_0 = 0x2a, ALOAD_1 = 0x2b, ALOAD_2 = 0x2c, ILOAD_2 = 0x1c, ILOAD_3 = 0x1d;
    private static final String BUFFER = "Ljava/nio/ByteBuffer;";
    private static final String ENGINE = "Ljavax/net/ssl/SSLEngine;";
    static final String RESULT = "javax/net/ssl/SSLEngineResult";
    private static final String RETURNED = ")L" + RESULT + ";";

    /** By class, then by name and descriptor: of OpenJDK since 11 (8u272 has the same implementation of JSSE, and was not tried). */
    static final Map<String, Map<String, Method>> ALL = new HashMap<String, Map<String, Method>>();

    static {
        add("sun/security/ssl/SSLSocketImpl$AppInputStream", "read([BII)I",
                new Method("read", "(Ljava/io/InputStream;[BII)I", Answer.NUMBER, 4, ALOAD_0, ALOAD_1, ILOAD_2, ILOAD_3));
        add("sun/security/ssl/SSLSocketImpl$AppOutputStream", "write([BII)V",
                new Method("write", "(Ljava/io/OutputStream;[BII)Z", Answer.DONE, 4, ALOAD_0, ALOAD_1, ILOAD_2, ILOAD_3));
        String wrap = BUFFER + "II" + BUFFER + RETURNED;
        add("sun/security/ssl/SSLEngineImpl", "wrap([" + wrap,
                new Method("wrap", "(" + ENGINE + "[" + wrap, Answer.OBJECT, 5, ALOAD_0, ALOAD_1, ILOAD_2, ILOAD_3, ALOAD, 4));
        String unwrap = BUFFER + "[" + BUFFER + "II" + RETURNED;
        add("sun/security/ssl/SSLEngineImpl", "unwrap(" + unwrap,
                new Method("unwrap", "(" + ENGINE + unwrap, Answer.OBJECT, 5, ALOAD_0, ALOAD_1, ALOAD_2, ILOAD_3, ILOAD, 4));
    }

    /** Number of methods. */
    static final int COUNT = 4;

    private static void add(String of, String name, Method method) {
        Map<String, Method> methods = ALL.get(of);
        if (methods == null) {
            methods = new HashMap<String, Method>();
            ALL.put(of, methods);
        }
        methods.put(name, method);
    }
}
