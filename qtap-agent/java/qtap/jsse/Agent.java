package qtap.jsse;

import java.io.File;
import java.lang.instrument.Instrumentation;
import java.net.URL;
import java.net.URLClassLoader;

/**
 * What the JVM calls when qtap loads this archive into it (java.lang.instrument, "Starting an agent after VM startup"). Classes of the JDK will call the others of
 * the archive, so these have to be the bootstrap loader's ({@link Definer}).
 */
public final class Agent {
    private static final String WATCH = "qtap.jsse.Watch";

    private Agent() {}

    /**
     * The options are those of {@code Watch.start}; the first is this archive's path. What fails is not thrown, since the JVM would print it where the program prints:
     * qtap sees that nobody reads its pipe.
     */
    public static void agentmain(String options, Instrumentation instrumentation) {
        try {
            if (!isDefined()) {
                define(options.substring(0, options.indexOf(',')), instrumentation);
            }
            Class<?> watch = Class.forName(WATCH, true, null);
            watch.getMethod("start", String.class, Instrumentation.class).invoke(null, options, instrumentation);
        } catch (Exception | Error failed) {
            // As described.
        }
    }

    private static boolean isDefined() {
        try {
            Class.forName(WATCH, false, null);
            return true;
        } catch (ClassNotFoundException not) {
            return false;
        }
    }

    /** By a loader that nobody else has: what is opened for that is open to its classes only, and gone with it. */
    private static void define(String archive, Instrumentation instrumentation) throws Exception {
        URL[] urls = {new File(archive).toURI().toURL()};
        try (URLClassLoader alone = new URLClassLoader(urls, null)) {
            Class<?> definer = alone.loadClass("qtap.jsse.Definer");
            definer.getMethod("define", String.class, Instrumentation.class).invoke(null, archive, instrumentation);
        }
    }
}
