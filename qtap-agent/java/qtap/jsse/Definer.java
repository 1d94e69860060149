package qtap.jsse;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.lang.instrument.Instrumentation;
import java.lang.reflect.Field;
import java.lang.reflect.Method;
import java.util.Collections;
import java.util.jar.JarEntry;
import java.util.jar.JarFile;

/**
 * Defines the classes of the archive in the bootstrap loader, one by one: to append the archive to that loader's path makes the JVM give up sharing classes, and say
 * so on the program's output.
 */
public final class Definer {
    private Definer() {}

    public static void define(String archive, Instrumentation instrumentation) throws Exception {
        Class<?> type;
        if (Modules.exist()) {
            Modules.open(instrumentation, Definer.class, Collections.singleton("jdk.internal.misc"));
            type = Class.forName("jdk.internal.misc.Unsafe");
        } else {
            type = Class.forName("sun.misc.Unsafe");
        }
        Field only = type.getDeclaredField("theUnsafe");
        only.setAccessible(true);
        Object unsafe = only.get(null);
        Method define = type.getMethod("defineClass", String.class, byte[].class, int.class, int.class, ClassLoader.class,
                Class.forName("java.security.ProtectionDomain"));
        try (JarFile file = new JarFile(archive)) {
            for (JarEntry entry : Collections.list(file.entries())) {
                String name = entry.getName();
                if (name.endsWith(".class") && !name.endsWith("/Agent.class") && !name.endsWith("/Definer.class")) {
                    byte[] bytes = bytes(file.getInputStream(entry));
                    define.invoke(unsafe, null, bytes, 0, bytes.length, null, null);
                }
            }
        }
    }

    private static byte[] bytes(InputStream in) throws IOException {
        ByteArrayOutputStream all = new ByteArrayOutputStream();
        byte[] some = new byte[4096];
        for (int count = in.read(some); count > 0; count = in.read(some)) {
            all.write(some, 0, count);
        }
        return all.toByteArray();
    }
}
